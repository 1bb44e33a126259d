//! What both programs read from the environment, checked into typed values.
//!
//! clap gives each variable its name, default and help line; every value arrives as text, because clap would
//! stop at the first malformed one. [`Problems`] collects them all, so that a bad deployment is mended at once.

mod check;
mod cloudinary;
mod problems;
mod providers;
mod redis;
mod storage;
mod telemetry;
mod tools;
mod usage_limits;

use std::{fmt, time::Duration};

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

pub use self::{
    cloudinary::{CloudinaryConfig, SignatureAlgorithm},
    problems::{Problems, given},
    providers::{AiConfig, BreakerConfig, ProviderArgs, ProviderConfig, ProviderKey},
    storage::{BucketConfig, StorageConfig},
    telemetry::SentryConfig,
    tools::{McpConfig, ServiceConfig, ToolArgs, ToolsConfig},
    usage_limits::{TierLimits, UsageLimitArgs, UsageLimits},
};
use crate::tokens::Encoding;

/// Where the program runs; changes defaults, and what users' URLs may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The default: logs in JSON.
    Production,
    /// Logs for people; users' URLs may be plain http.
    Development,
    /// Under the test suite.
    Test,
}

/// Variables of both programs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CommonArgs {
    /// production, development or test [default: production]
    #[arg(long, env = "ENVIRONMENT")]
    pub environment: Option<String>,
    /// postgres:// URL; its `connection_limit` and `pool_timeout` (seconds) are honoured (required)
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The same database past a pooler: the job engine needs sessions of its own [default: `DATABASE_URL`]
    #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true)]
    pub database_direct_url: Option<String>,
    /// Connections kept open, 0 to 100 [default: 0]
    #[arg(long, env = "DATABASE_POOL_MIN")]
    pub database_pool_min: Option<String>,
    /// redis:// or rediss:// URL (required, unless `REDIS_HOST` is set)
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Stands in for `REDIS_URL`
    #[arg(long, env = "REDIS_HOST")]
    pub redis_host: Option<String>,
    /// Port beside `REDIS_HOST` [default: 6379]
    #[arg(long, env = "REDIS_PORT")]
    pub redis_port: Option<String>,
    /// Password beside `REDIS_HOST`
    #[arg(long, env = "REDIS_PASSWORD", hide_env_values = true)]
    pub redis_password: Option<String>,
    /// true: accept any certificate of a rediss:// server [default: false]
    #[arg(long, env = "REDIS_TLS_INSECURE")]
    pub redis_tls_insecure: Option<String>,
    /// PEM file with the authority of a rediss:// server [default: the system's authorities]
    #[arg(long, env = "REDIS_CA_FILE")]
    pub redis_ca_file: Option<String>,
    /// Put before every Redis key and channel [default: empty]
    #[arg(long, env = "REDIS_PREFIX")]
    pub redis_prefix: Option<String>,
    /// Any text of 32 bytes or more; all keys are derived from it (required)
    #[arg(long, env = "SECRET_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// Former values of `SECRET_KEY`, comma-separated: they still open what they closed
    #[arg(long, env = "SECRET_KEY_PREVIOUS", hide_env_values = true)]
    pub secret_key_previous: Option<String>,
    /// Where uploads are kept: <file:///path>, or `s3://bucket?region=…`, with `&endpoint=…` for any store but Amazon's;
    /// `access_key_id` and `secret_access_key` may be options of it, too; or `cloudinary://key:secret@cloud`
    /// [default: ./data/storage]
    #[arg(long, env = "STORAGE_URL", hide_env_values = true)]
    pub storage_url: Option<String>,
    /// Stands in for `access_key_id` of an s3:// URL
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    pub aws_access_key_id: Option<String>,
    /// Stands in for `secret_access_key` of an s3:// URL
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub aws_secret_access_key: Option<String>,
    /// Stands in for `region` of an s3:// URL
    #[arg(long, env = "AWS_REGION")]
    pub aws_region: Option<String>,
    /// Stands in for the name in a cloudinary:// URL; with key and secret, for all of it
    #[arg(long, env = "CLOUDINARY_CLOUD_NAME")]
    pub cloudinary_cloud_name: Option<String>,
    /// Stands in for the key in a cloudinary:// URL
    #[arg(long, env = "CLOUDINARY_API_KEY", hide_env_values = true)]
    pub cloudinary_api_key: Option<String>,
    /// Stands in for the secret in a cloudinary:// URL
    #[arg(long, env = "CLOUDINARY_API_SECRET", hide_env_values = true)]
    pub cloudinary_api_secret: Option<String>,
    /// Cloudinary's API [default: <https://api.cloudinary.com>]
    #[arg(long, env = "CLOUDINARY_BASE_URL")]
    pub cloudinary_base_url: Option<String>,
    /// Where Cloudinary delivers, all before the /image/ of its URLs [default: <https://res.cloudinary.com>/CLOUD]
    #[arg(long, env = "CLOUDINARY_DELIVERY_URL")]
    pub cloudinary_delivery_url: Option<String>,
    /// Networks in CIDR form, comma-separated, that URLs given by users may reach [default: none]
    #[arg(long, env = "OUTBOUND_ALLOW")]
    pub outbound_allow: Option<String>,
    /// pretty or json [default: json in production, else pretty]
    #[arg(long, env = "LOG_FORMAT")]
    pub log_format: Option<String>,
    /// Filter in tracing's syntax [default: info]
    #[arg(long, env = "RUST_LOG")]
    pub rust_log: Option<String>,
    /// Where errors are reported, like <https://key@host/project> [default: nowhere]
    #[arg(long, env = "SENTRY_DSN", hide_env_values = true)]
    pub sentry_dsn: Option<String>,
    /// Name of this deployment in error reports [default: `ENVIRONMENT`]
    #[arg(long, env = "SENTRY_ENVIRONMENT")]
    pub sentry_environment: Option<String>,
    /// Share of requests and of runs of jobs that are traced, 0 to 1 [default: 0.1]
    #[arg(long, env = "SENTRY_TRACES_SAMPLE_RATE")]
    pub sentry_traces_sample_rate: Option<String>,
    /// Bearer token of the metrics, 16 bytes or more [default: none; then anybody who reaches them may read them]
    #[arg(long, env = "METRICS_TOKEN", hide_env_values = true)]
    pub metrics_token: Option<String>,
    /// `o200k_base` or `cl100k_base`: what tokens are counted in that are stored, and those of models whose own way of
    /// counting is not known [default: `o200k_base`]
    #[arg(long, env = "TOKEN_FALLBACK_ENCODING")]
    pub token_fallback_encoding: Option<String>,
    /// Variables of the providers of artificial intelligence.
    #[command(flatten)]
    pub providers: ProviderArgs,
    /// Variables of what users may use.
    #[command(flatten)]
    pub usage_limits: UsageLimitArgs,
}

