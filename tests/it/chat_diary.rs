//! What somebody was answered, step by step, to be compared with what another one was.

use chrono::DateTime;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, EventStream, Reply, words};

use crate::chat::id;

pub(crate) const CHAT: &str = "/api/v1/chat/completions";

/// A step, and what was seen then.
pub(crate) type Page = (String, Value);

/// What somebody was answered, and how the conversation was then, without what differs between two who do the same.
pub(crate) struct Diary<'a> {
    user: &'a Actor,
    /// In the order in which they were seen.
    ids: Vec<String>,
    pub(crate) pages: Vec<Page>,
}

impl<'a> Diary<'a> {
    pub(crate) fn of(user: &'a Actor) -> Self {
        Self {
            user,
            ids: Vec::new(),
            pages: Vec::new(),
        }
    }

    /// Notes what was seen, and a conversation as it is now.
    pub(crate) async fn note(&mut self, what: &str, seen: Value, conversation: Option<&str>) {
        let mut page = json!({ "seen": seen });
        if let Some(conversation) = conversation {
            let path = format!("/api/v1/conversations/{conversation}");
            for (name, path) in [
                ("conversation", path.clone()),
                ("messages", format!("{path}/messages?limit=100")),
                (
                    "branch",
                    format!("{path}/messages?limit=100&branch=current"),
                ),
            ] {
                page[name] = whole(&self.user.get(&path).await);
            }
        }
        let page = self.plain(page);
        self.pages.push((what.to_owned(), page));
    }

    /// Notes an answer, and gives its body.
    pub(crate) async fn reply(&mut self, what: &str, reply: Reply) -> Value {
        let seen = whole(&reply);
        let body = seen["body"].clone();
        let conversation = body["conversationId"].as_str();
        self.note(what, seen, conversation).await;
        body
    }

    pub(crate) async fn post(&mut self, what: &str, path: &str, body: Value) -> Value {
        let reply = self.user.post_json(path, body).await;
        self.reply(what, reply).await
    }

    /// The same as a stream, of which only the words in all and the ends are noted.
    pub(crate) async fn stream(&mut self, what: &str, path: &str, mut body: Value) {
        body["stream"] = true.into();
        let request = self.user.request(Method::POST, path).json(&body);
        let events = EventStream::of(request).await.rest().await;
        let (first, last) = (&events[0], events.last().expect("events"));
        let seen = json!({
            "first": [first.name, first.id, first.data],
            "words": words(&events),
            "last": [last.name, last.id, last.data],
        });
        let conversation = id(&first.data["conversationId"]);
        self.note(what, seen, Some(conversation)).await;
    }

    pub(crate) async fn keyed(&mut self, what: &str, key: &str, body: Value) -> Value {
        let request = self.user.request(Method::POST, CHAT).json(&body);
        let request = request.header("idempotency-key", key);
        let reply = self.user.send(request).await;
        self.reply(what, reply).await
    }

    fn plain(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => self.plain_text(text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.plain(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let is_time = name.ends_with("Ms") || name.ends_with("_ms");
                    let value = match value {
                        Value::Number(_) if is_time => "some time".into(),
                        _ if name == "requestId" => "some id".into(),
                        value => self.plain(value),
                    };
                    (name, value)
                });
                fields.collect()
            }
            other => other,
        }
    }

    fn plain_text(&mut self, text: String) -> String {
        if DateTime::parse_from_rfc3339(&text).is_ok() {
            return "some time".to_owned();
        }
        if uuid::Uuid::parse_str(&text).is_err() {
            return text;
        }
        let known = self.ids.iter().position(|id| *id == text);
        let number = known.unwrap_or_else(|| {
            self.ids.push(text);
            self.ids.len() - 1
        });
        format!("id {number}")
    }
}

fn whole(reply: &Reply) -> Value {
    let body: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    json!({ "status": reply.status.as_u16(), "body": body })
}

/// Where two differ first, and how.
pub(crate) fn difference(at: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) if one.keys().eq(other.keys()) => {
            one.iter().find_map(|(name, value)| {
                let at = format!("{at}/{name}");
                difference(&at, value, &other[name])
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut both = one.iter().zip(other).enumerate();
            both.find_map(|(index, (one, other))| {
                let at = format!("{at}/{index}");
                difference(&at, one, other)
            })
        }
        _ => (one != other).then(|| format!("{at}: {one} and {other}")),
    }
}
