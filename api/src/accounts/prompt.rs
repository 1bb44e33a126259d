//! Getting a password from an operator. Never from an argument: everybody on the machine sees those.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use anyhow::{Context as _, ensure};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};

/// Reads a password: the first line of standard input, or what is typed twice, unseen.
///
/// # Errors
/// When there is none.
pub(super) fn password(from_stdin: bool) -> anyhow::Result<SecretString> {
    if from_stdin {
        return line();
    }
    ensure!(
        stdin().is_terminal(),
        "standard input is no terminal; give the password there with --password-stdin"
    );
    let (first, second) = (ask("Password: ")?, ask("Once more: ")?);
    ensure!(
        first.expose_secret() == second.expose_secret(),
        "the two passwords differ"
    );
    Ok(first)
}

fn ask(question: &str) -> anyhow::Result<SecretString> {
    let mut terminal = stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let shown = tcgetattr(stdin()).context("cannot ask without showing what is typed")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
    let answer = line();
    tcsetattr(stdin(), OptionalActions::Flush, &shown)?;
    writeln!(terminal)?;
    answer
}

fn line() -> anyhow::Result<SecretString> {
    let mut line = String::new();
    stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the password")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "there is no password");
    Ok(password.into())
}
