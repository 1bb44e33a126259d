//! Metrics for Prometheus, in its text format 0.0.4.
//!
//! Each program has an [`Exposition`] of its own: a registry, not a global recorder, so that two of a program fit in one
//! process.

mod process;
mod queues;

use aws_lc_rs::constant_time;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};
use sea_orm::DatabaseConnection;
use secrecy::{ExposeSecret as _, SecretString};

use self::{process::Process, queues::Queues};

/// Media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a program tells Prometheus: what all programs tell (process, connections, queues), and what it adds.
pub struct Exposition {
    registry: Registry,
    pool: IntGaugeVec,
    pool_max: IntGauge,
    queues: Queues,
}

impl Default for Exposition {
    fn default() -> Self {
        let registry = Registry::new();
        register(&registry, &Process::default());
        let pool = gauges(
            &registry,
            "db_pool_connections",
            "Connections of the pool to Postgres, by what they do.",
            &["state"],
        );
        let pool_max = IntGauge::new(
            "db_pool_max_connections",
            "Most connections that the pool may have.",
        );
        let pool_max = register(&registry, &sound(pool_max));
        let queues = Queues::new(&registry);
        Self {
            registry,
            pool,
            pool_max,
            queues,
        }
    }
}

impl Exposition {
    /// Adds a counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        register(&self.registry, &sound(IntCounter::new(name, help)))
    }

    /// Adds counters that differ by labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels);
        register(&self.registry, &sound(counters))
    }

    /// Adds a histogram of seconds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        register(&self.registry, &sound(Histogram::with_opts(options)))
    }

    /// Adds histograms of seconds that differ by labels.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        register(&self.registry, &sound(HistogramVec::new(options, labels)))
    }

    /// The page. It counts no jobs, and it is answered while Postgres is away: then without the queues.
    pub async fn render(&self, db: &DatabaseConnection) -> String {
        let pool = db.get_postgres_connection_pool();
        let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
        let used = i64::from(pool.size()).saturating_sub(idle).max(0);
        self.pool.with_label_values(&["idle"]).set(idle);
        self.pool.with_label_values(&["used"]).set(used);
        self.pool_max
            .set(pool.options().get_max_connections().into());
        let _fresh = self.queues.refresh(db).await;
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("the registry has checked all names and labels")
    }
}

/// Whether the metrics may be read by who sends this `Authorization`: by anybody, unless there is a token.
pub fn may_read(token: Option<&SecretString>, authorization: Option<&[u8]>) -> bool {
    let Some(token) = token else { return true };
    let Some((scheme, given)) = authorization.and_then(|header| header.split_at_checked(7)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ")
        && constant_time::verify_slices_are_equal(given, token.expose_secret().as_bytes()).is_ok()
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(
        registry,
        &sound(IntGaugeVec::new(Opts::new(name, help), labels)),
    )
}

/// Registers a metric that is a handle: what is counted on one is seen on the other.
fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: &M) -> M {
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is used once");
    metric.clone()
}

fn sound<M>(metric: prometheus::Result<M>) -> M {
    metric.expect("names, labels and buckets are constants that Prometheus takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_programs_in_one_process_count_apart() {
        let (one, two) = (Exposition::default(), Exposition::default());
        let (one, two) = (
            one.counter("told", "A test."),
            two.counter("told", "A test."),
        );
        one.inc();
        assert_eq!((one.get(), two.get()), (1, 0));
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let token = SecretString::from("0123456789abcdef");
        assert!(may_read(None, None));
        assert!(may_read(Some(&token), Some(b"Bearer 0123456789abcdef")));
        assert!(may_read(Some(&token), Some(b"bearer 0123456789abcdef")));
        for wrong in [
            None,
            Some(&b""[..]),
            Some(b"Bearer "),
            Some(b"Bearer 0123456789abcdeX"),
            Some(b"Bearer 0123456789abcdef "),
            Some(b"0123456789abcdef"),
            Some(b"Basic  0123456789abcdef"),
        ] {
            assert!(!may_read(Some(&token), wrong), "{wrong:?}");
        }
    }
}
