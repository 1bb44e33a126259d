//! How a product under test differs from the usual one.

use std::time::Duration;

use api::config::ApiArgs;
use shared::config::{ProviderArgs, UsageLimitArgs};
use worker::{config::WorkerArgs, registry::Registry};

/// How a product under test differs from the usual one.
#[derive(Default)]
pub struct Options {
    /// The clock runs, and so do workers that are started.
    pub live: bool,
    /// A Redis of the test's own, which may go away: it is waited for no longer than usual.
    pub redis_url: Option<String>,
    /// A Postgres of the test's own.
    pub postgres_url: Option<String>,
    /// More jobs than the product's.
    pub registry: Option<Registry>,
    /// Changes to the worker's variables.
    pub worker: WorkerArgs,
    /// Changes to the API's variables.
    pub api: ApiArgs,
    /// Networks that webhooks may reach; loopback unless told otherwise.
    pub outbound_allow: Option<String>,
    /// What a reader of the metrics must know.
    pub metrics_token: Option<String>,
    /// Where uploads are kept; the product's own folder unless told otherwise.
    pub storage_url: Option<String>,
    /// Who can be asked for answers and transcripts.
    pub providers: ProviderArgs,
    /// What users may use in a month; all that they want unless told otherwise.
    pub usage_limits: UsageLimitArgs,
    /// Longest time for one request of a transcript; the product's own unless told otherwise.
    pub transcription_timeout: Option<Duration>,
    /// `test` unless told otherwise.
    pub environment: Option<String>,
    /// What tokens are counted in that are stored; the product's own unless told otherwise.
    pub token_fallback_encoding: Option<String>,
}
