//! The messages before a question, as far as they may be sent.

use serde::{Deserialize, Serialize};

use super::{
    Limits, count,
    plan::{Said, Summary},
};
use crate::{
    ids::{AttachmentId, MessageId},
    models::{
        message::{self, Role},
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
        }
    }

    /// What is sent of its attachments, where that is known for models that see pictures, or for those that do not.
    pub fn settled(&self, sees_pictures: bool) -> Option<&Frames> {
        let frames = self.frames.as_ref();
        frames.filter(|frames| !(sees_pictures && frames.is_blind))
    }

    /// Whether it says anything to a model.
    fn says(&self) -> bool {
        self.role != Role::Tool && !(self.text.is_empty() && self.attachments.is_empty())
    }
}

impl Branch {
    /// Whether all messages are in it.
    pub fn is_whole(&self) -> bool {
        self.earlier.len() >= self.total as usize
    }

    /// The sizes of its messages; `extra` are the tokens of what is sent of attachments.
    pub fn sizes(&self, extra: &[u32]) -> Vec<Said> {
        let extra = extra.iter().copied().chain(std::iter::repeat(0));
        let sizes = self.earlier.iter().zip(extra).map(|(one, extra)| Said {
            tokens: count::of_stored(one.tokens).saturating_add(extra),
            ..Said::default()
        });
        sizes.collect()
    }

    /// The size of its summary.
    pub fn summary_size(&self) -> Option<Summary> {
        self.summary.as_ref().map(|told| Summary {
            tokens: count::of_stored(told.tokens),
            since: told.since as usize,
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
        let sizes = self.earlier.iter().map(|one| {
            let frames = one.frames.as_ref().map_or(0, |frames| frames.tokens);
            count::of_stored(one.tokens).saturating_add(count::of_stored(frames))
        });
        let kept = limits.reach(sizes);
        self.earlier.truncate(kept);
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
            one.text.len() + frames.map(String::len).sum::<usize>()
        });
        let told = self.summary.as_ref().map_or(0, |told| told.text.len());
        said.sum::<usize>() + told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tokens: i32) -> Earlier {
        Earlier {
            id: MessageId::new(),
            role: Role::User,
            text: "words ".repeat(tokens.unsigned_abs() as usize),
            tokens,
            attachments: Vec::new(),
            frames: Some(Frames::default()),
        }
    }

    fn branch(tokens: &[i32]) -> (Branch, Vec<MessageId>) {
        let all: Vec<Earlier> = tokens.iter().map(|tokens| said(*tokens)).collect();
        let ids = all.iter().map(|one| one.id).collect();
        let branch = all.into_iter().fold(Branch::default(), Branch::with);
        (branch, ids)
    }

    #[test]
    fn a_branch_grows_and_ends_before_any_of_its_messages() {
        let (mut branch, ids) = branch(&[1, 2, 3, 4]);
        assert_eq!((branch.total, branch.leaf), (4, Some(ids[3])));
        assert!(branch.is_whole());
        branch.summary = Some(Told {
            anchor: ids[1],
            since: 2,
            text: "numbers".to_owned(),
            tokens: 1,
        });
        assert_eq!(branch.clone().up_to(ids[3]), Some(branch.clone()));
        let shorter = branch.clone().up_to(ids[1]).unwrap();
        assert_eq!((shorter.total, shorter.earlier[0].id), (2, ids[1]));
        assert_eq!(shorter.summary.unwrap().since, 0);
        // The summary tells of more than that.
        assert_eq!(branch.clone().up_to(ids[0]), None);
        assert_eq!(branch.clone().up_to(MessageId::new()), None);
        // Nor where older ones are missing.
        branch.total = 5;
        assert_eq!(branch.clone().up_to(ids[2]), None);
        assert!(branch.clone().up_to(ids[3]).is_some());
        let empty = Earlier {
            text: String::new(),
            ..said(1)
        };
        let grown = branch.clone().with(empty.clone());
        assert_eq!((grown.total, grown.leaf), (5, Some(empty.id)));
        assert_eq!(branch.with(said(1)).summary.unwrap().since, 3);
    }

    #[test]
    fn what_cannot_be_sent_any_more_is_left_out() {
        let limits = Limits {
            tokens: 100,
            messages: 3,
            recent: 2,
        };
        let (few, ids) = branch(&[10, 10, 10, 10]);
        let trimmed = few.trimmed(limits);
        assert_eq!((trimmed.earlier.len(), trimmed.total), (3, 4));
        assert_eq!(trimmed.earlier[2].id, ids[1]);
        assert!(!trimmed.is_whole());
        // Of one that is too long in any case, as much stays as may be sent; and all of it where a model may count less.
        let (long, _) = branch(&[10, 1_000, 390]);
        let trimmed = long.trimmed(limits);
        let lengths: Vec<usize> = trimmed.earlier.iter().map(|one| one.text.len()).collect();
        assert_eq!(lengths, [2_340, 3_200, 60]);
        let mut wide = said(390);
        wide.text = "words ".repeat(1_000);
        let trimmed = Branch::default().with(wide).trimmed(limits);
        assert_eq!(trimmed.earlier[0].text.len(), 6_000);
    }

    #[test]
    fn frames_are_for_models_that_see_as_much() {
        let mut shown = said(10);
        assert!(shown.settled(true).is_some() && shown.settled(false).is_some());
        shown.frames = Some(Frames {
            is_blind: true,
            ..Frames::default()
        });
        assert!(shown.settled(true).is_none() && shown.settled(false).is_some());
        shown.frames = None;
        assert!(shown.settled(true).is_none() && shown.settled(false).is_none());
    }
}
