//! What the API reads from the environment.

mod chat;
mod commands;
mod cors;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::Parser;
use shared::config::{CommonArgs, CommonConfig, Problems, ToolArgs, ToolsConfig, given};
use url::Url;

pub use self::{
    chat::ChatConfig,
    commands::{Account, Command, TierName, UserCommand},
};
use crate::{
    client::TrustedProxies,
    limits::{MaybeRate, Rate},
};

/// Tries to log in, unless told otherwise.
const RATE_LIMIT_AUTH: Rate = Rate {
    quota: 5,
    window: Duration::from_mins(15),
};

/// Half of what a shutdown may take: requests that come at the end of the delay need time, too.
const LONGEST_SHUTDOWN_DELAY_SECONDS: u64 = 10;

/// Serves `BaatCheet`'s API.
#[derive(Debug, Parser)]
#[command(name = "baatcheet-api", version)]
pub struct Args {
    /// Variables of both programs.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Variables of the API.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Variables of the API.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ApiArgs {
    /// Port to listen on [default: 8080]
    #[arg(long, env = "PORT")]
    pub port: Option<String>,
    /// Address to listen on [default: 0.0.0.0]
    #[arg(long, env = "HOST")]
    pub host: Option<String>,
    /// The API as clients reach it, for the URLs it gives out [default: <http://localhost:PORT>]
    #[arg(long, env = "PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Most database connections, 1 to 1000 [default: `connection_limit` of `DATABASE_URL`, else 8]
    #[arg(long, env = "DATABASE_POOL_MAX")]
    pub database_pool_max: Option<String>,
    /// masked, full or off: addresses of clients in the log [default: masked]
    #[arg(long, env = "LOG_IP")]
    pub log_ip: Option<String>,
    /// true: /api/health answers 503 while Redis is away [default: false]
    #[arg(long, env = "HEALTH_REDIS_REQUIRED")]
    pub health_redis_required: Option<String>,
    /// Origins whose pages may use the API, comma-separated, like <https://app.example.com> [default: none]
    #[arg(long, env = "CORS_ORIGINS")]
    pub cors_origins: Option<String>,
    /// Largest picture, in bytes [default: 10485760]
    #[arg(long, env = "MAX_IMAGE_BYTES")]
    pub max_image_bytes: Option<String>,
    /// Largest PDF, in bytes [default: 10485760]
    #[arg(long, env = "MAX_PDF_BYTES")]
    pub max_pdf_bytes: Option<String>,
    /// Largest sound, in bytes [default: 26214400]
    #[arg(long, env = "MAX_AUDIO_BYTES")]
    pub max_audio_bytes: Option<String>,
    /// open or closed: whether anybody may make an account [default: open]
    #[arg(long, env = "REGISTRATION")]
    pub registration: Option<String>,
    /// How often one may fail to log in, register, change a password or delete the account (these count also when they succeed)
    /// and send an unknown refresh token, each by itself, per address and per account, like 5/15m; off: no limit [default: 5/15m]
    #[arg(long, env = "RATE_LIMIT_AUTH")]
    pub rate_limit_auth: Option<String>,
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto count: networks in CIDR form, loopback, private;
    /// comma-separated [default: none]
    #[arg(long, env = "TRUSTED_PROXIES")]
    pub trusted_proxies: Option<String>,
    /// Seconds after SIGTERM in which new requests are still taken, while /api/health/ready refuses them already, 0 to
    /// 10 [default: 3]
    #[arg(long, env = "SHUTDOWN_DELAY_SECONDS")]
    pub shutdown_delay_seconds: Option<String>,
    /// false: providers are not asked for their models once a minute to know whether they are there [default: true]
    #[arg(long, env = "HEALTH_PROBE_PROVIDERS")]
    pub health_probe_providers: Option<String>,
    /// The model that answers those who name none [default: the first of GET /api/v1/models]
    #[arg(long, env = "DEFAULT_MODEL")]
    pub default_model: Option<String>,
    /// What models are told first, where neither the conversation nor its project says anything [default: nothing]
    #[arg(long, env = "DEFAULT_SYSTEM_PROMPT")]
    pub default_system_prompt: Option<String>,
    /// Most tokens of the earlier messages and texts of attachments that are sent along with a question, 100 to 1000000
    /// [default: 8000]
    #[arg(long, env = "CONTEXT_MAX_TOKENS")]
    pub context_max_tokens: Option<String>,
    /// Most messages that are sent with a question, it included, 1 to 500 [default: 50]
    #[arg(long, env = "CONTEXT_MAX_MESSAGES")]
    pub context_max_messages: Option<String>,
    /// How many of these go before a summary of what was said before them, 1 to 500 [default: 20]
    #[arg(long, env = "CONTEXT_KEEP_RECENT")]
    pub context_keep_recent: Option<String>,
    /// Seconds for which Redis keeps what goes along with the next question of a conversation, 1 to 2592000
    /// [default: 86400]
    #[arg(long, env = "CONTEXT_CACHE_TTL_SECONDS")]
    pub context_cache_ttl_seconds: Option<String>,
    /// false: what does not go along any more is not summarised [default: true]
    #[arg(long, env = "AUTO_SUMMARY")]
    pub auto_summary: Option<String>,
    /// false: no model names conversations [default: true]
    #[arg(long, env = "AUTO_TITLE")]
    pub auto_title: Option<String>,
    /// Seconds that an answer waits for attachments that are still being read, 0 to 60 [default: 20]
    #[arg(long, env = "ATTACHMENT_WAIT_SECONDS")]
    pub attachment_wait_seconds: Option<String>,
    /// Seconds without a byte after which a provider is given up, 1 to 600 [default: 60]
    #[arg(long, env = "PROVIDER_SILENCE_SECONDS")]
    pub provider_silence_seconds: Option<String>,
    /// Seconds that an answer may take, all tries together, 1 to 3600 [default: 600]
    #[arg(long, env = "ANSWER_MAX_SECONDS")]
    pub answer_max_seconds: Option<String>,
    /// Seconds of silence after which a stream gets a byte, so that nothing on its way closes it, 1 to 20 [default: 15]
    #[arg(long, env = "STREAM_KEEP_ALIVE_SECONDS")]
    pub stream_keep_alive_seconds: Option<String>,
    /// Variables of the tools that models may call.
    #[command(flatten)]
    pub tools: ToolArgs,
}

