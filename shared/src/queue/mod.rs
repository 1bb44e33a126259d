//! The job engine's shared half: what a job is, asking for one, and ending one.
//!
//! A job is a row of `jobs`, inserted by the transaction that wants it. Workers find it there; Redis only carries
//! its id. Running jobs is the worker's half.

mod backoff;
mod end;
mod enqueue;
pub mod figures;
pub mod groups;
mod pointless;
pub mod rests;
mod wanted;

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use self::wanted::insertion;
pub use self::{
    backoff::Backoff,
    end::{End, LiveJob, cancel, end, end_queued, retry},
    enqueue::{Enqueue, Enqueued, enqueue, renew},
    pointless::cancel_pointless,
    wanted::{Wanted, enqueue_wanted},
};
use crate::database::{Result, Tx};

/// A kind of work with its own concurrency, so that operators can run workers for one of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Reading text from pictures and documents.
    Ocr,
    /// Transcription.
    Audio,
    /// Image work for people to look at.
    Image,
    /// Exports of conversations.
    Export,
    /// Deliveries to clients' servers: first tries.
    Webhook,
    /// The same: later tries, and first ones where the last ones failed.
    #[serde(rename = "webhook_retry")]
    WebhookRetry,
    /// E-mail.
    Email,
    /// In-product notifications.
    Notification,
    /// Aggregation of usage.
    Analytics,
    /// Reports.
    Report,
    /// Cleaning up.
    Maintenance,
}

impl Queue {
    /// All queues.
    pub const ALL: [Self; 11] = [
        Self::Ocr,
        Self::Audio,
        Self::Image,
        Self::Export,
        Self::Webhook,
        Self::WebhookRetry,
        Self::Email,
        Self::Notification,
        Self::Analytics,
        Self::Report,
        Self::Maintenance,
    ];

    /// The name in the database, in Redis and in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ocr => "ocr",
            Self::Audio => "audio",
            Self::Image => "image",
            Self::Export => "export",
            Self::Webhook => "webhook",
            Self::WebhookRetry => "webhook_retry",
            Self::Email => "email",
            Self::Notification => "notification",
            Self::Analytics => "analytics",
            Self::Report => "report",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Queue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|queue| queue.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|queue| queue.name()).collect();
                format!("{text:?} is none of {}", names.join(", "))
            })
    }
}

/// Which job goes first, inside and across queues: 0 to 899, lower numbers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub i16);

impl Priority {
    /// Somebody looks at a progress bar.
    pub const HIGH: Self = Self(10);
    /// The default.
    pub const MEDIUM: Self = Self(50);
    /// Nobody waits.
    pub const LOW: Self = Self(90);
}

/// A kind of job: what is asked for. How it is done is `Run` in the worker.
pub trait Job: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// Permanent name, in the database.
    const NAME: &'static str;
    /// Former names whose rows may still wait.
    const ALIASES: &[&str] = &[];
    /// Where it waits.
    const QUEUE: Queue;
    /// Where it waits for its second try and those that follow, if that is elsewhere: so that what fails slowly takes no
    /// slots from what is new.
    const LATE_QUEUE: Option<Queue> = None;
    /// Which goes first.
    const PRIORITY: Priority = Priority::MEDIUM;
    /// Tries in all, the first run included.
    const MAX_ATTEMPTS: u32 = 3;
    /// Longest time of one run.
    const TIMEOUT: Duration;
    /// Wait between tries.
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_hours(1));

    /// However the job ends without finishing its work (failed, cancelled, quarantined), its rows say so.
    ///
    /// # Errors
    /// As the database fails; the job then ends later, by a sweep.
    fn ended(&self, tx: &mut Tx, end: &End) -> impl Future<Output = Result<()>> + Send {
        let _ = (tx, end);
        async { Ok(()) }
    }

    /// An ended job was put back by hand: its rows wait again.
    ///
    /// # Errors
    /// As the database fails; then the job stays ended.
    fn reopened(&self, tx: &mut Tx) -> impl Future<Output = Result<()>> + Send {
        let _ = tx;
        async { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_found_by_its_name() {
        for queue in Queue::ALL {
            assert_eq!(queue.name().parse::<Queue>().unwrap(), queue);
        }
        assert!("oct".parse::<Queue>().unwrap_err().contains("ocr, audio"));
    }
}