/// What both programs need.
#[derive(Debug, Clone)]
pub struct CommonConfig {
    /// See [`Environment`].
    pub environment: Environment,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// See [`SecretConfig`].
    pub secret: SecretConfig,
    /// Where uploads are kept.
    pub storage: StorageConfig,
    /// Networks that users' URLs may reach although they are not public.
    pub outbound_allow: Vec<IpNet>,
    /// Logs and error reports.
    pub telemetry: TelemetryConfig,
    /// What a reader of the metrics must know.
    pub metrics_token: Option<SecretString>,
    /// What tokens are counted in that are stored, and those of models whose own encoding is not known.
    pub token_encoding: Encoding,
    /// Who can be asked for answers, and for what.
    pub ai: AiConfig,
    /// What users may use in a month.
    pub usage_limits: UsageLimits,
}

impl CommonConfig {
    /// Whether users' URLs may lead to public addresses without TLS.
    pub fn allows_plain_http(&self) -> bool {
        self.environment == Environment::Development
    }
}

/// Postgres.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// For the pool.
    pub pooled: PgConnectOptions,
    /// For connections with session state.
    pub direct: PgConnectOptions,
    /// Connections kept open.
    pub pool_min: u32,
    /// `connection_limit` of the URL; the program's own setting goes first.
    pub connection_limit: Option<u32>,
    /// Longest wait for a connection of the pool.
    pub acquire_timeout: Duration,
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DatabaseConfig({}:{}/{})",
            self.pooled.get_host(),
            self.pooled.get_port(),
            self.pooled.get_database().unwrap_or("?")
        )
    }
}

/// Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// With credentials.
    pub url: SecretString,
    /// Accept any certificate.
    pub tls_insecure: bool,
    /// PEM of the server's authority.
    pub ca: Option<Vec<u8>>,
    /// Put before every key.
    pub prefix: String,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RedisConfig(prefix {:?}, insecure {})",
            self.prefix, self.tls_insecure
        )
    }
}

/// `SECRET_KEY` and those it replaced.
#[derive(Debug, Clone)]
pub struct SecretConfig {
    /// Closes and opens.
    pub current: SecretString,
    /// Only open.
    pub previous: Vec<SecretString>,
}

/// Logs and error reports.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// One JSON object a line, instead of text for people.
    pub json: bool,
    /// tracing's filter.
    pub filter: String,
    /// Where errors are reported.
    pub sentry: Option<SentryConfig>,
}

impl SecretConfig {
    /// The keys of this deployment.
    pub fn keyring(&self) -> crate::keyring::Keyring {
        crate::keyring::Keyring::new(&self.current, &self.previous)
    }
}

impl RedisConfig {
    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.url.expose_secret().starts_with("rediss:")
    }
}
