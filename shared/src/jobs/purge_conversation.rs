//! Removing what is left of a deleted conversation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::ConversationId,
    queue::{Backoff, Job, Priority, Queue},
};

/// Removes a deleted conversation with its messages, attachments and exports, and what events tell of them.
///
/// Safe to repeat: it removes what is still there. It is nobody's job, so that its user cannot cancel it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeConversation {
    /// What was deleted.
    pub conversation: ConversationId,
}

impl Job for PurgeConversation {
    const NAME: &'static str = "purge_conversation";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: Priority = Priority::LOW;
    /// For ever: what was deleted has to go.
    const MAX_ATTEMPTS: u32 = i32::MAX.cast_unsigned();
    /// A conversation of 100,000 messages takes seconds.
    const TIMEOUT: Duration = Duration::from_mins(10);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_hours(1));
}
