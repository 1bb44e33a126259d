//! What an answer that is no success means: for the key, for its account, for the model, or for the question alone.
//!
//! What providers say in words may quote the question, and whoever asks must not be able to harm others by it. So words that
//! stand anywhere decide about nothing but this one question. A key is retired, and an account left alone, by the status, by
//! codes, which quote nothing, and by how a message begins at a provider that is known by its codes to say it so.

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{
    AskError, Limit,
    chunk::{message_in, reason_of},
};
use crate::{catalogue::Quirks, clients::retry_after};

/// What providers say with 402 and 403 where the question is the trouble, and not the key: `OpenRouter` moderates, and reckons
/// with the longest answer and with what a question may cost.
const QUESTION: [&str; 5] = [
    "moderation",
    "flagged",
    "fewer max_tokens",
    "tokens limit exceeded",
    "content policy",
];
/// What they say with 403 of rules, which may be broken by the question or by the account.
const RULES: [&str; 5] = [
    "terms of service",
    "security policy",
    "usage policy",
    "usage policies",
    "guidelines",
];
/// What they say where an account may not use a model, or nobody may from where we are.
const NO_SUCH: [&str; 6] = [
    "model_not_found",
    "model_permission",
    "access to model",
    "blocked at the",
    "location is not supported",
    "unsupported_country_region_territory",
];
/// Codes of a key that is not taken, where the status does not tell: Gemini says 400.
const BAD_KEY: [&str; 2] = ["api_key_invalid", "invalid_api_key"];
/// How Gemini's messages of that begin, and the code that they have at least.
const BAD_KEY_WORDS: [&str; 2] = ["api key not valid", "api key expired"];
const GEMINI_INVALID: &str = "invalid_argument";
/// The code of a restricted key of `OpenAI` that may not do this, and how its message begins, which has a code only now and
/// then.
const NO_SCOPE: &str = "missing_scope";
const NO_SCOPE_WORDS: &str = "you have insufficient permissions for this operation";
/// Codes with 429 where waiting does not help.
const NO_MONEY: [&str; 3] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
];
/// Gemini's code with 429, and what it says where an account has no quota for a model at all.
const GEMINI_EXHAUSTED: &str = "resource_exhausted";
const NO_QUOTA: &str = "limit: 0";
/// How `OpenRouter` begins where an account cannot pay for the longest answer, and what it says of how much it can pay for.
const DEAR: &str = "this request requires more credits";
const AFFORDED: &str = "can only afford ";

/// What a provider says of what went wrong, in small letters.
#[derive(Debug, Default)]
struct Complaint {
    /// Its message, which may quote the question.
    words: String,
    /// Its codes, which quote nothing.
    codes: Vec<String>,
    /// Whether it hands on what another one says, whom it asked with a key of its own.
    is_of_another: bool,
}

/// What is to be done.
enum Means {
    /// The key is not taken any more.
    Key,
    /// The key is not for this; it may be for other things.
    Barred,
    /// The account has asked too much.
    Limited,
    /// It is the question, or the model, as this status says.
    Refused(u16),
    /// It is the provider.
    Unavailable,
}

/// What an answer that is no success means for the key, its account, and the question.
pub fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    quirks: &Quirks,
    now: DateTime<Utc>,
) -> AskError {
    let code = status.as_u16();
    let reason = reason_of(body).unwrap_or_else(|| status.to_string());
    let is_page = body.trim_ascii_start().starts_with(b"<");
    let means = match code {
        // A page for people comes from something that stands before the provider.
        403 if is_page => Means::Unavailable,
        _ => Complaint::of_body(body).means(code),
    };
    match means {
        Means::Key => AskError::Key {
            status: code,
            reason,
        },
        Means::Barred => AskError::Barred {
            status: code,
            reason,
        },
        Means::Limited => AskError::Limited {
            reason,
            limit: Limit::read(headers, body, quirks, now),
        },
        Means::Refused(status) => AskError::Refused { status, reason },
        Means::Unavailable => AskError::Unavailable {
            reason: format!("{code}: {reason}"),
            retry_after: retry_after(headers, now),
        },
    }
}

