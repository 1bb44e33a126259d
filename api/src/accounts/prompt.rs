//! Asking an operator: for a password, which is never taken from an argument, as everybody on the machine sees those; and whether
//! something is meant.

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

/// Asks whether something is meant that cannot be undone.
///
/// # Errors
/// When it is not, or nobody can be asked.
pub(super) fn confirm(question: &str) -> anyhow::Result<()> {
    ensure!(
        stdin().is_terminal(),
        "standard input is no terminal; say --yes to go on without being asked"
    );
    let mut terminal = stderr();
    write!(terminal, "{question} Type yes to go on: ")?;
    terminal.flush()?;
    let mut answer = String::new();
    stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    ensure!(answer.trim() == "yes", "nothing was changed");
    Ok(())
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
