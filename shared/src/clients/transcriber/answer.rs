//! What servers answer, and what of it is believed.

use serde::Deserialize;

use crate::{
    language::Language,
    speech::{Heard, Segment, Word, to_thousandths},
};

/// What Whisper makes of silence and noise (`whisper/transcribe.py`: `no_speech_threshold`, `logprob_threshold`,
/// `compression_ratio_threshold`).
const NO_SPEECH: f64 = 0.6;
const UNSURE: f64 = -1.0;
const REPETITIVE: f64 = 2.4;

/// `verbose_json`, or a part of it.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    text: String,
    language: Option<String>,
    segments: Option<Vec<AnsweredSegment>>,
    words: Option<Vec<AnsweredWord>>,
}

#[derive(Debug, Deserialize)]
struct AnsweredSegment {
    start: f64,
    end: f64,
    text: String,
    avg_logprob: Option<f64>,
    no_speech_prob: Option<f64>,
    compression_ratio: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct AnsweredWord {
    start: f64,
    end: f64,
    word: String,
}

impl AnsweredSegment {
    /// Whisper invents words for silence, and repeats itself in noise; this is how it tells.
    fn is_made_up(&self) -> bool {
        let above = |number: Option<f64>, limit| number.is_some_and(|number| number > limit);
        let is_unsure = self.avg_logprob.is_some_and(|number| number < UNSURE);
        above(self.no_speech_prob, NO_SPEECH) && is_unsure
            || above(self.compression_ratio, REPETITIVE)
    }
}

impl Answer {
    /// What was heard in a sound that lasts `seconds`, without what Whisper tells that it made up.
    pub(super) fn heard(self, seconds: f64) -> Heard {
        let language = self.language.as_deref().and_then(Language::of_recognizer);
        let within = |time: f64| to_thousandths(time.clamp(0.0, seconds));
        let mut words: Vec<Word> = self
            .words
            .into_iter()
            .flatten()
            .map(|word| Word {
                start: within(word.start),
                end: within(word.end),
                text: word.word.trim().to_owned(),
                confidence: None,
            })
            .collect();
        let answered = self.segments.unwrap_or_default();
        let (made_up, kept): (Vec<_>, Vec<_>) =
            answered.into_iter().partition(AnsweredSegment::is_made_up);
        let mut text = self.text.trim().to_owned();
        if !made_up.is_empty() {
            let texts: Vec<&str> = kept.iter().map(|segment| segment.text.trim()).collect();
            text = texts.join(" ");
            words.retain(|word| {
                let middle = f64::midpoint(word.start, word.end);
                !made_up
                    .iter()
                    .any(|gone| (gone.start..gone.end).contains(&middle))
            });
        }
        let mut segments: Vec<Segment> = kept
            .into_iter()
            .map(|segment| Segment {
                start: within(segment.start),
                end: within(segment.end),
                text: segment.text.trim().to_owned(),
                confidence: segment
                    .avg_logprob
                    .map(|mean| to_thousandths(mean.exp().clamp(0.0, 1.0))),
            })
            .collect();
        if segments.is_empty() && made_up.is_empty() && !text.is_empty() {
            segments.push(Segment {
                start: 0.0,
                end: to_thousandths(seconds),
                text: text.clone(),
                confidence: None,
            });
        }
        Heard {
            text,
            language,
            segments,
            words,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(answer: serde_json::Value) -> Heard {
        let answer: Answer = serde_json::from_value(answer).unwrap();
        answer.heard(5.0)
    }

    #[test]
    fn what_whisper_tells_is_taken_over() {
        let heard = heard(json!({
            "task": "transcribe", "language": "english", "duration": 5.0, "text": " Hello there. ",
            "segments": [{ "id": 0, "start": 0.0, "end": 9.5, "text": " Hello there.", "avg_logprob": -0.105_36,
                           "no_speech_prob": 0.01, "compression_ratio": 1.1, "tokens": [1] }],
            "words": [{ "word": " Hello", "start": 0.1, "end": 0.50004 }, { "word": "there.", "start": 0.5, "end": 1 }],
        }));
        assert_eq!(heard.text, "Hello there.");
        assert_eq!(heard.language.unwrap().code(), Some("en"));
        let segment = &heard.segments[0];
        // A time after the end of the sound is no time of it.
        assert_eq!((segment.end, segment.confidence), (5.0, Some(0.9)));
        assert_eq!(
            (heard.words[0].text.as_str(), heard.words[0].end),
            ("Hello", 0.5)
        );
    }

    #[test]
    fn a_text_alone_is_enough() {
        let heard = heard(json!({ "text": "नमस्ते" }));
        assert_eq!((heard.language, heard.words.len()), (None, 0));
        assert_eq!(
            (heard.segments[0].text.as_str(), heard.segments[0].end),
            ("नमस्ते", 5.0)
        );
        assert_eq!(heard.confidence(), None);
        assert_eq!(self::heard(json!({ "text": " " })), Heard::default());
    }

    #[test]
    fn what_is_made_up_is_left_out() {
        let segment = |start: f64, text: &str, more: serde_json::Value| {
            let mut segment = json!({ "start": start, "end": start + 1.0, "text": text });
            segment
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            segment
        };
        let heard = heard(json!({
            "text": "Yes. Thank you for watching! la la la la",
            "segments": [
                segment(0.0, "Yes.", json!({ "no_speech_prob": 0.9, "avg_logprob": -0.2 })),
                segment(1.0, "Thank you for watching!", json!({ "no_speech_prob": 0.9, "avg_logprob": -1.5 })),
                segment(2.0, "la la la la", json!({ "compression_ratio": 5.0 })),
            ],
            "words": [{ "word": "Yes.", "start": 0.2, "end": 0.9 }, { "word": "Thank", "start": 1.1, "end": 1.3 }],
        }));
        assert_eq!(heard.text, "Yes.");
        assert_eq!((heard.segments.len(), heard.words.len()), (1, 1));
    }
}
