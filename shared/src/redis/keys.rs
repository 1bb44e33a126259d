//! Names of keys and channels.

use std::sync::Arc;

use crate::ids::{AttachmentId, ConversationId, MessageId};

/// Names of keys and channels; nothing else builds them.
#[derive(Debug, Clone)]
pub struct Keys(Arc<str>);

impl Keys {
    /// Makes the names of one deployment.
    pub fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    /// ZSET of dispatched job ids of one queue.
    pub fn queue(&self, queue: crate::queue::Queue) -> String {
        format!("{}jobs:q:{queue}", self.0)
    }

    /// Channel: these queues have new rows in Postgres (names, comma-separated).
    pub fn enqueued(&self) -> String {
        format!("{}jobs:enqueued", self.0)
    }

    /// Channel: these queues have new ids in Redis (names, comma-separated).
    pub fn dispatched(&self) -> String {
        format!("{}jobs:dispatched", self.0)
    }

    /// Channel: these jobs shall be cancelled (ids, comma-separated).
    pub fn cancel(&self) -> String {
        format!("{}jobs:cancel", self.0)
    }

    /// Channel: these jobs have changed (ids, comma-separated).
    pub fn changed(&self) -> String {
        format!("{}jobs:changed", self.0)
    }

    /// Hash: what is counted of a provider's keys, and what is left alone.
    pub fn provider(&self, name: &str) -> String {
        format!("{}providers:{name}", self.0)
    }

    /// When a provider was probed last, and how it was.
    pub fn provider_health(&self, name: &str) -> String {
        format!("{}providers:health:{name}", self.0)
    }

    /// Channel: keys were retired, revived or set.
    pub fn providers_changed(&self) -> String {
        format!("{}providers:changed", self.0)
    }

    /// Stream: an answer that is being made, numbered by the bytes said so far and what tools did there; each making has its
    /// own.
    pub fn answer(&self, message: MessageId, making: uuid::Uuid) -> String {
        format!("{}stream:{message}:{making}", self.0)
    }

    /// Channel: these answers shall be stopped (ids, comma-separated).
    pub fn stop_answer(&self) -> String {
        format!("{}stream:stop", self.0)
    }

    /// What goes along with the next question of a conversation.
    pub fn context(&self, conversation: ConversationId) -> String {
        format!("{}context:{conversation}", self.0)
    }

    /// Text that was read in an attachment.
    pub fn attachment_text(&self, attachment: AttachmentId) -> String {
        format!("{}cache:attachment-text:{attachment}", self.0)
    }

    /// What a tool said; `hash` is of its arguments.
    pub fn tool_result(&self, tool: &str, hash: &[u8]) -> String {
        format!("{}cache:tool:{tool}:{}", self.0, hex::encode(hash))
    }

    /// Who asks a tool for a result that others wait for.
    pub fn tool_flight(&self, result: &str) -> String {
        format!("{result}:asking")
    }

    /// Hash: which tools are left alone.
    pub fn tool_breakers(&self) -> String {
        format!("{}tools:breakers", self.0)
    }

    /// Whose turn it is to ask a service that takes one question at a time.
    pub fn tool_turn(&self, service: &str) -> String {
        format!("{}tools:turn:{service}", self.0)
    }

    /// Who the owner of an access token or API key is; `hash` is its SHA-256.
    pub fn session(&self, hash: &[u8]) -> String {
        format!("{}cache:session:{}", self.0, hex::encode(hash))
    }

    /// Sorted set: what was spent of one budget of a rate limit.
    pub fn limit(&self, policy: &str, subject: &str) -> String {
        format!("{}rl:{policy}:{subject}", self.0)
    }
}
