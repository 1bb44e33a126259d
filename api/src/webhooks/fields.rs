//! Fields of bodies of webhooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde_json::json;
use shared::models::webhook::{headers, pattern, secrets::Kind};
use url::Url;
use utoipa::openapi::{Array, ArrayBuilder, ObjectBuilder, Type};

use crate::{
    error::repeat,
    extract::{Fields, Rule},
    text::refuse,
};

/// Longest URL, in characters.
const URL_MAX: usize = 2048;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 500;
/// Most attempts a minute that can be asked for: more is no limit.
const RATE_MAX: u32 = 60_000;
/// Longest time of an attempt, in seconds (Standard Webhooks 1.0.0, "Request timeout").
const TIMEOUT_MAX: u32 = 30;
/// Longest time for which a former secret signs, in seconds.
const OVERLAP_MAX: u32 = 7 * 24 * 60 * 60;

/// A URL; whether we call it is the guard's decision.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = WebhookUrl::parse -> Rule)]
pub(super) struct WebhookUrl(pub(super) Url);

impl WebhookUrl {
    fn parse(text: &str) -> Result<Self, Rule> {
        let text = text.trim();
        if text.chars().count() > URL_MAX {
            return Err(Rule::new(format!("must have at most {URL_MAX} characters")));
        }
        text.parse()
            .map(Self)
            .map_err(|error| Rule::new(format!("is not a URL: {error}")))
    }
}

/// Names of events and patterns, each once, in alphabetical order.
#[derive(Debug)]
pub(super) struct EventPatterns(pub(super) Vec<String>);

impl Deserr<Fields> for EventPatterns {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        let known = pattern::known();
        let given = Vec::<String>::deserialize_from_value(value, location)?;
        if given.is_empty() {
            let rule = format!("must name at least one of {}", known.join(", "));
            return Err(refuse(Rule::new(rule), location));
        }
        let mut wrong = None;
        for (index, pattern) in given.iter().enumerate() {
            if known.contains(pattern) {
                continue;
            }
            let rule = unknown_event(pattern, &known);
            let at = location.push_index(index);
            match <Fields as MergeWithError<Rule>>::merge(wrong.take(), rule, at) {
                ControlFlow::Continue(fields) => wrong = Some(fields),
                ControlFlow::Break(fields) => return Err(fields),
            }
        }
        let patterns: BTreeSet<String> = given.into_iter().collect();
        wrong.map_or_else(|| Ok(Self(patterns.into_iter().collect())), Err)
    }
}

/// Says what somebody may have meant who names no event.
pub(crate) fn unknown_event(text: &str, known: &[String]) -> Rule {
    let near = pattern::near(text);
    let text = repeat(text);
    Rule::new(if near.is_empty() {
        format!("{text:?} is none of {}", known.join(", "))
    } else {
        format!("{text:?} is no event; near are {}", near.join(", "))
    })
}

/// How patterns are described.
pub(super) fn event_patterns() -> Array {
    let patterns = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(pattern::known()));
    ArrayBuilder::new()
        .items(patterns)
        .min_items(Some(1))
        .examples([json!(["image.ocr_completed", "message.*"])])
        .build()
}

/// A text for people.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Description::parse -> Rule)]
pub(super) struct Description(pub(super) String);

impl Description {
    fn parse(text: &str) -> Result<Self, Rule> {
        if text.chars().count() > DESCRIPTION_MAX {
            return Err(Rule::new(format!(
                "must have at most {DESCRIPTION_MAX} characters"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Headers by name.
#[derive(Debug, Default)]
pub(super) struct CustomHeaders(pub(super) BTreeMap<String, String>);

impl Deserr<Fields> for CustomHeaders {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        // Of any values: the map's own way drops what is wrong in it (deserr 0.6).
        let given = BTreeMap::<String, serde_json::Value>::deserialize_from_value(value, location)?;
        if given.len() > headers::MAX {
            let rule = format!("must have at most {} headers", headers::MAX);
            return Err(refuse(Rule::new(rule), location));
        }
        let (mut kept, mut wrong) = (BTreeMap::new(), None);
        for (name, value) in given {
            let checked = headers::check_name(&name).and_then(|name| {
                let value = value.as_str().ok_or("must be a text")?;
                headers::check_value(value).map(|()| (name, value.to_owned()))
            });
            let rule = match checked {
                Ok((kept_name, value)) => match kept.insert(kept_name, value) {
                    None => continue,
                    Some(_) => "is there twice".to_owned(),
                },
                Err(rule) => rule,
            };
            let at = location.push_key(&name);
            wrong = Some(take_cf_content(<Fields as MergeWithError<Rule>>::merge(
                wrong,
                Rule::new(rule),
                at,
            )));
        }
        wrong.map_or(Ok(Self(kept)), Err)
    }
}

/// Attempts a minute.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(u32) = RateLimit::parse -> Rule)]
pub(super) struct RateLimit(pub(super) i32);

impl RateLimit {
    fn parse(number: u32) -> Result<Self, Rule> {
        within(number, 1, RATE_MAX).map(Self)
    }
}

/// Seconds of an attempt.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(u32) = Timeout::parse -> Rule)]
pub(super) struct Timeout(pub(super) i16);

impl Timeout {
    fn parse(number: u32) -> Result<Self, Rule> {
        within(number, 1, TIMEOUT_MAX).map(Self)
    }
}

/// Seconds for which a former secret signs.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(u32) = Overlap::parse -> Rule)]
pub(super) struct Overlap(pub(super) u32);

impl Overlap {
    fn parse(number: u32) -> Result<Self, Rule> {
        within(number, 0, OVERLAP_MAX).map(Self)
    }
}

fn within<T: TryFrom<u32>>(number: u32, least: u32, most: u32) -> Result<T, Rule> {
    let rule = || Rule::new(format!("must be {least} to {most}"));
    if !(least..=most).contains(&number) {
        return Err(rule());
    }
    number.try_into().map_err(|_| rule())
}

/// What requests are signed with, besides the headers of our own.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(Vec<String>) = Signatures::parse -> Rule)]
pub(super) struct Signatures {
    /// Whether there is one of Ed25519.
    pub(super) is_asymmetric: bool,
}

impl Signatures {
    fn parse(names: Vec<String>) -> Result<Self, Rule> {
        let names: BTreeSet<String> = names.into_iter().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names[..] {
            ["v1"] => Ok(Self {
                is_asymmetric: false,
            }),
            ["v1", "v1a"] => Ok(Self {
                is_asymmetric: true,
            }),
            _ => Err(Rule::new("must be v1, or v1 and v1a")),
        }
    }
}

/// The signatures of an endpoint.
pub(super) fn signatures(is_asymmetric: bool) -> Vec<Kind> {
    let asymmetric = is_asymmetric.then_some(Kind::V1a);
    [Kind::V1].into_iter().chain(asymmetric).collect()
}
