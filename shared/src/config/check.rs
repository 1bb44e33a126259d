//! From texts of the environment to typed values.

use std::{net::IpAddr, str::FromStr as _, time::Duration};

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::{
    CommonArgs, CommonConfig, DatabaseConfig, Environment, Problems, SecretConfig, TelemetryConfig,
    given,
};
use crate::tokens::Encoding;

/// Least length of `SECRET_KEY` in bytes.
const SECRET_KEY_MIN_BYTES: usize = 32;
/// How the `SECRET_KEY` of `.env.example` begins: everybody knows it.
const SECRET_KEY_SAMPLE: &str = "change-me";

impl CommonArgs {
    /// Checks everything; what is wrong goes to `problems`.
    pub fn check(&self, problems: &mut Problems) -> Option<CommonConfig> {
        let environment = problems.choice(
            "ENVIRONMENT",
            &self.environment,
            Environment::Production,
            &[
                ("production", Environment::Production),
                ("development", Environment::Development),
                ("test", Environment::Test),
            ],
        );
        let database = self.check_database(problems);
        let redis = self.check_redis(problems);
        let secret = self.check_secret(problems);
        let storage = self.check_storage(problems);
        let outbound_allow = self.check_outbound(problems);
        let telemetry = self.check_telemetry(environment, problems);
        let metrics_token = self.check_metrics_token(problems);
        let token_encoding = problems.choice(
            "TOKEN_FALLBACK_ENCODING",
            &self.token_fallback_encoding,
            Encoding::O200k,
            &[
                (Encoding::O200k.name(), Encoding::O200k),
                (Encoding::Cl100k.name(), Encoding::Cl100k),
            ],
        );
        let ai = self.providers.check(problems);
        let usage_limits = self.usage_limits.check(problems);
        Some(CommonConfig {
            environment,
            database: database?,
            redis: redis?,
            secret: secret?,
            storage: storage?,
            outbound_allow,
            telemetry,
            metrics_token,
            token_encoding,
            ai,
            usage_limits,
        })
    }

    fn check_database(&self, problems: &mut Problems) -> Option<DatabaseConfig> {
        let pool_min = problems.number("DATABASE_POOL_MIN", &self.database_pool_min, 0, 0..=100);
        let text = problems.require("DATABASE_URL", &self.database_url)?;
        let pooled = postgres_url("DATABASE_URL", text, problems)?;
        let direct = match given(&self.database_direct_url) {
            Some(text) => postgres_url("DATABASE_DIRECT_URL", text, problems)?.options,
            None => pooled.options.clone(),
        };
        Some(DatabaseConfig {
            pooled: pooled.options,
            direct,
            pool_min,
            connection_limit: pooled.connection_limit,
            acquire_timeout: pooled.pool_timeout.unwrap_or(Duration::from_secs(5)),
        })
    }

    fn check_secret(&self, problems: &mut Problems) -> Option<SecretConfig> {
        let previous: Vec<SecretString> = given(&self.secret_key_previous)
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|key| !key.is_empty())
            .map(SecretString::from)
            .collect();
        if previous
            .iter()
            .any(|key| key.expose_secret().len() < SECRET_KEY_MIN_BYTES)
        {
            problems.add(
                "SECRET_KEY_PREVIOUS",
                format!("has a key of less than {SECRET_KEY_MIN_BYTES} bytes"),
            );
        }
        let current = problems.require("SECRET_KEY", &self.secret_key)?;
        if current.starts_with(SECRET_KEY_SAMPLE) {
            problems.add(
                "SECRET_KEY",
                "is the one of .env.example, which everybody knows (openssl rand -hex 32 makes one)",
            );
            return None;
        }
        if current.len() < SECRET_KEY_MIN_BYTES {
            problems.add(
                "SECRET_KEY",
                format!("has {} bytes; at least {SECRET_KEY_MIN_BYTES} are needed (openssl rand -hex 32 makes one)", current.len()),
            );
            return None;
        }
        Some(SecretConfig {
            current: current.into(),
            previous,
        })
    }

    fn check_outbound(&self, problems: &mut Problems) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in given(&self.outbound_allow)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            match text
                .parse::<IpNet>()
                .or_else(|error| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error))
            {
                Ok(network) => networks.push(network),
                Err(error) => problems.add(
                    "OUTBOUND_ALLOW",
                    format!("{text:?}: {error}; a network looks like 10.0.0.0/8"),
                ),
            }
        }
        networks
    }

    fn check_telemetry(
        &self,
        environment: Environment,
        problems: &mut Problems,
    ) -> TelemetryConfig {
        let json = problems.choice(
            "LOG_FORMAT",
            &self.log_format,
            environment == Environment::Production,
            &[("pretty", false), ("json", true)],
        );
        let filter = given(&self.rust_log).unwrap_or("info").to_owned();
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
            problems.add("RUST_LOG", format!("{filter:?}: {error}"));
        }
        TelemetryConfig {
            json,
            filter,
            sentry: self.check_sentry(environment, problems),
        }
    }
}

