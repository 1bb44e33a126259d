//! Which messages are sent. Pure: it knows their sizes, and nothing of what they say.
//!
//! The instructions and the question are always sent, and the question is never cut. Then come, as far as there is room:
//!
//! 1. the newest messages, newest first, so that where room is short the last ones are in before others;
//! 2. the summary of what came before;
//! 3. older messages, newest first, where all of the newest were sent.
//!
//! A call of tools and its results are sent together or not at all, and not without the question before them. The first
//! message that does not fit is cut if it is one of the newest and no summary tells of it. Where it is one of the last, it
//! leaves the others of these up to half of the room; nothing older than that is sent.

mod filling;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::filling::Filling;

/// Less than this is left of no message that is cut.
pub const LEAST_CUT: u32 = 50;
/// The last messages before the question, which are in before all others: ten with it.
pub const LAST: usize = 9;
/// Most tokens, as they are stored, that are one of a model: what is learned of models says no more.
const STORED_PER_TOKEN: u64 = 4;

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most tokens of all that is sent.
    pub tokens: u32,
    /// Most messages, the question included, and instructions and summary not.
    pub messages: u32,
    /// How many messages, the question included, go before a summary of what came before them.
    pub recent: u32,
}

impl Limits {
    /// Most tokens of all that is sent, as they are stored, whatever model is asked.
    pub fn most_stored(self) -> u64 {
        u64::from(self.tokens) * STORED_PER_TOKEN
    }

    /// How many of some messages may be sent, whatever model is asked: by their tokens as they are stored, newest first.
    pub fn reach(self, tokens: impl IntoIterator<Item = u32>) -> usize {
        let mut used: u64 = 0;
        let may_be_sent = |(place, tokens): &(usize, u32)| {
            let is_reached = *place < LAST || used < self.most_stored();
            used += u64::from(*tokens);
            is_reached
        };
        let tokens = tokens.into_iter().take(self.messages as usize);
        tokens.enumerate().take_while(may_be_sent).count()
    }

    /// The same for what tools said: of how many of the messages it may be sent, which each come with the tokens of all that was
    /// asked of tools for them, and said. It is sent as a whole or not at all.
    pub fn reach_of_tools<T>(self, said: impl IntoIterator<Item = (u32, T)>) -> usize
    where
        T: IntoIterator<Item = u32>,
    {
        let (mut used, mut messages, mut reach) = (0_u64, 0_u64, 0);
        for (tokens, of_tools) in said {
            used += u64::from(tokens);
            messages += 1;
            if used >= self.most_stored() || messages >= u64::from(self.messages) {
                break;
            }
            for tokens in of_tools {
                used += u64::from(tokens);
                messages += 1;
            }
            reach += 1;
        }
        reach
    }
}

/// A message before the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Its tokens with all that is sent of it.
    pub tokens: u32,
    /// How many tools it calls. As many results follow it.
    pub calls: u32,
    /// Whether it is what a tool answered.
    pub is_result: bool,
    /// Whether a person said it.
    pub is_question: bool,
}

/// The summary of what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its tokens.
    pub tokens: u32,
    /// How many messages before the question are newer than all that it tells of.
    pub since: usize,
}

/// What there is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// How much may be sent.
    pub limits: Limits,
    /// Tokens of the instructions, if there are any.
    pub system: Option<u32>,
    /// Tokens of the question with all that belongs to it; none to find out what would go along with one.
    pub question: Option<u32>,
    /// Messages before the question, newest first: all of them, or more than fit.
    pub earlier: &'a [Said],
    /// Whether these are all.
    pub is_whole: bool,
    /// What is known of those before.
    pub summary: Option<Summary>,
}

/// How much of a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All of it.
    Whole,
    /// Its beginning, and a mark: so many tokens in all.
    Cut(u32),
}

/// Something that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The instructions.
    System,
    /// The summary.
    Summary(Size),
    /// A message before the question, by its place among them.
    Earlier(usize, Size),
    /// The question.
    Question,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which it is sent.
    pub pieces: Vec<Piece>,
    /// Tokens of all of it.
    pub tokens: u32,
    /// Whether instructions and question alone have more tokens than may be sent. They are sent all the same, alone.
    pub is_exceeded: bool,
    /// Messages before the question that are sent.
    pub sent: usize,
    /// The place of the newest message that is left out, as are all after it.
    pub reached: usize,
}

