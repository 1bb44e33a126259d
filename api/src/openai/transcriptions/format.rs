//! What is said in a sound, in each of the forms that clients want.

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};
use shared::clients::transcriber::Transcribed;

use crate::{
    attachments::subtitles::{Cue, srt, vtt},
    extract::Json,
};

/// How it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Json,
    Text,
    VerboseJson,
    Srt,
    Vtt,
}

/// Which times are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) words: bool,
    pub(super) segments: bool,
}

impl Format {
    /// All of them, for people.
    pub(super) const KNOWN: &'static str = "'json', 'text', 'verbose_json', 'srt' or 'vtt'";

    /// The format of a name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "text" => Self::Text,
            "verbose_json" => Self::VerboseJson,
            "srt" => Self::Srt,
            "vtt" => Self::Vtt,
            _ => return None,
        })
    }
}

/// Writes what was said.
pub(super) fn write(format: Format, heard: &Transcribed, times: Times) -> Response {
    match format {
        Format::Json => {
            let mut answer = json!({ "text": heard.text.trim() });
            if let Some(usage) = usage(heard) {
                answer["usage"] = usage;
            }
            Json(answer).into_response()
        }
        Format::VerboseJson => Json(verbose(heard, times)).into_response(),
        Format::Text => plain(format!("{}\n", heard.text.trim())),
        Format::Srt => plain(srt(&cues(heard))),
        Format::Vtt => plain(vtt(&cues(heard))),
    }
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// What it is paid by, as the server says, or else by its length; none where nobody knows.
fn usage(heard: &Transcribed) -> Option<Value> {
    if heard.usage["type"].is_string() {
        return Some(heard.usage.clone());
    }
    let seconds = heard.seconds()?;
    Some(json!({ "type": "duration", "seconds": whole(seconds) }))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a length of a sound: not negative, and what is nonsense is cut"
)]
fn whole(seconds: f64) -> u64 {
    seconds.max(0.0).ceil() as u64
}

fn verbose(heard: &Transcribed, times: Times) -> Value {
    let seconds = heard.seconds();
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| {
        answer.insert(name.to_owned(), value);
    };
    put("task", json!("transcribe"));
    put(
        "language",
        json!(heard.language.as_deref().unwrap_or_default()),
    );
    put("duration", json!(seconds.unwrap_or_default()));
    put("text", json!(heard.text.trim()));
    if let Some(usage) = usage(heard) {
        put("usage", usage);
    }
    if times.segments {
        put("segments", segments(heard));
    }
    if times.words {
        put("words", json!(heard.words.as_deref().unwrap_or_default()));
    }
    Value::Object(answer)
}

/// Segments as the server wrote them, with what clients look for and it left out.
fn segments(heard: &Transcribed) -> Value {
    let known = heard.segments.clone().unwrap_or_else(|| one(heard));
    let known = known.into_iter().enumerate().map(|(index, segment)| {
        let mut whole = json!({
            "id": index, "seek": 0, "start": 0.0, "end": 0.0, "text": "", "tokens": [], "temperature": 0.0,
            "avg_logprob": 0.0, "compression_ratio": 1.0, "no_speech_prob": 0.0,
        });
        if let (Some(whole), Value::Object(told)) = (whole.as_object_mut(), segment) {
            whole.extend(told.into_iter().filter(|(_, value)| !value.is_null()));
        }
        whole
    });
    known.collect()
}

/// All of it as one segment.
fn one(heard: &Transcribed) -> Vec<Value> {
    let text = heard.text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    vec![json!({ "start": 0.0, "end": heard.seconds().unwrap_or_default(), "text": text })]
}

/// What is shown when: each segment by itself.
fn cues(heard: &Transcribed) -> Vec<Cue> {
    let segments = heard.segments.clone().unwrap_or_else(|| one(heard));
    let cues = segments.iter().filter_map(|segment| {
        let words: Vec<&str> = segment["text"].as_str()?.split_whitespace().collect();
        let start = millis(&segment["start"]);
        (!words.is_empty()).then(|| Cue {
            start,
            end: millis(&segment["end"]).max(start),
            lines: vec![words.join(" ")],
        })
    });
    cues.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time of a sound: not negative, and what is nonsense is cut"
)]
fn millis(seconds: &Value) -> u64 {
    let seconds = seconds.as_f64().unwrap_or_default();
    (seconds.max(0.0) * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(answer: Value) -> Transcribed {
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn subtitles_are_made_of_segments() {
        let heard = heard(json!({ "text": "Yes. No.", "duration": 3.2, "segments": [
            { "start": 0.0, "end": 1.5, "text": " Yes." }, { "start": 1.5, "end": 3.2, "text": " No <b>.\n" },
            { "start": 3.2, "end": 3.2, "text": " " } ] }));
        assert_eq!(
            srt(&cues(&heard)),
            "1\n00:00:00,000 --> 00:00:01,500\nYes.\n\n2\n00:00:01,500 --> 00:00:03,200\nNo ‹b›.\n\n"
        );
        assert!(vtt(&cues(&heard)).starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nYes.\n"));
    }

    #[test]
    fn what_it_is_paid_by_is_told_as_the_server_says() {
        let tokens = json!({ "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59 });
        for (answer, expected) in [
            (
                json!({ "text": "Yes.", "usage": tokens }),
                Some(tokens.clone()),
            ),
            (
                json!({ "text": "Yes.", "duration": 2.2, "usage": 7 }),
                Some(json!({ "type": "duration", "seconds": 3 })),
            ),
            (json!({ "text": "Yes." }), None),
        ] {
            assert_eq!(usage(&heard(answer)), expected);
        }
    }

    #[test]
    fn a_text_alone_is_one_segment() {
        let heard = heard(json!({ "text": " Yes. ", "duration": "2.5" }));
        let cues = cues(&heard);
        assert_eq!((cues.len(), cues[0].end), (1, 2_500));
        let times = Times {
            words: true,
            segments: true,
        };
        let verbose = verbose(&heard, times);
        assert_eq!(verbose["text"], "Yes.");
        assert_eq!(verbose["usage"]["seconds"], 3);
        assert_eq!(verbose["words"], json!([]));
        let segment = &verbose["segments"][0];
        for name in [
            "id",
            "seek",
            "start",
            "end",
            "text",
            "tokens",
            "temperature",
            "avg_logprob",
            "compression_ratio",
            "no_speech_prob",
        ] {
            assert!(!segment[name].is_null(), "{name}");
        }
    }
}
