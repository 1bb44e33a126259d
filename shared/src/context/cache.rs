//! Branches in Redis: what an answer was made of, with itself, so that the next question needs nothing from Postgres.
//!
//! An entry counts only for the stamp ([`crate::models::context_stamp`]) and the limits that it was made with, so one that Redis
//! kept through an outage is never taken for a later one. What is not there is read from Postgres.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Branch, Limits};
use crate::{
    ids::{ConversationId, MessageId},
    redis::Redis,
};

/// Longer ones stay in Postgres, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Grows where what is kept means something else than before.
const FORMAT: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Entry<B> {
    format: u32,
    stamp: i64,
    limits: Limits,
    branch: B,
}

/// Gets the branch of a conversation that ends with `leaf`, if Redis has it as it is by now.
pub async fn get(
    redis: &Redis,
    conversation: ConversationId,
    stamp: i64,
    limits: Limits,
    leaf: MessageId,
) -> Option<Branch> {
    let key = redis.keys().context(conversation);
    let entry = redis.get(&key).await.ok()??;
    read(&entry, stamp, limits)?.up_to(leaf)
}

fn read(entry: &[u8], stamp: i64, limits: Limits) -> Option<Branch> {
    let entry: Entry<Branch> = serde_json::from_slice(entry).ok()?;
    let is_true = entry.format == FORMAT && entry.stamp == stamp && entry.limits == limits;
    is_true.then_some(entry.branch)
}

/// Keeps a branch for `lifetime`, unless it is long. A failure costs the next question the time to read it from Postgres.
pub async fn put(
    redis: &Redis,
    conversation: ConversationId,
    stamp: i64,
    limits: Limits,
    branch: &Branch,
    lifetime: Duration,
) {
    let Some(entry) = write(stamp, limits, branch) else {
        return;
    };
    let key = redis.keys().context(conversation);
    if let Err(error) = redis.set(&key, entry, lifetime).await {
        tracing::debug!(error = %error, "a context was not kept in redis");
    }
}

/// Nothing where it is long: then it is not written at all, as that would hold up everybody else on this thread.
fn write(stamp: i64, limits: Limits, branch: &Branch) -> Option<Vec<u8>> {
    if branch.text_bytes() > MAX_BYTES {
        return None;
    }
    let entry = Entry {
        format: FORMAT,
        stamp,
        limits,
        branch,
    };
    let entry = serde_json::to_vec(&entry).expect("a branch is plain data");
    (entry.len() <= MAX_BYTES).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::{Earlier, Frames, Told},
        models::message::Role,
    };

    #[test]
    fn an_entry_counts_for_its_stamp_and_its_limits_only() {
        let limits = Limits {
            tokens: 8_000,
            messages: 50,
            recent: 20,
        };
        let branch = Branch {
            leaf: Some(MessageId::new()),
            total: 7,
            ..Branch::default()
        };
        let entry = write(3, limits, &branch).unwrap();
        assert_eq!(read(&entry, 3, limits), Some(branch));
        assert_eq!(read(&entry, 4, limits), None);
        let other = Limits {
            tokens: 8_001,
            ..limits
        };
        assert_eq!(read(&entry, 3, other), None);
        assert_eq!(read(b"{}", 3, limits), None);
        assert_eq!(read(b"", 3, limits), None);
    }
    #[test]
    fn a_branch_with_long_texts_is_not_written() {
        let limits = Limits {
            tokens: 8_000,
            messages: 50,
            recent: 20,
        };
        let long = "x".repeat(MAX_BYTES / 4);
        let one = Earlier {
            id: MessageId::new(),
            role: Role::User,
            text: long.clone(),
            tokens: 1,
            attachments: Vec::new(),
            frames: Some(Frames {
                texts: vec![long.clone(); 2],
                ..Frames::default()
            }),
            tools: Vec::new(),
        };
        let mut branch = Branch {
            earlier: vec![one],
            ..Branch::default()
        };
        assert!(write(3, limits, &branch).is_some());
        branch.summary = Some(Told {
            anchor: MessageId::new(),
            since: 0,
            text: long,
            tokens: 1,
        });
        assert_eq!(branch.text_bytes(), MAX_BYTES);
        // What is around the texts counts, too.
        assert_eq!(write(3, limits, &branch), None);
        branch.earlier[0].text.push('x');
        assert_eq!(write(3, limits, &branch), None);
    }
}
