//! Telling in short what was said in a conversation before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::{ConversationId, MessageId},
    queue::{Backoff, End, Job, Priority, Queue, rests},
};

/// For how long none is asked for in a conversation where one came to nothing: it may have been paid for.
const REST: Duration = Duration::from_hours(1);

/// Has a model summarise a branch up to a message, on top of the newest summary of the same way.
///
/// Safe to repeat: a summary is kept once for its anchor, and what is summarised already is not asked for again. Where what was
/// said changes meanwhile nothing is kept, and the next answer asks again; where it fails, the first answer after an hour. It is
/// nobody's job: users have not asked for it.
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
    /// Some calls of two minutes each, where models think first.
    const TIMEOUT: Duration = Duration::from_mins(20);
    /// Providers that are busy want to be left alone for a while.
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(10), Duration::from_hours(1));

    async fn ended(&self, tx: &mut Tx, _: &End) -> Result<()> {
        rests::begin(tx, self.unique_key(), REST).await
    }
}
