//! How long a payload may be.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::models::event;

/// Longest body of a delivery, in bytes.
pub const PAYLOAD_MAX_BYTES: usize = 64 * 1024;

/// What is left for an id that is known only when the row is written.
const ROOM: usize = 64;

/// The `data` of an event; where its payload would be longer than [`PAYLOAD_MAX_BYTES`], only what they refer to.
pub(super) fn bounded(kind: &str, at: DateTime<Utc>, data: Value) -> Value {
    let around = event::payload(kind, at, &"".into()).to_string().len() - "\"\"".len();
    if around + data.to_string().len() + ROOM <= PAYLOAD_MAX_BYTES {
        data
    } else {
        reference(data)
    }
}

/// The ids in `data`: by them, all of it can be got.
fn reference(data: Value) -> Value {
    let fields = match data {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let is_id =
        |name: &str, value: &Value| name.ends_with("Id") && (value.is_string() || value.is_null());
    let mut ids: Map<String, Value> = fields
        .into_iter()
        .filter(|(name, value)| is_id(name, value))
        .collect();
    ids.insert("truncated".to_owned(), true.into());
    Value::Object(ids)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::{self, Event, examples};

    #[test]
    fn data_that_are_too_long_become_their_ids() {
        let mut message = examples::answer();
        // A character that takes six bytes, for as many as are told.
        message.text = "\u{1}".repeat(16_000);
        let event = Event::MessageCompleted(message.clone());
        let kept = bounded(event.name(), examples::at(), event.told().data());
        let ids = json!({
            "messageId": message.message_id,
            "conversationId": message.conversation_id,
            "parentId": message.parent_id,
            "truncated": true,
        });
        assert_eq!(kept, ids);
        let payload = event::payload(event.name(), examples::at(), &kept);
        let schema = event.kind().schema();
        assert!(jsonschema::is_valid(&schema, &payload), "{payload}");
        let none = json!({ "truncated": true });
        let payload = event::payload(event.name(), examples::at(), &none);
        assert!(jsonschema::is_valid(&schema, &payload));
        let withdrawn = json!({ "withdrawn": true, "messageId": message.message_id });
        let payload = event::payload(event.name(), examples::at(), &withdrawn);
        assert!(jsonschema::is_valid(&schema, &payload));
        let half = json!({ "truncated": true, "tokenCount": 9 });
        let payload = event::payload(event.name(), examples::at(), &half);
        assert!(!jsonschema::is_valid(&schema, &payload));
    }

    #[test]
    fn a_payload_has_this_many_bytes_at_most() {
        let name = events::NAMES[0];
        let of = |bytes: usize| {
            let data = json!({ "text": "x".repeat(bytes) });
            let kept = bounded(name, examples::at(), data);
            event::payload(name, examples::at(), &kept).to_string()
        };
        let around = of(0).len();
        let most = PAYLOAD_MAX_BYTES - ROOM;
        assert_eq!(of(most - around).len(), most);
        let more = of(most - around + 1);
        assert!(more.contains("\"truncated\":true"), "{}", more.len());
    }
}
