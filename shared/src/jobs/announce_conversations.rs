//! Telling of conversations that were changed with many others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::ConversationId,
    queue::{Job, Priority, Queue},
};

/// Tells those who hear of `conversation.updated` of some conversations whose project was deleted.
///
/// Safe to repeat: its end commits with what it tells. It is nobody's job, so that its user cannot cancel it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnnounceConversations {
    /// Which ones.
    pub conversations: Vec<ConversationId>,
}

impl Job for AnnounceConversations {
    const NAME: &'static str = "announce_conversations";
    const QUEUE: Queue = Queue::Webhook;
    const PRIORITY: Priority = Priority::LOW;
    const MAX_ATTEMPTS: u32 = 10;
    const TIMEOUT: Duration = Duration::from_mins(1);
}
