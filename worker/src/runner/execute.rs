//! One run: under the job's time limit, a panic guard and a way to stop it, and then its end.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use serde_json::{Value, json};
use shared::{
    database::Error,
    ids::{JobId, UserId},
    queue::{Backoff, End, LiveJob, Queue},
    telemetry::{Ended, Trace, report_user},
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use super::{
    Engine, Run, Stop,
    claim::Claimed,
    failure::{FailedRun, Tries},
    finish::Finished,
};
use crate::{
    context::{JobContext, LostJob},
    jobs::Outcome,
    metrics::{self, Fate},
    registry::Kind,
};

/// Between tries to write an end while Postgres is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// What is to be written of a run.
enum Verdict {
    /// Nothing: the run ended its job in its own transaction, or lost it.
    Nothing,
    /// The job succeeded.
    Done(Option<Value>),
    Failed(FailedRun),
    Cancelled,
    Released,
}

impl Verdict {
    /// The same for a trace.
    fn ended(&self) -> Ended {
        match self {
            Self::Nothing | Self::Done(_) => Ended::Ok,
            Self::Failed(_) => Ended::Failed,
            Self::Cancelled | Self::Released => Ended::Cancelled,
        }
    }
}

impl Engine {
    /// Runs a claimed job to its end, and keeps its slot until the work is over.
    pub(super) async fn execute(
        self: Arc<Self>,
        job: Claimed,
        run: Arc<Run>,
        slot: Option<OwnedSemaphorePermit>,
    ) {
        let span = tracing::info_span!(
            "job",
            jobId = %job.id,
            kind = %job.kind,
            attempt = job.attempt,
            requestId = job.request_id.as_deref(),
            userId = job.user_id.map(tracing::field::display),
        );
        let kind = self.registry.find(&job.kind);
        let backoff = kind
            .as_ref()
            .map_or_else(Backoff::default, |kind| kind.backoff);
        let tries = Tries {
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            backoff,
            late: kind.as_ref().and_then(|kind| kind.late),
        };
        let counts = self.kinds.find(&job.kind);
        counts.began(job.waited());
        let queue = kind.as_ref().and_then(|kind| kind.queue);
        let trace = Trace::begin(
            "queue.process",
            &job.kind,
            true,
            job.traceparent.as_deref(),
            &[
                ("jobId", &job.id),
                ("kind", &job.kind),
                ("queue", &queue.map_or("unknown", Queue::name)),
                ("attempt", &job.attempt),
                ("requestId", &job.request_id.as_deref().unwrap_or_default()),
            ],
        );
        let work = async {
            if let Some(user) = job.user_id {
                report_user(UserId(user));
            }
            let began = Instant::now();
            let verdict = self.attempt(&job, &run, kind.as_deref(), tries).await;
            counts.ran(began);
            // The work is over: writing its end may take its time, the next job need not wait for that.
            drop(slot);
            let ended = verdict.ended();
            match verdict {
                Verdict::Nothing => self.forget([job.key()]),
                Verdict::Done(result) => self.hand_over(&job, result).await,
                verdict => self.write_end(&job, &verdict, tries).await,
            }
            if let Some(group) = &job.group_key {
                self.free(group);
            }
            ended
        };
        let ended = trace.cover(work.instrument(span)).await;
        trace.end(ended, None);
    }

    async fn attempt(
        &self,
        job: &Claimed,
        run: &Run,
        kind: Option<&Kind>,
        tries: Tries,
    ) -> Verdict {
        let Some(kind) = kind else {
            return Verdict::Failed(FailedRun::internal(format!(
                "this worker knows no job {:?}",
                job.kind
            )));
        };
        let counts = self.kinds.find(&job.kind).clone();
        let cancel = run.cancel.clone();
        let context = JobContext::new(self.context.clone(), job, tries, counts, cancel);
        let limit = Duration::from_millis(u64::try_from(job.timeout_ms).unwrap_or(0));
        let work = AssertUnwindSafe(kind.run(job.payload.clone(), context)).catch_unwind();
        let ended = tokio::select! {
            biased;
            () = run.stopped() => return match run.why() {
                Some(Stop::Cancelled) => Verdict::Cancelled,
                Some(Stop::Released) => Verdict::Released,
                Some(Stop::Lost) | None => Verdict::Nothing,
            },
            ended = tokio::time::timeout(limit, work) => ended,
        };
        match ended {
            Ok(Ok(Ok(Outcome::Done(result)))) => Verdict::Done(result),
            Ok(Ok(Ok(Outcome::Discard(reason)))) => {
                Verdict::Done(Some(json!({ "discarded": reason })))
            }
            Ok(Ok(Ok(Outcome::Written))) => Verdict::Nothing,
            Ok(Ok(Err(error))) if error.is::<LostJob>() => Verdict::Nothing,
            Ok(Ok(Err(error))) if is_away(&error) => {
                tracing::warn!(error = %format!("{error:#}"), "postgres was away; the run does not count");
                Verdict::Released
            }
            Ok(Ok(Err(error))) => Verdict::Failed(FailedRun::of(&error)),
            Ok(Err(_)) => Verdict::Failed(FailedRun::internal("the job panicked")),
            Err(_) => Verdict::Failed(FailedRun::timeout(limit)),
        }
    }

    async fn hand_over(&self, job: &Claimed, result: Option<Value>) {
        let finished = Finished {
            key: job.key(),
            counts: self.kinds.find(&job.kind).clone(),
            result,
            user: job.user_id.is_some(),
            group: job.group_key.clone(),
        };
        if self.finished.send(finished).await.is_err() {
            self.forget([job.key()]);
        }
    }

    /// Writes an end in a transaction of its own, for as long as it takes: while Postgres is away the run stays
    /// ours, and its lease is renewed as soon as that is possible again.
    async fn write_end(&self, job: &Claimed, verdict: &Verdict, tries: Tries) {
        loop {
            match self.try_write_end(job, verdict, tries).await {
                Ok(fate) => {
                    if let Some(fate) = fate {
                        self.kinds.find(&job.kind).ended(fate);
                    }
                    return self.forget([job.key()]);
                }
                Err(Error::Unavailable(error)) => {
                    tracing::debug!(error = %error, "could not write a job's end yet");
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::error!(error = %format!("{error:#}"), "could not write a job's end");
                    return self.abandon([job.key()]);
                }
            }
        }
    }

    /// Writes it, and tells what became of the job; nothing when it waits as if it had not run, or is not ours.
    async fn try_write_end(
        &self,
        claimed: &Claimed,
        verdict: &Verdict,
        tries: Tries,
    ) -> Result<Option<Fate>, Error> {
        let mut tx = self.context.begin_for(claimed).await?;
        let Some(job) = LiveJob::lock_run(&tx, JobId(claimed.id), claimed.epoch).await? else {
            self.context.metrics.fenced.inc();
            tracing::info!("the job has gone to another worker; this run changed nothing");
            return Ok(None);
        };
        let fate = match verdict {
            Verdict::Failed(failed) => {
                let random = self.context.random();
                Some(failed.write(&mut tx, &job, tries, random).await?)
            }
            // A cancel that came late and was meant for an earlier run gives the job back, too.
            Verdict::Released | Verdict::Cancelled if !job.cancel_requested => {
                tracing::info!("giving the job back to its queue");
                job.release(&mut tx).await?;
                None
            }
            _ => {
                shared::queue::end(&mut tx, &job, &End::Cancelled, None).await?;
                Some(Fate::Ended(metrics::Outcome::Cancelled))
            }
        };
        tx.commit().await?;
        Ok(fate)
    }
}

/// Whether a run failed because Postgres was away, which is no fault of its job.
fn is_away(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| matches!(cause.downcast_ref(), Some(Error::Unavailable(_))))
}
