//! The environment: `.env.example` and `--help` name the same variables, and a start tells what they switch on.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory as _;
use tests::{TestApp, process::free_port};

const EXAMPLE: &str = include_str!("../../.env.example");

/// What must be set for the others to count: nobody is asked, and nothing reported, without it.
const OPENED: [(&str, &str); 14] = [
    ("DATABASE_URL", "postgres://localhost/baatcheet"),
    ("REDIS_URL", "redis://localhost"),
    ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
    ("SENTRY_DSN", "https://key@sentry.example.com/42"),
    ("GROQ_API_KEYS", "k"),
    ("OPENROUTER_API_KEYS", "k"),
    ("DEEPSEEK_API_KEYS", "k"),
    ("GEMINI_API_KEYS", "k"),
    ("OPENAI_API_KEYS", "k"),
    ("OPENWEATHER_API_KEY", "k"),
    ("EXCHANGE_RATE_API_KEY", "k"),
    ("NEWS_API_KEY", "k"),
    ("TAVILY_API_KEY", "k"),
    ("GOOGLE_PLACES_API_KEY", "k"),
];
/// The programs decide on these when they connect, as `DATABASE_URL` may say it, too; tests of `metrics` look at that.
const POOLS: [(&str, &str); 2] = [
    ("DATABASE_POOL_MAX", "8"),
    ("WORKER_DATABASE_POOL_MAX", "3"),
];

/// The variables of the example, with their values.
fn example() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = EXAMPLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('='))
}

fn variables(command: &clap::Command) -> BTreeSet<String> {
    command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_example_names_every_variable_and_no_other() {
    let example: BTreeSet<String> = example().map(|(name, _)| name.to_owned()).collect();
    let mut known = variables(&api::config::Args::command());
    known.extend(variables(&worker::config::Args::command()));
    assert_eq!(example, known);
}

#[test]
fn the_example_needs_a_key_and_is_then_a_good_configuration() {
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
            example().filter(|(name, value)| known.contains(*name) && !value.is_empty())
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

/// The arguments of a program in an environment of these variables and no others.
fn parsed<P: clap::Parser>(set: &BTreeMap<String, String>) -> P {
    let mut line = vec!["program".to_owned()];
    for arg in P::command().get_arguments() {
        let (Some(name), Some(long)) = (arg.get_env(), arg.get_long()) else {
            continue;
        };
        if let Some(value) = set.get(&*name.to_string_lossy()) {
            line.push(format!("--{long}={value}"));
        }
    }
    // The environment of the machine must not count.
    let command = P::command().mut_args(|arg| arg.env(None::<&'static str>));
    let matches = command.try_get_matches_from(line).unwrap();
    P::from_arg_matches(&matches).unwrap()
}

/// All that both programs make of an environment.
fn made_of(set: &BTreeMap<String, String>) -> String {
    let api = parsed::<api::config::Args>(set).check().unwrap();
    let mut worker = parsed::<worker::config::Args>(set).check().unwrap();
    // Another one each time.
    worker.settings.worker_id = String::new();
    let providers = api.common.ai.providers.iter();
    let limits: Vec<Option<u64>> = providers.map(|one| one.daily_requests_per_key).collect();
    let pool_min = api.common.database.pool_min;
    format!("{api:#?}\n{worker:#?}\nlimits {limits:?}\npool_min {pool_min}")
}

/// Something else that the variable of this value takes.
fn another(value: &str) -> String {
    let word = match value {
        "true" => "false",
        "false" => "true",
        "production" => "test",
        "json" => "pretty",
        "info" => "debug",
        "masked" => "full",
        "open" => "closed",
        "o200k_base" => "cl100k_base",
        "5/15m" => "6/15m",
        "0.0.0.0" => "127.0.0.1",
        "0.1" => "0.2",
        "0" => "1",
        url if url.starts_with("http") => "http://other.example",
        other => {
            let number = other.parse::<u64>();
            return number.map_or_else(|_| format!("{other}2"), |number| (number - 1).to_string());
        }
    };
    word.to_owned()
}

#[test]
fn the_example_tells_the_defaults() {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let opened: BTreeMap<String, String> = OPENED.into_iter().map(owned).collect();
    let mut told: BTreeMap<String, String> = example().map(owned).collect();
    for (name, default) in POOLS {
        assert_eq!(told.remove(name).as_deref(), Some(default), "{name}");
    }
    told.retain(|name, _| !opened.contains_key(name));
    let nothing = made_of(&opened);
    let mut all = told.clone();
    all.extend(opened.clone());
    let all = made_of(&all);
    let lines = all.lines().zip(nothing.lines());
    let others: Vec<(&str, &str)> = lines.filter(|(one, other)| one != other).collect();
    assert!(all == nothing, "of the example, and without: {others:#?}");
    // Each of them would be seen.
    for (name, value) in told.iter().filter(|(_, value)| !value.is_empty()) {
        let mut changed = opened.clone();
        changed.insert(name.clone(), another(value));
        assert!(made_of(&changed) != nothing, "{name} changes nothing");
    }
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

#[tokio::test]
async fn a_start_tells_what_is_on_and_by_which_variable() {
    let app = TestApp::spawn_live().await;
    let port = free_port().to_string();
    let more = [
        ("PORT", port.as_str()),
        ("HOST", "127.0.0.1"),
        ("GOOGLE_PLACES_API_KEY", "key-of-google"),
        ("AUTO_SUMMARY", "true"),
    ];
    let api = app.start_program("baatcheet-api", &more);
    for line in [
        "the tool places is on (GOOGLE_PLACES_API_KEY)",
        "naming conversations is off (AUTO_TITLE)",
        "summarising conversations is on (AUTO_SUMMARY)",
    ] {
        api.wait_for_line(line).await;
    }
    app.finish().await;
}
