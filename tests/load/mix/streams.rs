//! Answers of models, read to their end while they are made.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use reqwest::Response;
use serde_json::Value;
use sse_stream::SseStream;

/// In whose words a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surface {
    Own,
    OpenAi,
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "/api/v1",
            Self::OpenAi => "/v1",
        })
    }
}

/// An answer that came whole.
#[derive(Debug)]
pub(super) struct Streamed {
    /// Until its first word.
    pub(super) first: Duration,
    /// Where it is kept, if that was told.
    pub(super) conversation: Option<String>,
}

impl Surface {
    /// Reads an answer to its end.
    ///
    /// # Errors
    /// As it says nothing, breaks off, or does not end as it should.
    pub(super) async fn read(self, answer: Response, began: Instant) -> anyhow::Result<Streamed> {
        match self {
            Self::Own => own(answer, began).await,
            Self::OpenAi => openai(answer, began).await,
        }
    }
}

/// The last event must be `message.completed`, with just the text that was said piece by piece.
async fn own(answer: Response, began: Instant) -> anyhow::Result<Streamed> {
    let mut events = Box::pin(SseStream::from_bytes_stream(answer.bytes_stream()));
    let (mut said, mut first) = (String::new(), None);
    let (mut conversation, mut whole) = (None, None);
    while let Some(event) = events.next().await {
        let event = event?;
        let name = event.event.unwrap_or_default();
        ensure!(whole.is_none(), "{name:?} came after the end");
        let data: Value = serde_json::from_str(&event.data.unwrap_or_default())
            .with_context(|| format!("{name:?} has no JSON"))?;
        match name.as_str() {
            "message.started" => {
                conversation = data["conversationId"].as_str().map(str::to_owned);
            }
            "message.delta" => {
                first.get_or_insert_with(|| began.elapsed());
                said.push_str(data["delta"].as_str().context("a delta without a text")?);
            }
            "message.completed" => whole = Some(text_of(&data["message"]["content"])),
            "error" => bail!("it ended with {}", data["code"]),
            _ => bail!("there is no event {name:?}"),
        }
    }
    let whole = whole.context("it broke off")?;
    ensure!(
        whole == said,
        "of {} bytes {} were said",
        whole.len(),
        said.len()
    );
    Ok(Streamed {
        first: first.context("nothing was said")?,
        conversation,
    })
}

fn text_of(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

/// There must be a reason for the end, then what it took, as that was asked for, and last `[DONE]`.
async fn openai(answer: Response, began: Instant) -> anyhow::Result<Streamed> {
    let mut events = Box::pin(SseStream::from_bytes_stream(answer.bytes_stream()));
    let (mut first, mut finish) = (None, None);
    let (mut has_usage, mut is_done) = (false, false);
    while let Some(event) = events.next().await {
        let data = event?.data.unwrap_or_default();
        ensure!(!is_done, "more came after the end");
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).context("a chunk is no JSON")?;
        if let Some(error) = chunk.get("error") {
            bail!("it ended with {error}");
        }
        let choice = &chunk["choices"][0];
        let said = choice["delta"]["content"].as_str().unwrap_or_default();
        if !said.is_empty() {
            first.get_or_insert_with(|| began.elapsed());
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            finish = Some(reason.to_owned());
        }
        has_usage |= chunk["usage"].is_object();
    }
    ensure!(is_done, "it broke off");
    let finish = finish.context("it does not say why it ended")?;
    ensure!(finish == "stop", "it ended for {finish:?}");
    ensure!(has_usage, "it does not say what it took");
    Ok(Streamed {
        first: first.context("nothing was said")?,
        conversation: None,
    })
}