/// Decides what is sent.
pub fn plan(asked: &Asked<'_>) -> Plan {
    let limits = asked.limits;
    let (system, question) = (asked.system.unwrap_or(0), asked.question.unwrap_or(0));
    let needed = system.saturating_add(question);
    let room = limits.tokens.saturating_sub(needed);
    let mut groups = groups(asked.earlier);
    let (filling, summary) = loop {
        let (filling, summary) = fill(asked, room, &groups);
        let parted = parted(asked.earlier, &groups, &filling.kept);
        if parted.is_empty() {
            break (filling, summary);
        }
        // Without it, what the others follow may have room.
        for group in parted {
            groups[group].is_sendable = false;
        }
    };
    let sent = filling.kept.len();
    let earlier = filling
        .kept
        .into_iter()
        .rev()
        .map(|(place, size)| Piece::Earlier(place, size));
    let pieces = asked
        .system
        .map(|_| Piece::System)
        .into_iter()
        .chain(summary.map(Piece::Summary))
        .chain(earlier)
        .chain(asked.question.map(|_| Piece::Question))
        .collect();
    Plan {
        pieces,
        tokens: needed.saturating_add(room - filling.room),
        is_exceeded: needed > limits.tokens,
        sent,
        reached: filling.reached,
    }
}

/// Takes as much as there is room for, with as much of the summary.
fn fill<'a>(asked: &Asked<'a>, room: u32, groups: &[Group]) -> (Filling<'a>, Option<Size>) {
    let mut filling = Filling {
        earlier: asked.earlier,
        room,
        places: (asked.limits.messages as usize).saturating_sub(1),
        kept: Vec::new(),
        reached: 0,
    };
    if asked.is_whole && filling.has_room_for(groups) {
        for group in groups.iter().filter(|group| group.is_sendable) {
            filling.take(group);
        }
        return (filling, None);
    }
    let summary = filling.fill(groups, asked.limits.recent, asked.summary);
    (filling, summary)
}

/// Calls that must be left out, as they or newer ones would be sent without what they follow: a question, or what came of calls
/// before them. Gemini refuses all that goes with such ("function call turn comes immediately after a user turn or after a
/// function response turn").
fn parted(earlier: &[Said], groups: &[Group], kept: &[(usize, Size)]) -> Vec<usize> {
    let mut is_sent = vec![false; earlier.len()];
    for (place, _) in kept {
        is_sent[*place] = true;
    }
    // What the next one would follow, and calls right before it that are not sent.
    let (mut may_call, mut missing) = (false, None);
    let mut parted = Vec::new();
    let groups = groups.iter().enumerate().rev();
    for (number, group) in groups.filter(|(_, group)| group.is_sendable) {
        let oldest = earlier[group.places.end - 1];
        let is_call = oldest.calls > 0;
        if !is_sent[group.places.start] {
            missing = is_call.then_some(number);
            may_call = false;
            continue;
        }
        if is_call && !may_call {
            // The newer of two is sent, as it is else.
            parted.push(missing.unwrap_or(number));
        }
        (may_call, missing) = (is_call || oldest.is_question, None);
    }
    parted
}

/// Messages that are sent together.
struct Group {
    /// Their places.
    places: Range<usize>,
    tokens: u64,
    /// Whether all of them are there: a call without its results is refused by providers, and so is a result without its call.
    is_sendable: bool,
}

impl Group {
    fn is_last(&self) -> bool {
        self.places.start < LAST
    }
}

/// Each call with its results, and all else by itself, newest first.
fn groups(earlier: &[Said]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = 0;
    while at < earlier.len() {
        let begin = at;
        while earlier[at].is_result && at + 1 < earlier.len() {
            at += 1;
        }
        let (results, oldest) = (at - begin, earlier[at]);
        // Nobody called: what came before has nothing to do with them.
        let is_orphaned = results > 0 && !oldest.is_result && oldest.calls == 0;
        if !is_orphaned {
            at += 1;
        }
        groups.push(Group {
            tokens: earlier[begin..at]
                .iter()
                .map(|said| u64::from(said.tokens))
                .sum(),
            places: begin..at,
            is_sendable: !is_orphaned && !oldest.is_result && oldest.calls as usize == results,
        });
    }
    groups
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
