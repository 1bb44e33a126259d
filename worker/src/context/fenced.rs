//! The transaction in which a run stores its effect.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use shared::{
    database::Tx,
    queue::{End, LiveJob},
    telemetry::report_failed,
};

use crate::{
    jobs::{Failure, Outcome},
    metrics::{self, Counts, Fate},
    runner::{FailedRun, Tries},
};

/// A transaction that owns its job: effect, events, follow-up jobs and the job's end commit together.
pub struct FencedTx {
    pub(super) tx: Tx,
    pub(super) job: LiveJob,
    pub(super) tries: Tries,
    pub(super) counts: Arc<Counts>,
    pub(super) random: f64,
}

impl Deref for FencedTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for FencedTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

impl FencedTx {
    /// Whether the job was asked for again while it ran, and so runs once more.
    pub fn runs_again(&self) -> bool {
        self.job.rerun
    }

    /// Whether the user has asked to stop the job.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.job.cancel_requested
    }

    /// Stores what was done so far; the job goes on, and its next transaction is fenced anew.
    ///
    /// # Errors
    /// As the database fails; then nothing of it is stored.
    pub async fn keep(self) -> anyhow::Result<()> {
        self.tx.commit().await?;
        Ok(())
    }

    /// Ends the job with success.
    ///
    /// # Errors
    /// As the database fails; then nothing is stored and the run is tried again.
    pub async fn done(mut self, result: Option<Value>) -> anyhow::Result<Outcome> {
        self.job.succeed(&mut self.tx, result).await?;
        self.tx.commit().await?;
        self.counts.ended(Fate::Ended(metrics::Outcome::Succeeded));
        Ok(Outcome::Written)
    }

    /// Stores what the run learned, and puts the job back for another try, or ends it.
    ///
    /// # Errors
    /// As the database fails; then nothing is stored and the run is tried again.
    pub async fn fail(self, failure: &Failure) -> anyhow::Result<Outcome> {
        self.write_failed(&FailedRun::from(failure)).await
    }

    /// The same, and the next try waits so long.
    ///
    /// # Errors
    /// As the database fails; then nothing is stored and the run is tried again.
    pub async fn fail_for(self, failure: &Failure, wait: Duration) -> anyhow::Result<Outcome> {
        let failed = FailedRun::from(failure).after(wait);
        self.write_failed(&failed).await
    }

    /// Puts the job back for so long, as if it had not run.
    ///
    /// # Errors
    /// As the database fails; then nothing is stored and the run is tried again.
    pub async fn postpone(mut self, wait: Duration) -> anyhow::Result<Outcome> {
        self.job.postpone(&mut self.tx, wait).await?;
        self.tx.commit().await?;
        Ok(Outcome::Written)
    }

    /// Ends the job as its user has asked. One of which nobody has asked that is put back, as if it had not run.
    ///
    /// # Errors
    /// As the database fails; then nothing is stored.
    pub(crate) async fn cancel(mut self) -> anyhow::Result<Outcome> {
        if !self.is_cancelled() {
            self.job.release(&mut self.tx).await?;
            self.tx.commit().await?;
            return Ok(Outcome::Written);
        }
        shared::queue::end(&mut self.tx, &self.job, &End::Cancelled, None).await?;
        self.tx.commit().await?;
        self.counts.ended(Fate::Ended(metrics::Outcome::Cancelled));
        Ok(Outcome::Written)
    }

    async fn write_failed(mut self, failed: &FailedRun) -> anyhow::Result<Outcome> {
        let fate = failed
            .write(&mut self.tx, &self.job, self.tries, self.random)
            .await?;
        self.tx.commit().await?;
        self.counts.ended(fate);
        report_failed();
        Ok(Outcome::Written)
    }
}
