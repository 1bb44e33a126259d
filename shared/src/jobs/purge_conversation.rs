//! Removing what is left of a deleted conversation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::ConversationId,
    queue::{Job, Priority, Queue},
};

/// Removes a deleted conversation with its messages and attachments.
///
/// Safe to repeat: it removes what is still there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeConversation {
    /// What was deleted.
    pub conversation: ConversationId,
}

impl Job for PurgeConversation {
    const NAME: &'static str = "purge_conversation";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: Priority = Priority::LOW;
    /// What is left has to go: patience over hours.
    const MAX_ATTEMPTS: u32 = 10;
    /// A conversation of 100,000 messages takes seconds.
    const TIMEOUT: Duration = Duration::from_mins(10);
}