struct PostgresUrl {
    options: PgConnectOptions,
    connection_limit: Option<u32>,
    pool_timeout: Option<Duration>,
}

/// Takes out the pool's settings, which other clients put into the URL and sqlx does not know.
fn postgres_url(
    variable: &'static str,
    text: &str,
    problems: &mut Problems,
) -> Option<PostgresUrl> {
    let mut url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => url,
        Ok(url) => {
            problems.add(
                variable,
                format!("has the scheme {:?}; it must be postgres://", url.scheme()),
            );
            return None;
        }
        Err(error) => {
            problems.add(variable, format!("is not a URL: {error}"));
            return None;
        }
    };
    let (mut connection_limit, mut pool_timeout) = (None, None);
    let mut kept = Vec::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "connection_limit" => {
                connection_limit =
                    Some(problems.number(variable, &Some(value.into()), 8, 1..=1000));
            }
            "pool_timeout" => {
                pool_timeout = Some(Duration::from_secs(problems.number(
                    variable,
                    &Some(value.into()),
                    5,
                    1..=3600,
                )));
            }
            _ => kept.push((name.into_owned(), value.into_owned())),
        }
    }
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    if let Ok(options) = PgConnectOptions::from_str(url.as_str()) {
        Some(PostgresUrl {
            options,
            connection_limit,
            pool_timeout,
        })
    } else {
        // sqlx's message may repeat the URL, and with it the password.
        problems.add(variable, "has an option that is not understood");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "it is how clap gives a variable")]
    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn good() -> CommonArgs {
        CommonArgs {
            database_url: text(
                "postgres://u:p@h/db?connection_limit=5&pool_timeout=7&sslmode=disable",
            ),
            redis_url: text("redis://h"),
            secret_key: text("0123456789abcdef0123456789abcdef"),
            ..CommonArgs::default()
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let args = CommonArgs {
            database_url: text("mysql://x"),
            secret_key: text("short"),
            outbound_allow: text("10.0.0.0/99"),
            log_format: text("xml"),
            token_fallback_encoding: text("p50k_base"),
            ..CommonArgs::default()
        };
        let mut problems = Problems::default();
        let config = args.check(&mut problems);
        let told = problems.finish(config).unwrap_err().to_string();
        for variable in [
            "DATABASE_URL",
            "REDIS_URL",
            "SECRET_KEY",
            "OUTBOUND_ALLOW",
            "LOG_FORMAT",
            "TOKEN_FALLBACK_ENCODING",
        ] {
            assert!(told.contains(variable), "{variable} is missing in: {told}");
        }
        assert!(!told.contains("short"), "a secret is repeated: {told}");
    }

    #[test]
    fn the_key_of_the_example_is_refused() {
        let args = CommonArgs {
            secret_key: text("change-me-change-me-change-me-change-me"),
            ..good()
        };
        let mut problems = Problems::default();
        let config = args.check(&mut problems);
        let told = problems.finish(config).unwrap_err().to_string();
        assert!(told.contains("openssl rand -hex 32"), "{told}");
    }

    #[test]
    fn pool_settings_are_taken_out_of_the_url() {
        let mut problems = Problems::default();
        let config = good().check(&mut problems).unwrap();
        problems.finish(Some(())).unwrap();
        assert_eq!(config.database.connection_limit, Some(5));
        assert_eq!(config.database.acquire_timeout, Duration::from_secs(7));
        assert_eq!(config.database.pooled.get_database(), Some("db"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut problems = Problems::default();
        let config = good().check(&mut problems).unwrap();
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("0123456789abcdef") && !shown.contains("u:p"),
            "{shown}"
        );
    }
}
