//! What the tests stand on: a whole product per test, with its own database, Redis prefix, folder and clock.
#![expect(
    clippy::missing_errors_doc,
    clippy::unwrap_used,
    reason = "a harness fails by panicking"
)]

pub mod actor;
mod app;
pub mod database;
pub mod events;
pub mod exposition;
pub mod fakes;
mod files;
pub mod pdf;
pub mod process;
mod rows;
pub mod sdk;
pub mod sound;
pub mod text;
pub mod verifiers;
pub mod work;

use std::time::Duration;

use clap::Parser as _;

pub use self::{
    actor::{Actor, Event, EventStream, Reply, words},
    app::{Options, SECRET_KEY, TestApp, secret_keys},
    database::TestDatabase,
    files::{fixture, picture},
};

/// Waits until something is so.
#[track_caller]
pub fn eventually<F, Fut>(what: &str, mut is_so: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let what = what.to_owned();
    async move {
        let waiting = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !is_so().await {
                tick.tick().await;
            }
        };
        assert!(
            tokio::time::timeout(process::PATIENCE, waiting)
                .await
                .is_ok(),
            "it never became so: {what}"
        );
    }
}

/// Checks that a command line of a program is understood, for tests of configuration.
pub fn parse_worker(args: &[&str]) -> Result<worker::config::Args, clap::Error> {
    worker::config::Args::try_parse_from(args)
}
