//! An answer while it comes: server-sent events, or one JSON object from those that do not stream.

mod lines;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, io, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use http::header::CONTENT_TYPE;
use reqwest::Response;
use tokio::time::Instant;
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::StreamReader,
};

use self::lines::{Lines, SILENT, impatient, whole};
use super::{
    AskError, Logprobs,
    calls::{Calls, ToolCall, ToolCallPart},
    chunk::{Chunk, Said},
    cut,
};
use crate::tokens::TokenCounts;

/// Longest line of a stream: an event has a few words, and some have a whole answer.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Longest answer.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most that is told of how likely its words were: some 16,000 tokens with twenty others beside each.
const MAX_LOGPROBS_BYTES: usize = 32 << 20;
/// After the answer has ended, figures may follow; so long they are waited for.
const FIGURES: Duration = Duration::from_secs(5);

/// How long the end of a connection is waited for.
const DRAIN: Duration = Duration::from_secs(1);

/// Ends a stream.
const DONE: &str = "[DONE]";

/// An answer that is being made. Dropping it stops the provider.
pub struct Answer {
    lines: Lines,
    silence: Duration,
    /// What was read of an event that goes on in the next line.
    open: String,
    /// What was read and not given yet.
    ready: VecDeque<Piece>,
    /// Calls of tools that it asks for.
    calls: Calls,
    /// What was thought.
    thoughts: String,
    finish: Option<String>,
    /// Until when figures are waited for, once the answer has ended.
    figures_until: Option<Instant>,
    usage: Option<TokenCounts>,
    cost_microusd: Option<i64>,
    bytes: usize,
    /// Of how likely its words were.
    logprobs_bytes: usize,
    /// What comes is JSON over several lines, and no stream of events.
    is_bare: bool,
    ended: bool,
    failed: Option<AnswerError>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More words.
    Text(String),
    /// More of why it does not answer, from models that say that apart.
    Refusal(String),
    /// What the model thinks meanwhile; it is paid for, too.
    Thought(String),
    /// More of a call of a tool; all of them come whole with the end.
    Call(ToolCallPart),
    /// How likely the next words were, if that was asked for.
    Logprobs(Logprobs),
    /// There are no more.
    End(Ending),
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `stop`, `length`, `content_filter`, or the provider's own word.
    pub finish: String,
    /// What the provider counted, if it says so.
    pub usage: Option<TokenCounts>,
    /// Tools that the model wants to be called before it goes on.
    pub calls: Vec<ToolCall>,
    /// What it thought before it wanted that; nothing where it wants none.
    pub thoughts: String,
}

/// Why an answer was not made to its end.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The provider says so, and may say what that means for the key and the question.
    #[error("the provider gave up: {0}")]
    Said(String, Option<Box<AskError>>),
    /// The connection ended before the answer did.
    #[error("the answer was cut off")]
    Cut,
    /// No byte came for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// It is not what an answer looks like.
    #[error("what came cannot be read: {0}")]
    Unreadable(String),
    /// It is too long.
    #[error("the answer is too long")]
    TooLong,
    /// It is sound, but not what was asked for.
    #[error("the answer is not what was asked for: {0}")]
    Unwanted(String),
}

