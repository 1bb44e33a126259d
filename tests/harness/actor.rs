//! Somebody who uses the API over HTTP.

use reqwest::{Method, StatusCode, header::HeaderMap, multipart};
use serde_json::{Value, json};

/// A client, logged in or not.
#[derive(Clone)]
pub struct Actor {
    pub http: reqwest::Client,
    pub base: String,
    pub token: Option<String>,
    pub email: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.expect("a readable answer"),
        }
    }

    /// The body as JSON, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&self.text).expect("a JSON body")
        }
    }

    /// The problem's body, after looking at what every problem has.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        let request_id = self.headers["x-request-id"]
            .to_str()
            .expect("a request id")
            .to_owned();
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["type"], "about:blank", "{body}");
        assert_eq!(body["error"], body["title"], "{body}");
        assert_eq!(body["requestId"], request_id, "{body}");
        assert_eq!(
            body.get("retryAfter").is_some(),
            matches!(status, 429 | 503),
            "{body}"
        );
        body
    }

    /// The pointers of a 422's bad fields, sorted.
    #[track_caller]
    pub fn expect_bad_fields(self) -> Vec<String> {
        let body = self.expect_problem(422, "invalid_request");
        let errors = body["errors"].as_array().expect("a list of bad fields");
        let mut pointers: Vec<String> = errors
            .iter()
            .map(|field| field["pointer"].as_str().expect("a pointer").to_owned())
            .collect();
        pointers.sort();
        pointers
    }
}

impl Actor {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Reply::of(request.send().await.expect("the API answers")).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str) -> Reply {
        self.send(self.request(Method::POST, path)).await
    }

    pub async fn post_json(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    /// Uploads a file under a name.
    pub async fn upload(
        &self,
        file_name: &str,
        bytes: impl Into<Vec<u8>>,
        fields: &[(&str, &str)],
    ) -> Reply {
        let file = multipart::Part::bytes(bytes.into()).file_name(file_name.to_owned());
        let mut form = multipart::Form::new();
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        self.send(
            self.request(Method::POST, "/api/v1/attachments")
                .multipart(form.part("file", file)),
        )
        .await
    }

    /// Makes an endpoint for the OCR events; its secret is in the answer.
    pub async fn webhook(&self, url: &str) -> Value {
        // Few tries: a clock that goes on for three days ends sessions, too.
        let events = ["image.ocr_completed", "image.ocr_failed"];
        let body = json!({ "url": url, "events": events, "schedule": "short" });
        self.post_json("/api/v1/webhooks", body).await.expect(201)
    }
}

impl Actor {
    pub async fn patch_json(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::PATCH, path).json(&body))
            .await
    }

    /// Begins a conversation, and tells its id.
    pub async fn conversation(&self, title: &str) -> String {
        let body = json!({ "title": title });
        let made = self
            .post_json("/api/v1/conversations", body)
            .await
            .expect(201);
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Says something in a conversation.
    pub async fn say(&self, conversation: &str, text: &str) -> Value {
        let path = format!("/api/v1/conversations/{conversation}/messages");
        self.post_json(&path, json!({ "content": text }))
            .await
            .expect(201)
    }
}

/// The values of a field, in a list's order.
pub fn each(list: &Value, field: &str) -> Vec<String> {
    let rows = list["data"].as_array().expect("a list");
    rows.iter()
        .map(|row| row[field].as_str().unwrap_or("null").to_owned())
        .collect()
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Bytes of the answer up to it: what is before the point of its id.
    pub id: u64,
    /// What is after the point, of events of tools.
    pub note: u64,
    pub name: String,
    pub data: Value,
}

/// A stream of server-sent events, as it comes.
pub struct EventStream {
    response: reqwest::Response,
    read: String,
}

impl From<reqwest::Response> for EventStream {
    fn from(response: reqwest::Response) -> Self {
        Self {
            response,
            read: String::new(),
        }
    }
}

impl EventStream {
    /// Reads the answer to a request, which must be a stream.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("the API answers");
        let status = response.status();
        let kind = response.headers().get("content-type").cloned();
        let is_stream = kind.is_some_and(|kind| kind == "text/event-stream");
        if !is_stream {
            let text = response.text().await.unwrap_or_default();
            panic!("{status} is no stream: {text}");
        }
        response.into()
    }

    /// Waits for the next event; none after the end.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(length) = self.read.find("\n\n") {
                let event: String = self.read.drain(..length + 2).collect();
                let event = parse_event(&event);
                if event.is_some() {
                    return event;
                }
            }
            let piece = tokio::time::timeout(crate::process::PATIENCE, self.response.chunk());
            let piece = piece.await.expect("an event in time").ok()??;
            self.read
                .push_str(std::str::from_utf8(&piece).expect("whole characters"));
        }
    }

    /// All that is left.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn parse_event(text: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let id = field("id")?;
    let (id, note) = id.split_once('.').unwrap_or((id, "0"));
    Some(Event {
        id: id.parse().expect("a number"),
        note: note.parse().expect("a number"),
        name: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).expect("JSON"),
    })
}

impl Event {
    /// Its id as it was told.
    pub fn full_id(&self) -> String {
        match self.note {
            0 => self.id.to_string(),
            note => format!("{}.{note}", self.id),
        }
    }
}

/// The words of all deltas.
pub fn words(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.name == "message.delta")
        .map(|event| event.data["delta"].as_str().expect("a text"))
        .collect()
}

impl Actor {
    /// Says something to a model, and reads the whole answer.
    pub async fn chat(&self, body: Value) -> Reply {
        self.post_json("/api/v1/chat/completions", body).await
    }

    /// The same as a stream.
    pub async fn stream(&self, mut body: Value) -> EventStream {
        body["stream"] = true.into();
        let request = self.request(Method::POST, "/api/v1/chat/completions");
        EventStream::of(request.json(&body)).await
    }

    /// Reads a stream on.
    pub async fn resume(&self, message: &str, after: Option<u64>) -> EventStream {
        let after = after.map(|after| after.to_string());
        self.resume_after(message, after.as_deref()).await
    }

    /// Reads a stream on after the event of an id, as it was told.
    pub async fn resume_after(&self, message: &str, after: Option<&str>) -> EventStream {
        let path = format!("/api/v1/chat/streams/{message}");
        let mut request = self.request(Method::GET, &path);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        EventStream::of(request).await
    }
}