/// The same of an error within a success; none where it is a failure like any other. Some say 200 before they know.
pub(super) fn within(error: &Value, status: u16, reason: &str) -> Option<AskError> {
    let reason = reason.to_owned();
    let means = match status {
        // What has begun to answer takes the key.
        403 => Means::Refused(status),
        400..=402 | 404 | 413 | 422 | 429 => Complaint::of(error).means(status),
        _ => return None,
    };
    Some(match means {
        Means::Key => AskError::Key { status, reason },
        Means::Barred => AskError::Barred { status, reason },
        Means::Limited => AskError::Limited {
            limit: Limit::of_error(error),
            reason,
        },
        Means::Refused(status) => AskError::Refused { status, reason },
        Means::Unavailable => return None,
    })
}

impl Complaint {
    fn of_body(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(value) => Self::of(&value),
            Err(_) => Self {
                words: String::from_utf8_lossy(body).trim().to_lowercase(),
                ..Self::default()
            },
        }
    }

    /// Of a body, or of the error in it. Everything may be of another type than it should be.
    fn of(value: &Value) -> Self {
        // Gemini puts its errors into a list.
        let value = value.get(0).unwrap_or(value);
        let error = value.get("error").unwrap_or(value);
        let codes = ["code", "type", "status"].iter().map(|name| &error[*name]);
        let details = error["details"].as_array().into_iter().flatten();
        let codes = codes.chain(details.map(|detail| &detail["reason"]));
        let another = error["metadata"]["provider_name"].as_str();
        Self {
            words: message_in(value)
                .unwrap_or_default()
                .trim_start()
                .to_lowercase(),
            codes: codes
                .filter_map(Value::as_str)
                .map(str::to_lowercase)
                .collect(),
            is_of_another: another.is_some_and(|name| !name.is_empty()),
        }
    }

    fn means(&self, status: u16) -> Means {
        match status {
            400 if self.is_of_bad_key() => Means::Key,
            // Of this model, or from here, nothing is to be had; the key may be good for others.
            400 | 403 if self.says(&NO_SUCH) => Means::Refused(404),
            401 | 403 if self.has(&[NO_SCOPE]) || self.words.starts_with(NO_SCOPE_WORDS) => {
                Means::Barred
            }
            // Nobody says anything of our key.
            401 if self.is_of_another => Means::Refused(404),
            402 | 403 if self.is_of_another => Means::Refused(status),
            402 if self.affords_nothing() => Means::Key,
            402 | 403 if self.says(&QUESTION) => Means::Refused(status),
            403 if self.says(&RULES) => Means::Barred,
            401..=403 => Means::Key,
            429 if self.has(&NO_MONEY) => Means::Key,
            429 if self.has_no_quota() => Means::Barred,
            429 => Means::Limited,
            400..=499 if status != 408 => Means::Refused(status),
            _ => Means::Unavailable,
        }
    }

    /// Whether one of these is its code.
    fn has(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    /// Whether one of these stands anywhere.
    fn says(&self, words: &[&str]) -> bool {
        let is_in = |text: &String| words.iter().any(|word| text.contains(word));
        is_in(&self.words) || self.codes.iter().any(is_in)
    }

    fn is_of_bad_key(&self) -> bool {
        let begins = || {
            BAD_KEY_WORDS
                .iter()
                .any(|words| self.words.starts_with(words))
        };
        self.has(&BAD_KEY) || (self.has(&[GEMINI_INVALID]) && begins())
    }

    /// Whether an account cannot pay for one token.
    fn affords_nothing(&self) -> bool {
        let told = self.words.strip_prefix(DEAR);
        let afforded = told.and_then(|told| told.split_once(AFFORDED));
        afforded.is_some_and(|(_, tokens)| tokens.starts_with('-') || is_nought(tokens))
    }

    /// Whether an account has no quota for a model, however long it waits.
    fn has_no_quota(&self) -> bool {
        let mut limits = self.words.split(NO_QUOTA).skip(1);
        self.has(&[GEMINI_EXHAUSTED]) && limits.any(|rest| !begins_with_digit(rest))
    }
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_nought(text: &str) -> bool {
    text.strip_prefix('0')
        .is_some_and(|rest| !begins_with_digit(rest))
}