impl Answer {
    pub(super) fn read(response: Response, silence: Duration) -> Self {
        let is_json = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.contains("json"));
        let bytes = impatient(response.bytes_stream().map_err(io::Error::other), silence);
        let lines: Lines = if is_json {
            // One event, over any number of lines.
            Box::pin(futures::stream::once(whole(bytes)))
        } else {
            let codec = LinesCodec::new_with_max_length(MAX_LINE_BYTES);
            Box::pin(FramedRead::new(StreamReader::new(Box::pin(bytes)), codec))
        };
        Self {
            lines,
            silence,
            open: String::new(),
            ready: VecDeque::new(),
            calls: Calls::default(),
            thoughts: String::new(),
            finish: None,
            figures_until: None,
            usage: None,
            cost_microusd: None,
            bytes: 0,
            logprobs_bytes: 0,
            is_bare: false,
            ended: false,
            failed: None,
        }
    }

    /// The same, with fewer calls of tools at most.
    #[must_use]
    pub(super) fn with_calls_max(mut self, most: usize) -> Self {
        self.calls = Calls::at_most(most);
        self
    }

    /// Waits for more; none after the end.
    ///
    /// # Errors
    /// See [`AnswerError`]; there is nothing more after one.
    pub async fn next(&mut self) -> Result<Option<Piece>, AnswerError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(None);
            }
            // What came before a failure is given first.
            self.failed = self.read_line().await.err();
            self.ended |= self.failed.is_some();
        }
    }

    async fn read_line(&mut self) -> Result<(), AnswerError> {
        let next = self.lines.next();
        let read = match self.figures_until {
            Some(until) => tokio::time::timeout_at(until, next).await,
            None => Ok(next.await),
        };
        let line = match read {
            Ok(Some(Ok(line))) => line,
            Ok(Some(Err(LinesCodecError::MaxLineLengthExceeded))) => {
                return Err(AnswerError::TooLong);
            }
            // What was said is whole: only figures may be missing.
            Ok(_) | Err(_) if self.finish.is_some() => {
                self.end();
                return Ok(());
            }
            Ok(Some(Err(LinesCodecError::Io(error))))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                return Err(AnswerError::Unreadable("it is no UTF-8".to_owned()));
            }
            Ok(Some(Err(LinesCodecError::Io(error)))) if error.kind() == SILENT => {
                return Err(AnswerError::Silent(self.silence));
            }
            Ok(_) | Err(_) => return Err(AnswerError::Cut),
        };
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        // Comments keep the connection open; names and ids of events say nothing here.
        let data = match line.strip_prefix("data:") {
            Some(data) => data.trim(),
            // A whole answer, or an error, of a server that does not say what it sends.
            None if self.is_bare || (self.bytes == 0 && line.trim_start().starts_with('{')) => {
                self.is_bare = true;
                line.trim()
            }
            None if line.trim_end().is_empty() && !self.open.is_empty() => {
                return Err(unreadable(&self.open, "it ends too early"));
            }
            None => return Ok(()),
        };
        if data.starts_with(DONE) {
            if self.finish.is_none() {
                return Err(AnswerError::Cut);
            }
            self.end();
            return Ok(());
        }
        if !data.is_empty() {
            self.read_data(data)?;
        }
        Ok(())
    }

    fn read_data(&mut self, data: &str) -> Result<(), AnswerError> {
        let is_part = !self.open.is_empty();
        if is_part {
            self.open.push('\n');
            self.open.push_str(data);
        }
        let data = if is_part { &self.open } else { data };
        if data.len()
            > if is_part {
                MAX_LINE_BYTES
            } else {
                MAX_ANSWER_BYTES
            }
        {
            return Err(AnswerError::TooLong);
        }
        match serde_json::from_str::<Chunk>(data) {
            Ok(chunk) => {
                self.open.clear();
                self.take(chunk.into())
            }
            // An event may be written in several lines.
            Err(error) if error.is_eof() => {
                if !is_part {
                    self.open = data.to_owned();
                }
                Ok(())
            }
            Err(error) => Err(unreadable(data, &error.to_string())),
        }
    }

    fn take(&mut self, said: Said) -> Result<(), AnswerError> {
        if let Some(logprobs) = said.logprobs {
            self.logprobs_bytes += logprobs.bytes();
            if self.logprobs_bytes > MAX_LOGPROBS_BYTES {
                return Err(AnswerError::TooLong);
            }
            self.ready.push_back(Piece::Logprobs(logprobs));
        }
        if !said.text.is_empty() {
            self.bytes += said.text.len();
            // U+0000 cannot be stored, and means nothing.
            self.ready
                .push_back(Piece::Text(said.text.replace('\0', "")));
        }
        if !said.thoughts.is_empty() {
            self.bytes += said.thoughts.len();
            let thought = said.thoughts.replace('\0', "");
            self.thoughts.push_str(&thought);
            self.ready.push_back(Piece::Thought(thought));
        }
        if !said.refusal.is_empty() {
            self.bytes += said.refusal.len();
            self.ready
                .push_back(Piece::Refusal(said.refusal.replace('\0', "")));
        }
        for piece in said.calls {
            self.bytes += piece.bytes();
            if !self.calls.add(piece) {
                return Err(AnswerError::TooLong);
            }
        }
        self.ready
            .extend(self.calls.news().into_iter().map(Piece::Call));
        let is_told = said.usage.is_some();
        self.usage = said.usage.or(self.usage);
        self.cost_microusd = said.cost_microusd.or(self.cost_microusd);
        if said.finish.is_some() {
            self.finish = said.finish;
            self.figures_until.get_or_insert(Instant::now() + FIGURES);
        }
        if let Some((reason, refusal)) = said.error {
            return Err(AnswerError::Said(reason, refusal.map(Box::new)));
        }
        if self.bytes > MAX_ANSWER_BYTES {
            return Err(AnswerError::TooLong);
        }
        // Nothing is missing any more. What was told before the end may have been told too early.
        if self.finish.is_some() && is_told {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        let (calls, mut thoughts) = (self.calls.take(), std::mem::take(&mut self.thoughts));
        if calls.is_empty() {
            thoughts.clear();
        }
        self.ready.push_back(Piece::End(Ending {
            finish: self.finish.clone().unwrap_or_default(),
            usage: self.usage,
            calls,
            thoughts,
        }));
    }

    /// Reads what may still come after the end, for a moment, so that the connection can be used again.
    pub async fn drain(mut self) {
        let rest = async { while let Some(Ok(_)) = self.lines.next().await {} };
        _ = tokio::time::timeout(DRAIN, rest).await;
    }

    /// What the provider has counted so far.
    pub fn usage(&self) -> Option<TokenCounts> {
        self.usage
    }

    /// What the provider says that it has charged so far, in millionths of a US dollar: most say nothing.
    pub fn cost_microusd(&self) -> Option<i64> {
        self.cost_microusd
    }
}

fn unreadable(data: &str, why: &str) -> AnswerError {
    AnswerError::Unreadable(cut(&format!("{why}: {data}")))
}
