//! Values of bodies: texts within limits, and changes of what may be absent.

use deserr::{DeserializeError, Deserr, IntoValue, Value, ValuePointerRef, take_cf_content};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use shared::language::{Language, MAX_LANGUAGES, UnknownLanguage};

use crate::extract::{Fields, Rule};

/// One line for people, of `MIN` to `MAX` characters, without spaces around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line<const MIN: usize, const MAX: usize>(pub String);

/// Any text of 1 to `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prose<const MAX: usize>(pub String);

/// Reads a text by a rule.
fn read<T, V: IntoValue>(
    value: Value<V>,
    location: ValuePointerRef<'_>,
    parse: impl FnOnce(String) -> Result<T, Rule>,
) -> Result<T, Fields> {
    let text = String::deserialize_from_value(value, location)?;
    parse(text).map_err(|rule| refuse(rule, location))
}

/// Says which rule the value at `location` breaks.
pub(crate) fn refuse(rule: Rule, location: ValuePointerRef<'_>) -> Fields {
    take_cf_content(<Fields as deserr::MergeWithError<Rule>>::merge(
        None, rule, location,
    ))
}

impl<const MIN: usize, const MAX: usize> Deserr<Fields> for Line<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        read(value, location, |text| {
            let text = text.trim();
            if !(MIN..=MAX).contains(&text.chars().count()) {
                return Err(Rule::new(format!("must have {MIN} to {MAX} characters")));
            }
            if text.chars().any(char::is_control) {
                return Err(Rule::new("must not contain control characters"));
            }
            Ok(Self(text.to_owned()))
        })
    }
}

impl<const MAX: usize> Deserr<Fields> for Prose<MAX> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        read(value, location, |text| {
            if (1..=MAX).contains(&text.chars().count()) {
                Ok(Self(text))
            } else {
                Err(Rule::new(format!("must have 1 to {MAX} characters")))
            }
        })
    }
}

/// What a `PATCH` does to a value that may be absent: a missing field keeps it, `null` takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Change<T> {
    /// The field is missing.
    #[default]
    Keep,
    /// It is null.
    Clear,
    /// It has a value.
    Set(T),
}

impl<T> Change<T> {
    /// Whether it changes nothing.
    pub(crate) fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The value after the change.
    pub(crate) fn apply<U>(self, before: Option<U>, value: impl FnOnce(T) -> U) -> Option<U> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(new) => Some(value(new)),
        }
    }
}

impl<T: Deserr<E>, E: DeserializeError> Deserr<E> for Change<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, E> {
        match value {
            Value::Null => Ok(Self::Clear),
            value => T::deserialize_from_value(value, location).map(Self::Set),
        }
    }
}

/// An id as a field of a body or a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id<T>(pub T);

impl<T: std::str::FromStr> Deserr<Fields> for Id<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        read(value, location, |text| {
            text.parse()
                .map(Self)
                .map_err(|_| Rule::new("must be a UUID"))
        })
    }
}

/// A value of `T` as a parameter of a query, as serde reads it: from its text, or from the number or truth that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Param<T>(pub T);

impl<T: DeserializeOwned> Param<T> {
    fn parse(text: String) -> Result<Self, Rule> {
        let scalar = match serde_json::from_str(&text) {
            Ok(scalar @ (Json::Bool(_) | Json::Number(_))) => scalar,
            _ => Json::Null,
        };
        serde_json::from_value(text.into())
            .or_else(|error| serde_json::from_value(scalar).map_err(|_| error))
            .map(Self)
            .map_err(|error| {
                let error = error.to_string();
                let expected = error.rsplit_once("expected ");
                Rule::new(format!(
                    "must be {}",
                    expected.map_or("another value", |(_, expected)| expected)
                ))
            })
    }
}

impl<T: DeserializeOwned> Deserr<Fields> for Param<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        read(value, location, Self::parse)
    }
}

/// Languages of a text: codes, tags or names of Tesseract's data, joined by `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Languages(Vec<Language>);

