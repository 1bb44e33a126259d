//! What is shown when.

use shared::speech::{Segment, Word};

/// Longest line in characters, and lines at a time: what can be read below a picture (Netflix, "Timed Text Style Guide:
/// General Requirements", sections 6 and 12, read 2026-11-28).
pub(super) const LINE: usize = 42;
const LINES: usize = 2;
/// Longest time of a cue, in seconds (the same, section 1).
const LONGEST: f64 = 7.0;
/// A pause after which the next cue begins, in seconds.
const PAUSE: f64 = 1.0;
/// Shortest time of a cue, in seconds: engines give some words none.
const SHORTEST: f64 = 0.2;

/// Words that are shown together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cue {
    /// In milliseconds.
    pub(crate) start: u64,
    /// In milliseconds.
    pub(crate) end: u64,
    /// At least one.
    pub(crate) lines: Vec<String>,
}

/// Makes cues of words, where the engine told their times, else of segments, whose time is shared out by length: another
/// engine may have heard the rest. No two are shown at the same time.
pub(super) fn cues(segments: &[Segment], words: &[Word]) -> Vec<Cue> {
    let words = timed(segments, words);
    let mut cues: Vec<Cue> = Vec::new();
    let mut open: Vec<&Word> = Vec::new();
    for word in words.iter().filter(|word| !word.text.trim().is_empty()) {
        if let (Some(first), Some(last)) = (open.first(), open.last())
            && (word.start - last.end >= PAUSE
                || word.end - first.start > LONGEST
                || ends_sentence(last, &open)
                || lines(open.iter().copied().chain([word])).len() > LINES)
        {
            close(&mut cues, &mut open);
        }
        open.push(word);
    }
    close(&mut cues, &mut open);
    for at in 1..cues.len() {
        let next = cues[at].start;
        let before = &mut cues[at - 1];
        before.end = before.end.min(next).max(before.start);
    }
    cues
}

/// All words in order, with those of segments that have none of their own.
fn timed(segments: &[Segment], words: &[Word]) -> Vec<Word> {
    let mut timed = words.to_vec();
    let is_within = |segment: &Segment, word: &Word| {
        let middle = f64::midpoint(word.start, word.end);
        (segment.start..=segment.end).contains(&middle)
    };
    let wordless = segments
        .iter()
        .filter(|segment| !words.iter().any(|word| is_within(segment, word)));
    timed.extend(wordless.flat_map(share_out));
    timed.sort_by(|one, other| one.start.total_cmp(&other.start));
    timed
}

/// A sentence that is worth a cue of its own.
fn ends_sentence(last: &Word, open: &[&Word]) -> bool {
    open.len() >= 4 && last.text.ends_with(['.', '?', '!', '।', '۔', '؟', '。'])
}

/// The words of a segment, as if all letters took the same time.
#[expect(clippy::cast_precision_loss, reason = "nobody says 2^52 letters")]
fn share_out(segment: &Segment) -> Vec<Word> {
    let length = |text: &str| text.chars().count() as f64 + 1.0;
    let texts = segment.text.split_whitespace();
    let whole: f64 = texts.clone().map(length).sum();
    let each = (segment.end - segment.start).max(0.0) / whole.max(1.0);
    let mut start = segment.start;
    texts
        .map(|text| {
            let end = start + length(text) * each;
            let word = Word {
                start,
                end,
                text: text.to_owned(),
                confidence: None,
            };
            start = end;
            word
        })
        .collect()
}

fn close(cues: &mut Vec<Cue>, open: &mut Vec<&Word>) {
    if let (Some(first), Some(last)) = (open.first(), open.last()) {
        let end = last.end.max(first.start + SHORTEST);
        cues.push(Cue {
            start: milliseconds(first.start),
            end: milliseconds(end),
            lines: lines(open.iter().copied()),
        });
    }
    open.clear();
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time of a sound: not negative, and less than a day"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}

/// Breaks words into lines. One that is longer than a line has a line of its own.
fn lines<'a>(words: impl Iterator<Item = &'a Word>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    for text in words.flat_map(|word| word.text.split_whitespace()) {
        let length = text.chars().count();
        match lines.last_mut() {
            Some(line) if length < room => {
                line.push(' ');
                line.push_str(text);
                room -= length + 1;
            }
            _ => {
                lines.push(text.to_owned());
                room = LINE.saturating_sub(length);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(start: f64, end: f64, text: &str) -> Word {
        Word {
            start,
            end,
            text: text.to_owned(),
            confidence: None,
        }
    }

    #[test]
    fn what_an_engine_told_no_times_of_is_shown_too() {
        let segment = |start, end, text: &str| Segment {
            start,
            end,
            text: text.to_owned(),
            confidence: None,
        };
        let segments = [
            segment(0.0, 2.0, "said first"),
            segment(600.0, 602.0, "said next"),
        ];
        let words = [word(0.0, 1.0, "said"), word(1.0, 2.0, "first")];
        let shown: Vec<_> = cues(&segments, &words)
            .into_iter()
            .map(|cue| (cue.start, cue.lines.join("|")))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "said first".to_owned()),
                (600_000, "said next".to_owned())
            ]
        );
    }

    #[test]
    fn a_pause_and_the_end_of_a_sentence_begin_another_cue() {
        let words = [
            word(0.0, 0.5, "Yes."),
            word(0.5, 1.0, "We"),
            word(1.0, 1.2, "can"),
            word(1.2, 1.5, "go."),
            word(1.5, 2.0, "Then"),
            word(3.0, 3.4, "what?"),
        ];
        let shown: Vec<String> = cues(&[], &words)
            .iter()
            .map(|cue| format!("{}-{} {}", cue.start, cue.end, cue.lines.join("|")))
            .collect();
        assert_eq!(
            shown,
            [
                "0-1500 Yes. We can go.",
                "1500-2000 Then",
                "3000-3400 what?"
            ]
        );
    }

    #[test]
    fn segments_without_words_are_shared_out() {
        let segment = Segment {
            start: 10.0,
            end: 30.0,
            text: "word ".repeat(40),
            confidence: None,
        };
        let cues = cues(&[segment], &[]);
        assert!(cues.len() >= 3, "{cues:?}");
        assert_eq!((cues[0].start, cues.last().unwrap().end), (10_000, 30_000));
    }

    proptest! {
        #[test]
        fn cues_are_short_in_order_and_hold_every_word(
            spoken in prop::collection::vec((0.0..3.0, 0.0..1.0, "[a-zअ-ह.]{1,60}"), 0..60),
        ) {
            let mut at = 0.0;
            let words: Vec<Word> = spoken
                .iter()
                .map(|(pause, length, text)| {
                    let start = at + pause;
                    at = start + length;
                    word(start, at, text)
                })
                .collect();
            let cues = cues(&[], &words);
            let said: Vec<&str> = words.iter().flat_map(|word| word.text.split_whitespace()).collect();
            let shown: Vec<&str> = cues.iter().flat_map(|cue| &cue.lines).flat_map(|line| line.split_whitespace()).collect();
            prop_assert_eq!(shown, said);
            for cue in &cues {
                prop_assert!(cue.start <= cue.end && cue.end - cue.start <= 7_001);
                prop_assert!(cue.lines.len() <= LINES);
                prop_assert!(cue.lines.iter().all(|line| line.chars().count() <= LINE || !line.contains(' ')));
            }
            for pair in cues.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
        }
    }
}
