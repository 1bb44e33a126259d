//! What the programs tell of themselves: error reports and metrics.

use std::fmt;

use secrecy::SecretString;
use sentry_core::types::Dsn;

use super::{CommonArgs, Environment, Problems, given};

/// Share of requests and of runs of jobs that are traced, unless told otherwise.
const TRACES_SAMPLE_RATE: f32 = 0.1;
/// Least length of `METRICS_TOKEN` in bytes.
const METRICS_TOKEN_MIN_BYTES: usize = 16;

/// Where errors are reported.
#[derive(Clone)]
pub struct SentryConfig {
    /// Sentry, or what speaks like it, with the project's key.
    pub dsn: Dsn,
    /// Name of this deployment there.
    pub environment: String,
    /// Share of requests and of runs of jobs that are traced, 0 to 1.
    pub traces_sample_rate: f32,
}

impl fmt::Debug for SentryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SentryConfig({}:{}, {}, {})",
            self.dsn.host(),
            self.dsn.port(),
            self.environment,
            self.traces_sample_rate
        )
    }
}

impl CommonArgs {
    pub(super) fn check_sentry(
        &self,
        environment: Environment,
        problems: &mut Problems,
    ) -> Option<SentryConfig> {
        let traces_sample_rate = problems.number(
            "SENTRY_TRACES_SAMPLE_RATE",
            &self.sentry_traces_sample_rate,
            TRACES_SAMPLE_RATE,
            0.0..=1.0,
        );
        // The text is not repeated: it holds a key.
        let dsn = given(&self.sentry_dsn)?
            .parse()
            .map_err(|error| problems.add("SENTRY_DSN", format!("is not a DSN: {error}")))
            .ok()?;
        let environment = given(&self.sentry_environment).unwrap_or(match environment {
            Environment::Production => "production",
            Environment::Development => "development",
            Environment::Test => "test",
        });
        Some(SentryConfig {
            dsn,
            environment: environment.to_owned(),
            traces_sample_rate,
        })
    }

    pub(super) fn check_metrics_token(&self, problems: &mut Problems) -> Option<SecretString> {
        let token = given(&self.metrics_token)?;
        if token.len() < METRICS_TOKEN_MIN_BYTES {
            problems.add(
                "METRICS_TOKEN",
                format!(
                    "has {} bytes; at least {METRICS_TOKEN_MIN_BYTES} are needed",
                    token.len()
                ),
            );
        }
        Some(token.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dsn: &str, rate: &str) -> Result<SentryConfig, Problems> {
        let args = CommonArgs {
            sentry_dsn: Some(dsn.to_owned()),
            sentry_traces_sample_rate: Some(rate.to_owned()),
            ..CommonArgs::default()
        };
        let mut problems = Problems::default();
        let config = args.check_sentry(Environment::Test, &mut problems);
        problems.finish(config)
    }

    #[test]
    fn debug_shows_no_key() {
        let config = check("https://publickey@sentry.example.com/42", "").unwrap();
        assert!((config.traces_sample_rate - 0.1).abs() < f32::EPSILON);
        assert_eq!(
            format!("{config:?}"),
            "SentryConfig(sentry.example.com:443, test, 0.1)"
        );
    }

    #[test]
    fn nonsense_is_told_without_the_key() {
        let told = check("https://publickey@/42", "1.5")
            .unwrap_err()
            .to_string();
        for variable in ["SENTRY_DSN", "SENTRY_TRACES_SAMPLE_RATE"] {
            assert!(told.contains(variable), "{variable} is missing in: {told}");
        }
        assert!(!told.contains("publickey"), "the key is repeated: {told}");
        check("https://publickey@sentry.example.com/42", "NaN").unwrap_err();
    }
}
