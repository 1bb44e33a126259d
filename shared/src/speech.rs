//! What is heard in a sound: the words of engines that recognize speech, whichever they are.

use serde::{Deserialize, Serialize};

use crate::language::Language;

/// What an engine heard. Times are in seconds from the beginning of what it was given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// All that was said.
    pub text: String,
    /// What it was said in, if the engine tells.
    pub language: Option<Language>,
    /// Sentences, or what lies between pauses, in order of time.
    pub segments: Vec<Segment>,
    /// Each word, in order of time; none where the engine does not tell.
    pub words: Vec<Word>,
}

/// Some words that were said together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// When they begin, in seconds.
    pub start: f64,
    /// When they end, in seconds.
    pub end: f64,
    /// The words.
    pub text: String,
    /// How sure the engine is, 0 to 1.
    pub confidence: Option<f64>,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// When it begins, in seconds.
    pub start: f64,
    /// When it ends, in seconds.
    pub end: f64,
    /// The word, as it is written.
    pub text: String,
    /// How sure the engine is, 0 to 1.
    pub confidence: Option<f64>,
}

/// A time in seconds, or a share, to a thousandth: what is finer is noise.
pub fn to_thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

impl Heard {
    /// Moves everything to a later time.
    #[must_use]
    pub fn later(mut self, seconds: f64) -> Self {
        for segment in &mut self.segments {
            segment.start = to_thousandths(segment.start + seconds);
            segment.end = to_thousandths(segment.end + seconds);
        }
        for word in &mut self.words {
            word.start = to_thousandths(word.start + seconds);
            word.end = to_thousandths(word.end + seconds);
        }
        self
    }

    /// How sure the engine is of all of it, 0 to 1: the mean over its segments by their length. None where it does not
    /// tell.
    pub fn confidence(&self) -> Option<f64> {
        let (mut sum, mut length) = (0.0, 0.0);
        for segment in &self.segments {
            if let Some(confidence) = segment.confidence {
                // Engines that count coarsely give short words no length at all.
                let weight = (segment.end - segment.start).max(0.01);
                sum += confidence * weight;
                length += weight;
            }
        }
        (length > 0.0).then(|| to_thousandths((sum / length).clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: f64, end: f64, confidence: Option<f64>) -> Segment {
        Segment {
            start,
            end,
            text: "said".to_owned(),
            confidence,
        }
    }

    #[test]
    fn confidence_is_weighed_by_length() {
        let mut heard = Heard::default();
        assert_eq!(heard.confidence(), None);
        heard.segments = vec![segment(0.0, 1.0, Some(0.5)), segment(1.0, 4.0, Some(0.9))];
        assert_eq!(heard.confidence(), Some(0.8));
        heard.segments.push(segment(4.0, 9.0, None));
        assert_eq!(heard.confidence(), Some(0.8));
    }

    #[test]
    fn what_is_heard_later_keeps_its_length() {
        let heard = Heard {
            segments: vec![segment(0.1, 0.3, None)],
            ..Heard::default()
        };
        let later = heard.later(600.0);
        assert_eq!(
            (later.segments[0].start, later.segments[0].end),
            (600.1, 600.3)
        );
    }
}
