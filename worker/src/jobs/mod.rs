//! The work of each job; what it is asked with is in `shared::jobs`, in a file of the same name.

mod announce_conversations;
mod delete_object;
mod deliver_webhook;
mod export_conversation;
mod hasten_deliveries;
mod make_variant;
mod process_image;
mod purge_conversation;
mod purge_user;
mod purge_webhook;
mod read_document;
mod reading;
mod recognize_text;
mod recover_webhook;
mod summarize_conversation;
mod title_conversation;
mod transcribe_audio;
mod variants;

pub use self::deliver_webhook::Deliveries;

use std::time::Duration;

use serde_json::Value;
use shared::queue::Job;

use crate::context::JobContext;

/// Why nothing is asked that would cost something.
const LIMIT_REACHED: &str = "the user has used all that they may this month";

/// A run that removes a lot goes behind the other jobs of its queue after so long.
const TURN: Duration = Duration::from_mins(1);

/// A job that can be run.
pub trait Run: Job {
    /// Does the work once. It may be dropped at any await, and begin again elsewhere.
    ///
    /// # Errors
    /// [`Failure`] tells users and the engine what to make of it; any other error is internal and tried again.
    fn run(self, ctx: &JobContext) -> impl Future<Output = anyhow::Result<Outcome>> + Send;
}

/// How a run went that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// The job is done, with this result; the engine writes it.
    Done(Option<Value>),
    /// There is nothing to do any more.
    Discard(&'static str),
    /// The run ended its job in a transaction of its own.
    Written,
}

/// An error that users may read.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Trying again cannot help.
    #[error("{0}")]
    Permanent(String),
    /// Trying again may help.
    #[error("{reason}")]
    Temporary {
        /// For the user.
        reason: String,
        /// What the other side asked for.
        retry_after: Option<Duration>,
    },
}