/// Whether anybody may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// They may.
    Open,
    /// Operators only.
    Closed,
}

/// How addresses of clients are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogIp {
    /// Without the last byte (IPv4) or the last ten (IPv6).
    Masked,
    /// Whole.
    Full,
    /// Not at all.
    Off,
}

/// The API's configuration.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Of both programs.
    pub common: CommonConfig,
    /// Where to listen.
    pub address: SocketAddr,
    /// The API as clients reach it.
    pub public_url: Url,
    /// Most database connections.
    pub pool_max: Option<u32>,
    /// How addresses of clients are logged.
    pub log_ip: LogIp,
    /// Whether a lost Redis makes us unhealthy.
    pub health_redis_required: bool,
    /// Origins whose pages may use the API, as browsers write them.
    pub cors_origins: Vec<String>,
    /// Largest picture.
    pub max_image_bytes: u64,
    /// Largest PDF.
    pub max_pdf_bytes: u64,
    /// Largest sound.
    pub max_audio_bytes: u64,
    /// Whether anybody may make an account.
    pub registration: Registration,
    /// How often one may fail to log in.
    pub rate_limit_auth: Option<Rate>,
    /// Whose `X-Forwarded-*` count.
    pub trusted_proxies: TrustedProxies,
    /// How long new requests are taken after a shutdown began.
    pub shutdown_delay: Duration,
    /// Answers of models.
    pub chat: ChatConfig,
    /// Whether providers are asked for their models now and then.
    pub health_probe_providers: bool,
    /// Tools that models may call.
    pub tools: ToolsConfig,
}

