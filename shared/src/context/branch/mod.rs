//! The messages before a question, as far as they may be sent.

use serde::{Deserialize, Serialize};

use super::{
    Limits, count,
    plan::{Said, Summary},
};
use crate::{
    ids::{AttachmentId, MessageId},
    models::{
        message::{self, Content, Part, Role},
        summary,
    },
};

/// Bytes of a token that hardly any text exceeds on average: of one that is longer than may be sent no more is kept.
const LONGEST_TOKEN: usize = 32;

/// A branch up to a message, as far as it may be sent. Whatever is said beside it or below it changes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Branch {
    /// Where it ends; none before the first message.
    pub leaf: Option<MessageId>,
    /// Messages that say something, newest first: all of them, or as many as may be sent and more.
    pub earlier: Vec<Earlier>,
    /// How many there are in all.
    pub total: u32,
    /// What was said before, in short.
    pub summary: Option<Told>,
}

/// A message of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Which one.
    pub id: MessageId,
    /// Who said it.
    pub role: Role,
    /// What was said, or as much of it as may be sent.
    pub text: String,
    /// Tokens of the whole of it, as they are stored.
    pub tokens: i32,
    /// What was shown.
    pub attachments: Vec<AttachmentId>,
    /// What is sent of that, if it does not change any more by itself; [`Earlier::settled`] tells to whom.
    pub frames: Option<Frames>,
    /// What was asked of tools for it, and what they said, newest first.
    pub tools: Vec<OfTools>,
}

/// A message of a model with calls of tools, or of a tool: it goes along with questions that have tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTools {
    /// The calls, or what came of one.
    pub content: Content,
    /// Tokens of it, as they are stored.
    pub tokens: i32,
}

/// The place of a message in a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its place in [`Branch::earlier`].
    pub message: usize,
    /// Of what tools were asked for that message, and said: its place in [`Earlier::tools`].
    pub tool: Option<usize>,
}

/// What is sent of the attachments of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Frames {
    /// A text for each that has one, with what is around it.
    pub texts: Vec<String>,
    /// Tokens of them, as they are stored.
    pub tokens: i32,
    /// Whether there are pictures among the attachments. These are the texts for models that see none.
    pub is_blind: bool,
}

/// The summary of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The newest message that it tells of.
    pub anchor: MessageId,
    /// How many messages of the branch are newer.
    pub since: u32,
    /// What was said.
    pub text: String,
    /// Tokens of it as it is sent, as they are stored.
    pub tokens: i32,
}

impl Told {
    /// A summary of a branch of which `since` messages are newer.
    pub fn of(row: summary::Model, since: usize) -> Self {
        Self {
            anchor: row.anchor_id,
            since: u32::try_from(since).unwrap_or(u32::MAX),
            text: row.text,
            tokens: row.token_count,
        }
    }
}

impl Earlier {
    /// A message, as it is stored.
    pub fn of(row: &message::Model) -> Self {
        let attachments = row.content.attachments();
        Self {
            id: row.id,
            role: row.role,
            text: row.content.text(),
            tokens: row.token_count,
            frames: attachments.is_empty().then(Frames::default),
            attachments,
            tools: Vec::new(),
        }
    }

    /// An answer with what was asked of tools for it, and what they said, newest first.
    #[must_use]
    pub fn with_tools<'a>(self, tools: impl Iterator<Item = &'a message::Model>) -> Self {
        let tools = tools.map(|row| OfTools {
            content: row.content.clone(),
            tokens: row.token_count,
        });
        Self {
            tools: tools.collect(),
            ..self
        }
    }

    /// What is sent of its attachments, where that is known for models that see pictures, or for those that do not.
    pub fn settled(&self, sees_pictures: bool) -> Option<&Frames> {
        let frames = self.frames.as_ref();
        frames.filter(|frames| !(sees_pictures && frames.is_blind))
    }

    /// Its tokens with what is known of those of its attachments, as they are stored.
    fn stored(&self) -> u32 {
        let frames = self.frames.as_ref().map_or(0, |frames| frames.tokens);
        count::of_stored(self.tokens).saturating_add(count::of_stored(frames))
    }

    /// Whether it says anything to a model, with tools and without.
    fn says(&self) -> bool {
        self.role != Role::Tool && !(self.text.is_empty() && self.attachments.is_empty())
    }
}

impl OfTools {
    fn size(&self) -> Said {
        let parts = self.content.0.iter();
        let calls = parts.filter(|part| matches!(part, Part::ToolCall { .. }));
        let mut parts = self.content.0.iter();
        Said {
            tokens: count::of_stored(self.tokens),
            calls: u32::try_from(calls.count()).unwrap_or(u32::MAX),
            is_result: parts.any(|part| matches!(part, Part::ToolResult { .. })),
            is_question: false,
        }
    }
}

