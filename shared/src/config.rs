//! What both programs read from the environment, checked into typed values.
//!
//! clap gives each variable its name, default and help line; every value arrives as text, because clap would
//! stop at the first malformed one. [`Problems`] collects them all, so that a bad deployment is mended at once.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// Least length of `SECRET_KEY` in bytes.
const SECRET_KEY_MIN_BYTES: usize = 32;

/// Everything that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems(Vec<(&'static str, String)>);

impl Problems {
    /// Notes that `variable` is wrong, and why.
    pub fn add(&mut self, variable: &'static str, problem: impl Into<String>) {
        self.0.push((variable, problem.into()));
    }

    /// Takes a value that must be there.
    pub fn require<'a>(
        &mut self,
        variable: &'static str,
        value: &'a Option<String>,
    ) -> Option<&'a str> {
        let value = given(value);
        if value.is_none() {
            self.add(variable, "is not set");
        }
        value
    }

    /// Parses a value, or takes the default where it is unset or empty.
    pub fn parse<T>(&mut self, variable: &'static str, value: &Option<String>, default: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let Some(text) = given(value) else {
            return default;
        };
        text.parse().unwrap_or_else(|error| {
            self.add(variable, format!("{text:?}: {error}"));
            default
        })
    }

    /// Parses a number within a range.
    pub fn number<T>(
        &mut self,
        variable: &'static str,
        value: &Option<String>,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
        T::Err: fmt::Display,
    {
        let number = self.parse(variable, value, default);
        if range.contains(&number) {
            return number;
        }
        self.add(
            variable,
            format!(
                "{number} is not between {} and {}",
                range.start(),
                range.end()
            ),
        );
        default
    }

    /// Parses one of the words of `choices`.
    pub fn choice<T: Copy>(
        &mut self,
        variable: &'static str,
        value: &Option<String>,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = given(value) else {
            return default;
        };
        choices.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                self.add(
                    variable,
                    format!("{text:?} is none of {}", words.join(", ")),
                );
                default
            },
            |(_, value)| *value,
        )
    }

    /// Gives the value back if nothing was noted.
    ///
    /// # Errors
    /// All that was noted, one line each.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration has {} problem(s):", self.0.len())?;
        for (variable, problem) in &self.0 {
            writeln!(f, "  {variable} {problem}")?;
        }
        write!(
            f,
            "each is a variable of the environment; .env.example describes them, --help lists them"
        )
    }
}

impl std::error::Error for Problems {}

/// The text of a variable; empty counts as unset, as platforms' forms leave empty ones behind.
pub fn given(value: &Option<String>) -> Option<&str> {
    value
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// Where the program runs; changes defaults only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The default: logs in JSON.
    Production,
    /// Logs for people.
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
    /// <file:///path> of the folder for uploads [default: ./data/storage]
    #[arg(long, env = "STORAGE_URL", hide_env_values = true)]
    pub storage_url: Option<String>,
    /// Networks in CIDR form, comma-separated, that URLs given by users may reach [default: none]
    #[arg(long, env = "OUTBOUND_ALLOW")]
    pub outbound_allow: Option<String>,
    /// pretty or json [default: json in production, else pretty]
    #[arg(long, env = "LOG_FORMAT")]
    pub log_format: Option<String>,
    /// Filter in tracing's syntax [default: info]
    #[arg(long, env = "RUST_LOG")]
    pub rust_log: Option<String>,
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
    /// Logs.
    pub telemetry: TelemetryConfig,
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

/// Where uploads are kept.
#[derive(Debug, Clone)]
pub enum StorageConfig {
    /// A folder of this machine.
    Folder(PathBuf),
}

/// Logs.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// One JSON object a line, instead of text for people.
    pub json: bool,
    /// tracing's filter.
    pub filter: String,
}

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
        Some(CommonConfig {
            environment,
            database: database?,
            redis: redis?,
            secret: secret?,
            storage: storage?,
            outbound_allow,
            telemetry,
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

    fn check_redis(&self, problems: &mut Problems) -> Option<RedisConfig> {
        let url = self.redis_url(problems);
        let tls_insecure = problems.parse("REDIS_TLS_INSECURE", &self.redis_tls_insecure, false);
        let ca = given(&self.redis_ca_file).and_then(|path| {
            std::fs::read(path)
                .map_err(|error| problems.add("REDIS_CA_FILE", format!("{path}: {error}")))
                .ok()
        });
        Some(RedisConfig {
            url: url?.to_string().into(),
            tls_insecure,
            ca,
            prefix: given(&self.redis_prefix).unwrap_or_default().to_owned(),
        })
    }

    fn redis_url(&self, problems: &mut Problems) -> Option<Url> {
        let from_parts = given(&self.redis_host).and_then(|host| {
            let port = problems.number("REDIS_PORT", &self.redis_port, 6379u16, 1..=u16::MAX);
            let mut url = Url::parse(&format!("redis://{host}:{port}"))
                .map_err(|error| problems.add("REDIS_HOST", format!("{host:?}: {error}")))
                .ok()?;
            if let Some(password) = given(&self.redis_password) {
                url.set_password(Some(password)).ok()?;
            }
            Some(url)
        });
        let Some(text) = given(&self.redis_url) else {
            if from_parts.is_none() {
                problems.add("REDIS_URL", "is not set");
            }
            return from_parts;
        };
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() => url,
            Ok(_) => {
                problems.add(
                    "REDIS_URL",
                    "is not a redis:// or rediss:// URL with a host",
                );
                return None;
            }
            Err(error) => {
                problems.add("REDIS_URL", format!("is not a URL: {error}"));
                return None;
            }
        };
        if let Some(parts) = from_parts
            && (parts.host(), parts.port()) != (url.host(), Some(url.port().unwrap_or(6379)))
        {
            problems.add(
                "REDIS_HOST",
                "and REDIS_URL name different servers; set one of them",
            );
        }
        Some(url)
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

    fn check_storage(&self, problems: &mut Problems) -> Option<StorageConfig> {
        let Some(text) = given(&self.storage_url) else {
            return std::path::absolute("data/storage")
                .map(StorageConfig::Folder)
                .map_err(|error| {
                    problems.add(
                        "STORAGE_URL",
                        format!("is not set, and ./data/storage has no path: {error}"),
                    );
                })
                .ok();
        };
        if let Some(path) = Url::parse(text)
            .ok()
            .filter(|url| url.scheme() == "file")
            .and_then(|url| url.to_file_path().ok())
        {
            Some(StorageConfig::Folder(path))
        } else {
            problems.add("STORAGE_URL", "is not a file:///absolute/path URL");
            None
        }
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
        TelemetryConfig { json, filter }
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
        ] {
            assert!(told.contains(variable), "{variable} is missing in: {told}");
        }
        assert!(!told.contains("short"), "a secret is repeated: {told}");
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
    fn two_forms_that_differ_are_a_problem() {
        let args = CommonArgs {
            redis_host: text("other"),
            ..good()
        };
        let mut problems = Problems::default();
        let config = args.check(&mut problems);
        assert!(
            problems
                .finish(config)
                .unwrap_err()
                .to_string()
                .contains("REDIS_HOST")
        );

        let same = CommonArgs {
            redis_host: text("h"),
            ..good()
        };
        let mut problems = Problems::default();
        let config = same.check(&mut problems);
        problems.finish(config).unwrap();
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
