//! Telling in short what was said in a conversation before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ConversationId, MessageId},
    queue::{Backoff, Job, Priority, Queue},
};

/// Has a model summarise a branch up to a message, on top of the newest summary of the same way.
///
/// Safe to repeat: a summary is kept once for its anchor, and what is summarised already is not asked for again. Where the
/// conversation changes meanwhile nothing is kept, and the next answer asks again. It is nobody's job: users have not asked
/// for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SummarizeConversation {
    /// Where it was said.
    pub conversation: ConversationId,
    /// The newest message that is summarised.
    pub anchor: MessageId,
    /// Most tokens of the summary.
    #[serde(default = "most_tokens")]
    pub most_tokens: u32,
}

/// A summary that leaves most of the usual 8,000 tokens to what was said last.
fn most_tokens() -> u32 {
    1_000
}

impl SummarizeConversation {
    /// At most one live job has it: summaries of a conversation are made one after the other.
    pub fn unique_key(&self) -> String {
        format!("summarize-conversation:{}", self.conversation)
    }
}

impl Job for SummarizeConversation {
    const NAME: &'static str = "summarize_conversation";
    const QUEUE: Queue = Queue::Analytics;
    const PRIORITY: Priority = Priority::MEDIUM;
    /// Some calls of a minute each.
    const TIMEOUT: Duration = Duration::from_mins(10);
    /// Providers that are busy want to be left alone for a while.
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(10), Duration::from_hours(1));
}
