//! Answers in one piece. They may be large, with all that is told of how likely their words were: so nothing of them is copied
//! before it is written, and that is done where nobody waits for it.

use serde::Serialize;
use serde_json::Value;
use shared::clients::chat::{Logprobs, Piece, ToolCall};

use super::{Body, merge};
use crate::{error, openai::fault::Result};

/// What is written where others wait; more takes milliseconds.
const AT_ONCE_BYTES: usize = 256 << 10;
/// What an answer takes besides what was said.
const FRAME_BYTES: usize = 1 << 10;

/// What was said, for an answer in one piece.
#[derive(Debug, Default)]
pub(in crate::openai) struct Said {
    text: String,
    refusal: Option<String>,
    thoughts: String,
    logprobs: Option<Logprobs>,
    pub(in crate::openai) calls: Vec<ToolCall>,
}

impl Said {
    /// Words, and nothing else.
    pub(in crate::openai) fn of_text(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// Adds a piece.
    pub(in crate::openai) fn add(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.text.push_str(&text),
            Piece::Refusal(text) => self.refusal.get_or_insert_default().push_str(&text),
            Piece::Thought(text) => self.thoughts.push_str(&text),
            Piece::Logprobs(logprobs) => merge(&mut self.logprobs, logprobs),
            // They come whole with the end.
            Piece::Call(_) | Piece::End(_) => {}
        }
    }

    /// About how many bytes it is.
    fn bytes(&self) -> usize {
        let calls = self.calls.iter();
        let calls: usize = calls.map(|call| FRAME_BYTES + call.arguments.len()).sum();
        let logprobs = self.logprobs.as_ref().map_or(0, Logprobs::bytes);
        let refusal = self.refusal.as_ref().map_or(0, String::len);
        self.text.len() + self.thoughts.len() + refusal + calls + logprobs
    }
}

/// A whole answer, which is not written yet.
#[derive(Debug)]
pub(in crate::openai) struct Whole {
    pub(super) body: Body<[Choice; 1]>,
    /// About how many it has.
    bytes: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Choice {
    index: u8,
    message: Message,
    logprobs: Option<Logprobs>,
    finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
struct Message {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    r#type: &'static str,
    function: Function,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    arguments: String,
}

impl Whole {
    /// Makes one of what was said; `body` puts its choice into a frame.
    pub(super) fn new(
        said: Said,
        finish: &'static str,
        body: impl FnOnce([Choice; 1]) -> Body<[Choice; 1]>,
    ) -> Self {
        let bytes = FRAME_BYTES + said.bytes();
        let Said {
            text,
            refusal,
            thoughts,
            logprobs,
            calls,
        } = said;
        let is_empty = text.is_empty() && (!calls.is_empty() || refusal.is_some());
        let message = Message {
            role: "assistant",
            content: (!is_empty).then_some(text),
            refusal,
            reasoning_content: thoughts,
            tool_calls: calls.into_iter().map(Call::from).collect(),
        };
        let choice = Choice {
            index: 0,
            message,
            logprobs,
            finish_reason: finish,
        };
        Self {
            body: body([choice]),
            bytes,
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// As the server is being stopped.
    pub(in crate::openai) async fn write(self) -> Result<Vec<u8>> {
        let Self { body, bytes } = self;
        let write = move || -> anyhow::Result<Vec<u8>> {
            let mut written = Vec::with_capacity(bytes);
            serde_json::to_writer(&mut written, &body)?;
            Ok(written)
        };
        let written = if bytes <= AT_ONCE_BYTES {
            write()
        } else {
            let writing = tokio::task::spawn_blocking(write).await;
            writing.unwrap_or_else(|error| Err(error.into()))
        };
        Ok(written.map_err(error::Error::from)?)
    }
}

impl From<ToolCall> for Call {
    fn from(call: ToolCall) -> Self {
        Self {
            id: call.id,
            r#type: "function",
            function: Function {
                name: call.name,
                arguments: call.arguments,
            },
            extra_content: call.extra,
        }
    }
}