impl Branch {
    /// Whether all messages are in it.
    pub fn is_whole(&self) -> bool {
        self.earlier.len() >= self.total as usize
    }

    /// Its messages, newest first; only `with_tools` what was asked of tools, and what they said.
    pub fn places(&self, with_tools: bool) -> Vec<At> {
        let mut places = Vec::with_capacity(self.earlier.len());
        for (message, one) in self.earlier.iter().enumerate() {
            places.push(At {
                message,
                tool: None,
            });
            let tools = if with_tools { one.tools.len() } else { 0 };
            places.extend((0..tools).map(|tool| At {
                message,
                tool: Some(tool),
            }));
        }
        places
    }

    /// The sizes of messages; `extra` are the tokens of what is sent of attachments, of each of [`Self::earlier`].
    pub fn sizes(&self, places: &[At], extra: &[u32]) -> Vec<Said> {
        let size = |at: &At| {
            let one = &self.earlier[at.message];
            if let Some(tool) = at.tool {
                return one.tools[tool].size();
            }
            let extra = extra.get(at.message).copied().unwrap_or_default();
            Said {
                tokens: count::of_stored(one.tokens).saturating_add(extra),
                is_question: one.role == Role::User,
                ..Said::default()
            }
        };
        places.iter().map(size).collect()
    }

    /// The size of its summary, before which these messages are.
    pub fn summary_size(&self, places: &[At]) -> Option<Summary> {
        self.summary.as_ref().map(|told| {
            let since = told.since as usize;
            let newer = places.iter().take_while(|at| at.message < since).count();
            Summary {
                tokens: count::of_stored(told.tokens),
                since: newer + since.saturating_sub(self.earlier.len()),
            }
        })
    }

    /// The part of it that ends with `leaf`; none where that is not known.
    #[must_use]
    pub fn up_to(mut self, leaf: MessageId) -> Option<Self> {
        if self.leaf == Some(leaf) {
            return Some(self);
        }
        let newer = self.earlier.iter().position(|one| one.id == leaf)?;
        let newer_count = u32::try_from(newer).ok()?;
        let is_told = |told: &Told| told.since >= newer_count;
        // Of what is older than all that is here, more may be sent now.
        if !self.is_whole() || !self.summary.as_ref().is_none_or(is_told) {
            return None;
        }
        self.earlier.drain(..newer);
        self.total -= newer_count;
        if let Some(told) = &mut self.summary {
            told.since -= newer_count;
        }
        self.leaf = Some(leaf);
        Some(self)
    }

    /// The branch with one more message, which need not say anything.
    #[must_use]
    pub fn with(mut self, next: Earlier) -> Self {
        self.leaf = Some(next.id);
        if next.says() {
            self.earlier.insert(0, next);
            self.total = self.total.saturating_add(1);
            if let Some(told) = &mut self.summary {
                told.since = told.since.saturating_add(1);
            }
        }
        self
    }

    /// Leaves out what cannot be sent any more, whatever the next question is and whoever is asked.
    #[must_use]
    pub fn trimmed(mut self, limits: Limits) -> Self {
        let kept = limits.reach(self.earlier.iter().map(Earlier::stored));
        // What goes along without tools is more of what people and models said, and so all of that is kept.
        let sizes = self.earlier.iter().map(|one| {
            let tools = one.tools.iter().map(|said| count::of_stored(said.tokens));
            (one.stored(), tools)
        });
        let with_tools = limits.reach_of_tools(sizes);
        self.earlier.truncate(kept);
        for one in self.earlier.iter_mut().skip(with_tools) {
            one.tools.clear();
        }
        let most = (limits.tokens as usize).saturating_mul(LONGEST_TOKEN);
        for one in &mut self.earlier {
            // Whatever is shorter may be sent whole.
            if u64::from(count::of_stored(one.tokens)) > limits.most_stored() {
                one.text.truncate(one.text.floor_char_boundary(most));
            }
        }
        self
    }

    /// Bytes of all its texts.
    pub(super) fn text_bytes(&self) -> usize {
        let said = self.earlier.iter().map(|one| {
            let frames = one.frames.iter().flat_map(|frames| &frames.texts);
            let tools = one.tools.iter().map(|said| said.content.size_bytes());
            one.text.len() + frames.map(String::len).sum::<usize>() + tools.sum::<usize>()
        });
        let told = self.summary.as_ref().map_or(0, |told| told.text.len());
        said.sum::<usize>() + told
    }
}

#[cfg(test)]
mod tests;
