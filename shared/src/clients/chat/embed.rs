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

use super::{
    AnswerError, AskError, Models,
    chunk::{count, error_in},
    cut,
};
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
        let dimensions = embedding.dimensions;
        if read.len() <= AT_ONCE_BYTES {
            return Ok(parse(&read, wanted, dimensions));
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&read, wanted, dimensions)).await;
        Ok(parsed.unwrap_or_else(|error| Err(AnswerError::Unreadable(error.to_string()))))
    }
}

fn parse(body: &[u8], wanted: usize, dimensions: Option<u32>) -> Result<Embedded, AnswerError> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| AnswerError::Unreadable(cut(&error.to_string())))?;
    if let Some((reason, refusal)) = error_in(&answer.error) {
        return Err(AnswerError::Said(reason, refusal.map(Box::new)));
    }
    let came = answer.data.len();
    let unreadable = || {
        let told =
            format!("{came} vectors came, and {wanted} sound ones of one length were wanted");
        AnswerError::Unreadable(told)
    };
    let vectors = in_order(answer.data).filter(|vectors| vectors.len() == wanted);
    let vectors = vectors.ok_or_else(unreadable)?;
    let mut lengths = vectors.iter().map(Vector::length);
    let length = lengths.next().flatten().ok_or_else(unreadable)?;
    if lengths.any(|other| other != Some(length)) {
        return Err(unreadable());
    }
    if let Some(asked) = dimensions.filter(|asked| usize::try_from(*asked) != Ok(length)) {
        let told = format!("its vectors have {length} numbers, and not {asked}");
        return Err(AnswerError::Unwanted(told));
    }
    let told = |name: &str| count(&answer.usage[name]).filter(|tokens| *tokens > 0);
    Ok(Embedded {
        vectors,
        tokens: told("prompt_tokens").or_else(|| told("total_tokens")),
        cost_microusd: super::chunk::cost(&answer.usage),
    })
}

/// Vectors in the order of what they are of; none where their places are not one each. They are in order, unless they say
/// otherwise. Gemini leaves a place out that is 0.
fn in_order(mut data: Vec<Datum>) -> Option<Vec<Vector>> {
    if data.iter().any(|datum| datum.index.is_some()) {
        data.sort_by_key(Datum::place);
        let mut places = data.iter().map(Datum::place).enumerate();
        if places.any(|(place, told)| place != told) {
            return None;
        }
    }
    Some(data.into_iter().map(|datum| datum.embedding).collect())
}

impl Datum {
    fn place(&self) -> usize {
        self.index.unwrap_or_default()
    }
}

impl Vector {
    /// How many numbers it has; none where there is none, or one that is no number.
    fn length(&self) -> Option<usize> {
        let length = match self {
            Self::Numbers(numbers) => {
                let are_sound = numbers.iter().all(|number| number.is_finite());
                are_sound.then_some(numbers.len())?
            }
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (numbers, rest) = bytes.as_chunks::<NUMBER_BYTES>();
                let mut numbers_in = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
                let are_sound = rest.is_empty() && numbers_in.all(f32::is_finite);
                are_sound.then_some(numbers.len())?
            }
        };
        (length > 0).then_some(length)
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
            r#"{{"object":"list","data":[{{"index":1,"embedding":[0.25,1]}},{{"index":0,"embedding":"{text}"}}],
                "usage":{{"prompt_tokens":7,"total_tokens":7,"cost":0.00001}}}}"#
        );
        let read = parse(body.as_bytes(), 2, None).unwrap();
        assert_eq!(
            read.vectors,
            [Vector::Base64(text), Vector::Numbers(vec![0.25, 1.0])]
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
            let error = parse(body.as_bytes(), 1, None).unwrap_err().to_string();
            assert!(error.contains(told), "{body}: {error}");
        }
    }

    /// What a list of vectors is read as.
    fn read(data: &Value, dimensions: Option<u32>) -> Result<Vec<Vec<f32>>, AnswerError> {
        let body = serde_json::json!({ "data": data }).to_string();
        let read = parse(body.as_bytes(), 2, dimensions)?;
        Ok(read.vectors.into_iter().map(Vector::into_numbers).collect())
    }

    #[test]
    fn each_vector_has_a_place_of_its_own() {
        let at = |places: [Value; 2]| {
            let [first, second] = places;
            let data = serde_json::json!([{ "index": first, "embedding": [1] },
                                          { "index": second, "embedding": [2] }]);
            read(&data, None)
        };
        let place = |place: usize| serde_json::json!(place);
        let none = || Value::Null;
        for (places, first) in [
            ([place(0), place(1)], 1.0),
            ([place(1), place(0)], 2.0),
            ([none(), none()], 1.0),
            ([none(), place(1)], 1.0),
            ([place(1), none()], 2.0),
        ] {
            let told = format!("{places:?}");
            let read = at(places).unwrap();
            assert_eq!(read[0], [first], "{told}");
        }
        for places in [
            [place(0), place(0)],
            [place(1), place(2)],
            [place(0), place(7)],
            [place(0), none()],
            [place(1), place(1)],
            [serde_json::json!(-1), place(1)],
            [serde_json::json!("0"), place(1)],
        ] {
            let told = format!("{places:?}");
            let error = at(places).unwrap_err();
            assert!(
                matches!(error, AnswerError::Unreadable(_)),
                "{told}: {error}"
            );
        }
    }

    #[test]
    fn vectors_have_one_length_and_finite_numbers() {
        let numbers = |numbers: &[f32]| Vector::Numbers(numbers.to_vec()).into_base64();
        let data = |first: Value, second: Value| serde_json::json!([{ "embedding": first }, { "embedding": second }]);
        let text = |vector: &[f32]| serde_json::json!(numbers(vector));
        let two = || serde_json::json!([1, 2]);
        for wrong in [
            data(two(), serde_json::json!([1])),
            data(two(), text(&[1.0])),
            data(two(), serde_json::json!([1, 1e300])),
            data(two(), text(&[1.0, f32::NAN])),
            data(two(), text(&[1.0, f32::INFINITY])),
            data(serde_json::json!([]), serde_json::json!([])),
            data(two(), serde_json::json!([1, null])),
        ] {
            let error = read(&wrong, None).unwrap_err();
            assert!(
                matches!(error, AnswerError::Unreadable(_)),
                "{wrong}: {error}"
            );
        }
        let right = data(two(), text(&[3.0, 4.0]));
        assert_eq!(read(&right, Some(2)).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        // Whoever asks for a length that a provider does not know must not make it look broken.
        let error = read(&right, Some(3)).unwrap_err();
        assert!(matches!(error, AnswerError::Unwanted(_)) && !error.is_failure());
    }

    #[test]
    fn a_nonsense_number_of_tokens_is_none() {
        for (tokens, expected) in [
            ("7", Some(7)),
            ("0", None),
            ("-1", None),
            ("1e300", None),
            ("4294967296", None),
        ] {
            let body = format!(
                r#"{{"data":[{{"embedding":[1]}}],"usage":{{"prompt_tokens":{tokens},"cost":-1}}}}"#
            );
            let read = parse(body.as_bytes(), 1, None).unwrap();
            assert_eq!(
                (read.tokens, read.cost_microusd),
                (expected, None),
                "{body}"
            );
        }
    }
}