impl Languages {
    /// Reads them. Whether a worker can read them too is found out there.
    ///
    /// # Errors
    /// When one is not known here, or when there are too many.
    pub(crate) fn parse(text: &str) -> Result<Self, Rule> {
        let languages = Language::parse_all(text).map_err(|error| Rule::new(error.to_string()))?;
        if languages.len() > MAX_LANGUAGES {
            return Err(Rule::new(format!(
                "must be at most {MAX_LANGUAGES} languages"
            )));
        }
        Ok(Self(languages))
    }

    /// As they are stored.
    pub(crate) fn join(&self) -> String {
        Language::join(&self.0)
    }
}

impl Languages {
    /// The language, if there is just one.
    pub(crate) fn only(&self) -> Option<Language> {
        match self.0[..] {
            [language] => Some(language),
            _ => None,
        }
    }
}

/// The language that somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpokenLanguage(pub(crate) Language);

impl SpokenLanguage {
    fn parse(text: &str) -> Result<Self, Rule> {
        let language: Language = text
            .parse()
            .map_err(|error: UnknownLanguage| Rule::new(error.to_string()))?;
        match language.code() {
            Some(_) => Ok(Self(language)),
            None => Err(Rule::new("is a script, which nobody speaks")),
        }
    }
}

impl Deserr<Fields> for SpokenLanguage {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        read(value, location, |text| Self::parse(&text))
    }
}

impl Deserr<Fields> for Languages {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        read(value, location, |text| Self::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::queue::Queue;

    use super::*;
    use crate::{error::Error, extract};

    #[derive(Debug, Deserr)]
    #[deserr(error = Fields, deny_unknown_fields)]
    struct Body {
        #[deserr(default)]
        line: Change<Line<2, 4>>,
        #[deserr(default)]
        prose: Change<Prose<3>>,
    }

    #[test]
    fn a_missing_field_keeps_and_null_takes_away() {
        let body: Body = extract::read(json!({ "prose": null })).unwrap();
        assert!(body.line.is_keep());
        assert_eq!(body.line.apply(Some(1), |_| 2), Some(1));
        assert_eq!(body.prose.apply(Some(1), |_| 2), None);
        let body: Body = extract::read(json!({ "line": " abc ", "prose": " \n" })).unwrap();
        assert_eq!(body.line, Change::Set(Line("abc".to_owned())));
        assert_eq!(body.prose, Change::Set(Prose(" \n".to_owned())));
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(extract::read::<Body>(json!({ "line": "नमः", "prose": "नमः" })).is_ok());
        let Err(Error::Invalid(fields)) =
            extract::read::<Body>(json!({ "line": "a\nb", "prose": "नमस्ते" }))
        else {
            panic!("it was taken");
        };
        let pointers: Vec<&str> = fields.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/line", "/prose"]);
    }

    #[test]
    fn a_parameter_is_one_of_its_type() {
        let read = |text: &str| Param::<Queue>::parse(text.to_owned());
        assert_eq!(read("ocr").unwrap().0, Queue::Ocr);
        for bad in ["oct", "", "0", "null", "\"ocr\"", "{\"ocr\":null}"] {
            let rule = read(bad).unwrap_err().0;
            assert!(rule.starts_with("must be one of `ocr`, `audio`"), "{rule}");
        }
        let read = |text: &str| Param::<bool>::parse(text.to_owned());
        assert!(read("true").unwrap().0 && !read("false").unwrap().0);
        assert_eq!(read("yes").unwrap_err().0, "must be a boolean");
        let read = |text: &str| Param::<i64>::parse(text.to_owned());
        assert_eq!(read("-7").unwrap().0, -7);
        assert_eq!(read("7.5").unwrap_err().0, "must be i64");
    }

    #[test]
    fn languages_are_known_ones_joined_by_plus() {
        for good in [
            "en",
            "eng",
            "eng+hin",
            "en + hi",
            "chi_sim",
            "Devanagari",
            "hi-IN",
        ] {
            assert!(Languages::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "e",
            "eng+",
            "-l",
            "../eng",
            "eng hin",
            "tlh",
            "en+hi+ur+bn+ar+fa",
        ] {
            assert!(Languages::parse(bad).is_err(), "{bad}");
        }
    }
}
