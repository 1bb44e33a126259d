//! Naming a conversation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ConversationId, MessageId},
    queue::{Backoff, Job, Priority, Queue},
};

/// Has a model name a conversation after its first answer.
///
/// Safe to repeat: only a conversation that has no title, and whose user has said nothing of one, gets it. It is nobody's job:
/// users have not asked for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TitleConversation {
    /// What is named.
    pub conversation: ConversationId,
    /// The answer by which it is named, with its question.
    pub answer: MessageId,
}

impl TitleConversation {
    /// At most one live job has it.
    pub fn unique_key(&self) -> String {
        format!("title-conversation:{}", self.conversation)
    }
}

impl Job for TitleConversation {
    const NAME: &'static str = "title_conversation";
    const QUEUE: Queue = Queue::Analytics;
    /// Somebody looks at the list of conversations, where it has no name yet.
    const PRIORITY: Priority = Priority::HIGH;
    /// A call, of two minutes where a model thinks first, and one of another provider if that fails.
    const TIMEOUT: Duration = Duration::from_mins(5);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(5), Duration::from_hours(1));
}
