//! The environment: `.env.example` and `--help` name the same variables.

use std::collections::BTreeSet;

use clap::CommandFactory as _;

const EXAMPLE: &str = include_str!("../../.env.example");

fn variables(command: &clap::Command) -> BTreeSet<String> {
    command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_example_names_every_variable_and_no_other() {
    let example: BTreeSet<String> = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut known = variables(&api::config::Args::command());
    known.extend(variables(&worker::config::Args::command()));
    assert_eq!(example, known);
}

#[test]
fn the_example_needs_a_key_and_is_then_a_good_configuration() {
    let vars = || {
        EXAMPLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
    };
    let args = |command: clap::Command| {
        let known = variables(&command);
        let longs: Vec<(String, String)> = command
            .get_arguments()
            .filter_map(|arg| {
                Some((
                    arg.get_env()?.to_string_lossy().into_owned(),
                    arg.get_long()?.to_owned(),
                ))
            })
            .collect();
        let mut line = vec!["program".to_owned()];
        for (name, value) in
            vars().filter(|(name, value)| known.contains(*name) && !value.is_empty())
        {
            let (_, long) = longs.iter().find(|(env, _)| env == name).unwrap();
            line.push(format!("--{long}={value}"));
        }
        line
    };
    let mut api =
        <api::config::Args as clap::Parser>::parse_from(args(api::config::Args::command()));
    let mut worker =
        <worker::config::Args as clap::Parser>::parse_from(args(worker::config::Args::command()));
    for told in [api.check().err(), worker.check().err()] {
        let told = told.expect("everybody knows its key").to_string();
        assert!(told.contains("SECRET_KEY"), "{told}");
        assert_eq!(told.matches("\n  ").count(), 1, "one problem: {told}");
    }
    for common in [&mut api.common, &mut worker.common] {
        common.secret_key = Some("0123456789abcdef0123456789abcdef".to_owned());
    }
    api.check().unwrap();
    worker.check().unwrap();
}

#[test]
fn the_help_is_the_reviewed_one() {
    // The environment of the machine must not show.
    let help = |command: clap::Command| {
        let mut command = command
            .mut_args(|arg| arg.hide_env_values(true))
            .term_width(120);
        command.render_long_help().to_string()
    };
    insta::assert_snapshot!("help_api", help(api::config::Args::command()));
    insta::assert_snapshot!("help_worker", help(worker::config::Args::command()));
}
