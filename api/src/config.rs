//! What the API reads from the environment.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::{Parser, Subcommand};
use shared::config::{CommonArgs, CommonConfig, Problems, given};
use url::Url;

use crate::{
    client::TrustedProxies,
    limits::{MaybeRate, Rate},
};

/// Tries to log in, unless told otherwise.
const RATE_LIMIT_AUTH: Rate = Rate {
    quota: 5,
    window: Duration::from_mins(15),
};

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

/// What the API program can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serves until SIGTERM or SIGINT (default)
    Serve,
    /// Prints the OpenAPI document; needs no configuration
    Openapi,
    /// Makes accounts, and changes what they may do; needs the same variables as `serve`
    #[command(subcommand)]
    User(UserCommand),
}

/// What an operator can do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Makes an account, also where registration is closed, and prints its id
    Create {
        /// Its e-mail address
        #[arg(long)]
        email: String,
        /// What others see, 2 to 50 characters
        #[arg(long)]
        name: Option<String>,
        /// Makes it an operator's
        #[arg(long)]
        admin: bool,
        /// Reads the password from standard input up to the end of its first line, instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// Makes an account an operator's
    Promote(Account),
    /// Makes an operator's account like any other
    Demote(Account),
    /// Bars an account, at once
    Suspend(Account),
    /// Lets a suspended account in again
    Reinstate(Account),
}

/// Which account.
#[derive(Debug, Clone, clap::Args)]
pub struct Account {
    /// Its e-mail address
    #[arg(long)]
    pub email: String,
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
    /// Failed tries to log in, per address and per account, like 5/15m; off: no limit [default: 5/15m]
    #[arg(long, env = "RATE_LIMIT_AUTH")]
    pub rate_limit_auth: Option<String>,
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto count: networks in CIDR form, loopback, private;
    /// comma-separated [default: none]
    #[arg(long, env = "TRUSTED_PROXIES")]
    pub trusted_proxies: Option<String>,
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
        let config = common.map(|common| ApiConfig {
            common,
            address: SocketAddr::new(host, port),
            public_url,
            pool_max,
            log_ip,
            health_redis_required,
            max_image_bytes,
            max_audio_bytes,
            max_pdf_bytes,
            rate_limit_auth,
            registration,
            trusted_proxies,
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        <super::Args as clap::CommandFactory>::command().debug_assert();
    }
}
