//! Breakers of tools: one that failed three times in a row is left alone for a minute by all instances, and then tried by
//! one call. While Redis is away, each process goes on with what it knows itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    clock::Clock,
    keyring::random,
    providers::breakers::{Breakers, TOLD},
    redis::{Redis, Script},
};

/// Failures in a row that open one.
const FAILURES: u32 = 3;
/// For how long it is open.
const OPEN: i64 = 60_000;
/// Longest wait for Redis: a call takes longer than that, and a process that goes on without it knows less.
const LIMIT: Duration = Duration::from_secs(1);
/// What is added to the longest time of a call before another one may be the probe.
const SPARE: Duration = Duration::from_secs(2);

/// The breakers of all tools.
pub(super) struct ToolBreakers {
    redis: Redis,
    clock: Clock,
    /// How long a probe may take, in milliseconds.
    probe: i64,
    local: Mutex<Breakers>,
    /// Failures in a row, by name.
    failures: Mutex<BTreeMap<String, u32>>,
    pass: Script,
    note: Script,
}

/// That a tool may be called. What came of it must be told.
#[must_use = "what came of it must be told"]
pub(super) struct Pass {
    name: String,
    /// How often the breaker had opened.
    times: u32,
    /// By which a probe is known.
    mark: u32,
    is_probe: bool,
}

impl ToolBreakers {
    pub(super) fn new(redis: Redis, clock: Clock, timeout: Duration) -> Self {
        Self {
            redis,
            clock,
            probe: millis(timeout + SPARE),
            local: Mutex::default(),
            failures: Mutex::default(),
            pass: Script::new(include_str!("pass.lua")),
            note: Script::new(include_str!("../providers/note.lua")),
        }
    }

    /// Asks whether a tool may be called.
    ///
    /// # Errors
    /// For how long it is left alone.
    pub(super) async fn pass(&self, name: &str) -> Result<Pass, Duration> {
        let now = self.now();
        let wait = |millis: i64| Duration::from_millis(millis.max(1).unsigned_abs());
        if let Some(open) = self.local().open_ms(now, name) {
            return Err(wait(open));
        }
        let mark = u32::from_le_bytes(random());
        let arguments = vec![
            self.script_now(),
            name.to_owned(),
            self.probe.to_string(),
            mark.to_string(),
            TOLD.to_string(),
        ];
        let key = self.redis.keys().tool_breakers();
        let shared = self
            .redis
            .run_within(LIMIT, &self.pass, vec![key], arguments);
        let shared = shared.await;
        let (is_probe, times) = match shared.as_deref() {
            Ok([0, millis]) => return Err(wait(*millis)),
            Ok([1, is_probe, times]) => {
                let (is_probe, times) = (*is_probe == 1, u32::try_from(*times).unwrap_or(0));
                let until = is_probe.then_some((now + self.probe, mark));
                self.local().adopt(now, name, times, until);
                (is_probe, times)
            }
            Ok(_) | Err(_) => {
                let mut local = self.local();
                if let Some(millis) = local.wait(now, name) {
                    return Err(wait(millis));
                }
                let times = local.begin_probe(name, (now + self.probe, mark));
                (times.is_some(), times.unwrap_or(0))
            }
        };
        Ok(Pass {
            name: name.to_owned(),
            times,
            mark,
            is_probe,
        })
    }

    /// It answered.
    pub(super) async fn answered(&self, pass: Pass) {
        self.failures().remove(&pass.name);
        if pass.is_probe {
            self.local().close(&pass.name);
            self.note("close", &[&pass.name]).await;
            tracing::info!(tool = pass.name, "the tool is back");
        }
    }

    /// It failed.
    pub(super) async fn failed(&self, pass: Pass) {
        let is_enough = {
            let mut failures = self.failures();
            let number = failures.entry(pass.name.clone()).or_default();
            *number += 1;
            let is_enough = pass.is_probe || *number >= FAILURES;
            if is_enough {
                failures.remove(&pass.name);
            }
            is_enough
        };
        if !is_enough {
            return;
        }
        let now = self.now();
        let open = self.local().open(now, &pass.name, OPEN, OPEN, pass.times);
        let (length, times) = (OPEN.to_string(), pass.times.to_string());
        self.note("open", &[&pass.name, &length, &length, &times])
            .await;
        if open > 0 {
            tracing::warn!(tool = pass.name, openMs = open, "the tool is left alone");
        }
    }

    /// Nothing is known of how it is.
    pub(super) async fn unknown(&self, pass: Pass) {
        if pass.is_probe {
            self.local().end_probe(&pass.name, pass.mark);
            let mark = pass.mark.to_string();
            self.note("unprobe", &[&pass.name, &mark]).await;
        }
    }

    async fn note(&self, what: &str, arguments: &[&str]) {
        let mut all = vec![self.script_now(), what.to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let key = self.redis.keys().tool_breakers();
        let noted = self.redis.run_within(LIMIT, &self.note, vec![key], all);
        if let Err(error) = noted.await {
            tracing::debug!(error = %error, "a breaker of a tool is known here only");
        }
    }

    fn local(&self) -> MutexGuard<'_, Breakers> {
        self.local
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.failures
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// For scripts: nothing, where they should look at the clock of Redis.
    fn script_now(&self) -> String {
        let frozen = self.clock.frozen_now();
        frozen.map_or(String::new(), |now| now.timestamp_millis().to_string())
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
