//! What is told in the end.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;

use super::{
    client::{Came, Sample},
    routes::Route,
    streams::Surface,
};
use crate::times::{Times, a_second};

/// Most reasons that are told.
const REASONS: usize = 20;

/// Answers of a route.
#[derive(Debug, Default)]
struct Figures {
    times: Times,
    statuses: BTreeMap<u16, usize>,
}

/// Answers of a model.
#[derive(Debug, Default)]
struct Spoken {
    first: Times,
    whole: Times,
}

/// All that came.
#[derive(Debug, Default)]
pub(super) struct Report {
    requests: usize,
    routes: BTreeMap<Route, Figures>,
    spoken: BTreeMap<(Surface, String), Spoken>,
    refusals: BTreeMap<(u16, String), usize>,
    wrong: usize,
    broken: usize,
    unanswered: usize,
    /// Why answers and streams were no good, the first of them.
    reasons: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, sample: Sample) {
        let Sample {
            route,
            status,
            took,
            came,
        } = sample;
        self.requests += 1;
        let figures = self.routes.entry(route).or_default();
        figures.times.push(took);
        *figures.statuses.entry(status).or_default() += 1;
        let (count, why) = match came {
            Came::Answer => return,
            Came::Stream {
                surface,
                model,
                first,
            } => {
                let spoken = self.spoken.entry((surface, model)).or_default();
                spoken.first.push(first);
                spoken.whole.push(took);
                return;
            }
            Came::Refusal(code) => {
                *self.refusals.entry((status, code)).or_default() += 1;
                return;
            }
            Came::Wrong(why) => (&mut self.wrong, why),
            Came::Broken(why) => (&mut self.broken, why),
            Came::Nothing(why) => (&mut self.unanswered, why),
        };
        *count += 1;
        if self.reasons.len() < REASONS {
            self.reasons.push(format!("{route}: {why}"));
        }
    }

    /// While it goes on.
    pub(super) fn summary(&self) -> String {
        let spoken: usize = self
            .spoken
            .values()
            .map(|spoken| spoken.first.count())
            .sum();
        format!(
            "{} requests, {spoken} answers of models, {} failures",
            self.requests,
            self.failures()
        )
    }

    fn failures(&self) -> usize {
        self.wrong + self.broken + self.unanswered + self.refused(|status| status >= 500)
    }

    fn refused(&self, is_meant: impl Fn(u16) -> bool) -> usize {
        let refusals = self.refusals.iter();
        let meant = refusals.filter(|((status, _), _)| is_meant(*status));
        meant.map(|(_, count)| count).sum()
    }

    pub(super) fn print(&mut self, took: Duration) {
        println!(
            "{:<47} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8}  statuses",
            "ms", "count", "1/s", "p50", "p95", "p99", "max"
        );
        for (route, Figures { times, statuses }) in &mut self.routes {
            let statuses = statuses.iter().map(|(status, count)| match status {
                0 => format!("none ×{count}"),
                status => format!("{status} ×{count}"),
            });
            let statuses = statuses.collect::<Vec<_>>().join(", ");
            println!("{route:<47} {}  {statuses}", row(times, took));
        }
        let rate = a_second(self.requests, took);
        println!("{:<47} {:>6} {rate:>6.1}", "all", self.requests);

        println!(
            "\n{:<47} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8}",
            "ms, streamed answers that came whole", "count", "1/s", "p50", "p95", "p99", "max"
        );
        for ((surface, model), Spoken { first, whole }) in &mut self.spoken {
            let who = format!("{surface} {model}");
            let (to_first, to_end) = (format!("{who}, first word"), format!("{who}, whole"));
            println!("{to_first:<47} {}", row(first, took));
            println!("{to_end:<47} {}", row(whole, took));
        }

        println!();
        self.print_refusals("4xx", |status| (400..500).contains(&status));
        println!(
            "{:<28} {}",
            "of them 429",
            self.refused(|status| status == 429)
        );
        self.print_refusals("5xx", |status| status >= 500);
        println!("{:<28} {}", "streams that ended badly", self.broken);
        println!("{:<28} {}", "requests without an answer", self.unanswered);
        println!("{:<28} {}", "answers of another form", self.wrong);
        for reason in &self.reasons {
            println!("  {reason}");
        }
    }

    fn print_refusals(&self, name: &str, is_meant: impl Fn(u16) -> bool) {
        let refusals = self.refusals.iter();
        let meant = refusals.filter(|((status, _), _)| is_meant(*status));
        let told: Vec<String> = meant
            .map(|((status, code), count)| format!("{status} {code} ×{count}"))
            .collect();
        if told.is_empty() {
            println!("{name:<28} none");
        } else {
            println!("{name:<28} {}", told.join(", "));
        }
    }

    /// Whether it went well: refusals other than 5xx are told, but no failures.
    ///
    /// # Errors
    /// When the API failed, did not answer, or did not end a stream as it should.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        let failures = self.failures();
        ensure!(
            failures == 0,
            "{failures} of {} requests failed",
            self.requests
        );
        ensure!(!self.spoken.is_empty(), "no model was heard");
        Ok(())
    }
}

/// Count, rate, percentiles and the longest.
fn row(times: &mut Times, took: Duration) -> String {
    let count = times.count();
    let rate = a_second(count, took);
    let [p50, p95, p99, max] = times.percentiles().unwrap_or([f64::NAN; 4]);
    format!("{count:>6} {rate:>6.1} {p50:>8.1} {p95:>8.1} {p99:>8.1} {max:>8.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::routes::{CHAT, SEARCH};

    fn report(came: impl IntoIterator<Item = (u16, Came)>) -> Report {
        let mut report = Report::default();
        let first = Duration::from_millis(20);
        let heard = Came::Stream {
            surface: Surface::Own,
            model: "a model".to_owned(),
            first,
        };
        for (status, came) in [(200, heard), (200, Came::Answer)].into_iter().chain(came) {
            let route = if matches!(came, Came::Answer) {
                SEARCH
            } else {
                CHAT
            };
            report.add(Sample {
                route,
                status,
                took: Duration::from_millis(30),
                came,
            });
        }
        report
    }

    #[test]
    fn refusals_are_told_and_failures_count() {
        let refused = report([(409, Came::Refusal("conversation_archived".to_owned()))]);
        assert!(refused.verdict().is_ok());
        assert_eq!(refused.requests, 3);
        for (status, came) in [
            (503, Came::Refusal("unavailable".to_owned())),
            (200, Came::Broken("it broke off".to_owned())),
            (200, Came::Wrong("it is no JSON".to_owned())),
            (0, Came::Nothing("connection refused".to_owned())),
        ] {
            let failed = report([(status, came)]);
            assert_eq!(failed.failures(), 1);
            let verdict = failed.verdict().map_err(|error| error.to_string());
            assert_eq!(verdict, Err("1 of 3 requests failed".to_owned()));
        }
    }

    #[test]
    fn who_heard_no_model_has_measured_nothing() {
        assert!(Report::default().verdict().is_err());
    }
}
