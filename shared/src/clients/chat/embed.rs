//! Vectors of texts, by `OpenAI`'s protocol.
//!
//! Source: `OpenAI`'s reference of `POST /embeddings`, and what Gemini's compatible endpoint and `OpenRouter` say of
//! theirs, read in November 2026.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{AnswerError, AskError, Models, chunk::reason_of, cut};
use crate::{catalogue::Extra, config::ProviderConfig};

/// Largest answer: 2,048 vectors of 3,072 numbers have 34 MB as base64.
const MAX_ANSWER_BYTES: usize = 96 << 20;
/// What is parsed where others wait; more takes milliseconds.
const AT_ONCE_BYTES: usize = 256 << 10;
/// Bytes of a number of a vector.
const NUMBER_BYTES: usize = 4;

/// What vectors are wanted of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// The model, as the provider names it.
    pub model: String,
    /// A text, a list of texts, tokens, or a list of lists of tokens; checked by whoever asks.
    pub input: Value,
    /// How many numbers a vector shall have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// The vectors, in the order of what they are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// As many as were wanted.
    pub vectors: Vec<Vector>,
    /// Tokens that were read, if the provider tells.
    pub tokens: Option<u32>,
    /// What the provider says that it costs, in millionths of a US dollar: most say nothing.
    pub cost_microusd: Option<i64>,
}

/// A vector.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// Its numbers.
    Numbers(Vec<f32>),
    /// The same as base64 of their bytes, the least one first.
    Base64(String),
}

impl<'de> Deserialize<'de> for Vector {
    /// By hand, as there may be millions of numbers, which nobody must keep twice.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers, or base64 of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vector, E> {
                Ok(Vector::Base64(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vector, A::Error> {
                let mut all = Vec::new();
                while let Some(number) = numbers.next_element()? {
                    all.push(number);
                }
                Ok(Vector::Numbers(all))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    embedding: &'a Embedding,
    encoding_format: &'static str,
}

/// What comes; everything may be of another type than it should be.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Vec<Datum>,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Datum {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vector,
}

impl Models {
    /// Has vectors made; `wanted` of them.
    ///
    /// # Errors
    /// See [`AskError`] where the provider refuses, and [`AnswerError`] where what it answers is no such thing.
    pub async fn embed(
        &self,
        provider: &ProviderConfig,
        key: &SecretString,
        embedding: &Embedding,
        wanted: usize,
    ) -> Result<Result<Embedded, AnswerError>, AskError> {
        let encoding_format = if provider.quirks.takes(Extra::Base64Embeddings) {
            "base64"
        } else {
            "float"
        };
        let body = Body {
            embedding,
            encoding_format,
        };
        let response = self.post(provider, key, "embeddings", &body).await?;
        let mut read = Vec::new();
        let mut pieces = response.bytes_stream();
        loop {
            let piece = match tokio::time::timeout(self.silence, pieces.next()).await {
                Err(_) => return Ok(Err(AnswerError::Silent(self.silence))),
                Ok(None) => break,
                Ok(Some(Err(_))) => return Ok(Err(AnswerError::Cut)),
                Ok(Some(Ok(piece))) => piece,
            };
            read.extend_from_slice(&piece);
            if read.len() > MAX_ANSWER_BYTES {
                return Ok(Err(AnswerError::TooLong));
            }
        }
        if read.len() <= AT_ONCE_BYTES {
            return Ok(parse(&read, wanted));
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&read, wanted)).await;
        Ok(parsed.unwrap_or_else(|error| Err(AnswerError::Unreadable(error.to_string()))))
    }
}

fn parse(body: &[u8], wanted: usize) -> Result<Embedded, AnswerError> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| AnswerError::Unreadable(cut(&error.to_string())))?;
    if !answer.error.is_null() {
        let reason = reason_of(body).unwrap_or_default();
        let code = answer.error["code"].as_u64();
        return Err(AnswerError::Said(
            reason,
            code.and_then(|code| u16::try_from(code).ok()),
        ));
    }
    let mut data = answer.data;
    // They are in order, unless they say otherwise.
    data.sort_by_key(|datum| datum.index.unwrap_or_default());
    let vectors: Vec<Vector> = data.into_iter().map(|datum| datum.embedding).collect();
    if vectors.len() != wanted || vectors.iter().any(|vector| !vector.is_sound()) {
        let told = format!(
            "{} vectors came, and {wanted} sound ones were wanted",
            vectors.len()
        );
        return Err(AnswerError::Unreadable(told));
    }
    let tokens = answer.usage["prompt_tokens"]
        .as_u64()
        .or(answer.usage["total_tokens"].as_u64())
        .filter(|tokens| *tokens > 0);
    Ok(Embedded {
        vectors,
        tokens: tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
        cost_microusd: super::chunk::cost(&answer.usage),
    })
}

impl Vector {
    fn is_sound(&self) -> bool {
        match self {
            Self::Numbers(numbers) => !numbers.is_empty(),
            Self::Base64(text) => STANDARD
                .decode(text)
                .is_ok_and(|bytes| !bytes.is_empty() && bytes.len().is_multiple_of(NUMBER_BYTES)),
        }
    }

    /// Its numbers.
    #[must_use]
    pub fn into_numbers(self) -> Vec<f32> {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).unwrap_or_default();
                let numbers = bytes.as_chunks::<NUMBER_BYTES>().0.iter();
                numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
        }
    }

    /// Its numbers as base64.
    #[must_use]
    pub fn into_base64(self) -> String {
        match self {
            Self::Base64(text) => text,
            Self::Numbers(numbers) => {
                let bytes: Vec<u8> = numbers
                    .iter()
                    .flat_map(|number| number.to_le_bytes())
                    .collect();
                STANDARD.encode(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_in_their_order_whatever_their_form() {
        let one = Vector::Numbers(vec![1.0, -0.5]);
        let text = one.clone().into_base64();
        assert_eq!(text, "AACAPwAAAL8=");
        assert_eq!(Vector::Base64(text.clone()).into_numbers(), [1.0, -0.5]);
        let body = format!(
            r#"{{"object":"list","data":[{{"index":1,"embedding":[0.25]}},{{"index":0,"embedding":"{text}"}}],
                "usage":{{"prompt_tokens":7,"total_tokens":7,"cost":0.00001}}}}"#
        );
        let read = parse(body.as_bytes(), 2).unwrap();
        assert_eq!(
            read.vectors,
            [Vector::Base64(text), Vector::Numbers(vec![0.25])]
        );
        assert_eq!((read.tokens, read.cost_microusd), (Some(7), Some(10)));
    }

    #[test]
    fn what_is_no_such_answer_is_an_error() {
        for (body, told) in [
            ("{}", "0 vectors"),
            ("nonsense", "cannot be read"),
            (r#"{"data":[{"embedding":[]}]}"#, "cannot be read"),
            (r#"{"data":[{"embedding":"AAA="}]}"#, "cannot be read"),
            (
                r#"{"error":{"message":"overloaded","code":503}}"#,
                "overloaded",
            ),
        ] {
            let error = parse(body.as_bytes(), 1).unwrap_err().to_string();
            assert!(error.contains(told), "{body}: {error}");
        }
    }
}