impl Args {
    /// Checks everything at once.
    ///
    /// # Errors
    /// All problems of the environment.
    pub fn check(&self) -> Result<ApiConfig, Problems> {
        let mut problems = Problems::default();
        let common = self.common.check(&mut problems);
        let api = &self.api;
        let port = problems.parse("PORT", &api.port, 8080u16);
        let host = problems.parse("HOST", &api.host, IpAddr::from([0, 0, 0, 0]));
        let local: Url = format!("http://localhost:{port}")
            .parse()
            .expect("a port makes a URL");
        let public_url = problems.parse("PUBLIC_URL", &api.public_url, local);
        if !matches!(public_url.scheme(), "http" | "https") {
            problems.add("PUBLIC_URL", "is not an http:// or https:// URL");
        }
        let pool_max = given(&api.database_pool_max)
            .map(|_| problems.number("DATABASE_POOL_MAX", &api.database_pool_max, 8, 1..=1000));
        let log_ip = problems.choice(
            "LOG_IP",
            &api.log_ip,
            LogIp::Masked,
            &[
                ("masked", LogIp::Masked),
                ("full", LogIp::Full),
                ("off", LogIp::Off),
            ],
        );
        let health_redis_required =
            problems.parse("HEALTH_REDIS_REQUIRED", &api.health_redis_required, false);
        let cors_origins = cors::origins(&mut problems, given(&api.cors_origins));
        let mut bytes = |name, value: &Option<String>, mebibytes: u64| {
            problems.number(name, value, mebibytes << 20, 1..=1 << 30)
        };
        let max_image_bytes = bytes("MAX_IMAGE_BYTES", &api.max_image_bytes, 10);
        let max_pdf_bytes = bytes("MAX_PDF_BYTES", &api.max_pdf_bytes, 10);
        let max_audio_bytes = bytes("MAX_AUDIO_BYTES", &api.max_audio_bytes, 25);
        let registration = problems.choice(
            "REGISTRATION",
            &api.registration,
            Registration::Open,
            &[
                ("open", Registration::Open),
                ("closed", Registration::Closed),
            ],
        );
        let MaybeRate(rate_limit_auth) = problems.parse(
            "RATE_LIMIT_AUTH",
            &api.rate_limit_auth,
            MaybeRate(Some(RATE_LIMIT_AUTH)),
        );
        let trusted_proxies = api.check_proxies(&mut problems);
        let shutdown_delay = problems.number(
            "SHUTDOWN_DELAY_SECONDS",
            &api.shutdown_delay_seconds,
            3,
            0..=LONGEST_SHUTDOWN_DELAY_SECONDS,
        );
        let health_probe_providers =
            problems.parse("HEALTH_PROBE_PROVIDERS", &api.health_probe_providers, true);
        let chat = api.check_chat(common.as_ref(), &mut problems);
        let tools = api.tools.check(&mut problems);
        let config = common.map(|common| ApiConfig {
            common,
            address: SocketAddr::new(host, port),
            public_url,
            pool_max,
            log_ip,
            health_redis_required,
            cors_origins,
            max_image_bytes,
            max_audio_bytes,
            max_pdf_bytes,
            rate_limit_auth,
            registration,
            trusted_proxies,
            shutdown_delay: Duration::from_secs(shutdown_delay),
            chat,
            health_probe_providers,
            tools,
        });
        problems.finish(config)
    }
}

impl ApiArgs {
    fn check_proxies(&self, problems: &mut Problems) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        let texts = given(&self.trusted_proxies).unwrap_or_default().split(',');
        for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
            if let Err(problem) = proxies.add(text) {
                problems.add("TRUSTED_PROXIES", problem);
            }
        }
        proxies
    }
}
