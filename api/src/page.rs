//! Lists: a cursor in, a page out.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    error::Error,
    extract::{Fields, Rule},
};

/// Rows of a page, unless told otherwise.
pub(crate) const DEFAULT_LIMIT: u64 = 50;
/// Most rows of a page.
pub(crate) const MAX_LIMIT: u64 = 100;

/// How many rows a client wants: 1 to 100, 50 unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Limit::parse -> Rule)]
pub(crate) struct Limit(pub u64);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl Limit {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no number from 1 to 100.
    pub(crate) fn parse(text: &str) -> Result<Self, Rule> {
        match text.parse() {
            Ok(limit @ 1..=MAX_LIMIT) => Ok(Self(limit)),
            _ => Err(Rule::new(format!("must be a number from 1 to {MAX_LIMIT}"))),
        }
    }
}

/// A place in a list ordered by time and id: base64url of `["<time>","<id>"]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Sort key of the last row seen.
    pub at: DateTime<Utc>,
    /// Id of the last row seen.
    pub id: Uuid,
}

impl Cursor {
    /// Writes it.
    pub(crate) fn encode(self) -> String {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Micros, true);
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::json!([at, self.id]).to_string())
    }

    /// Reads what a client sends back; base64 is accepted too.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not one of ours.
    pub(crate) fn decode(text: &str) -> Result<Self, Error> {
        let bytes = [
            BASE64_URL_SAFE_NO_PAD,
            BASE64_URL_SAFE,
            BASE64_STANDARD_NO_PAD,
            BASE64_STANDARD,
        ]
        .iter()
        .find_map(|engine| engine.decode(text).ok());
        let parsed: Option<(DateTime<Utc>, Uuid)> =
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match parsed {
            Some((at, id)) if (1970..10_000).contains(&at.year()) => Ok(Self { at, id }),
            _ => Err(Error::Malformed("the cursor is not one of ours".to_owned())),
        }
    }
}

/// Part of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// How to get the next rows.
    pub pagination: Pagination,
}

/// How to get the next rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    /// Send it as `cursor`; null when there are no more rows.
    pub next_cursor: Option<String>,
    /// Whether there are more rows.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Makes a page of up to `limit` rows from one row more.
    pub(crate) fn new<Row>(
        mut rows: Vec<Row>,
        limit: Limit,
        cursor: impl Fn(&Row) -> Cursor,
    ) -> Self
    where
        Row: Into<T>,
    {
        let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| has_more)
            .map(|row| cursor(row).encode());
        let data = rows.into_iter().map(Into::into).collect();
        Self {
            data,
            pagination: Pagination {
                next_cursor,
                has_more,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back(micros in 0i64..4_000_000_000_000_000, id: u128) {
            let cursor = Cursor { at: DateTime::from_timestamp_micros(micros).unwrap(), id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
            let padded = BASE64_STANDARD.encode(BASE64_URL_SAFE_NO_PAD.decode(cursor.encode()).unwrap());
            prop_assert_eq!(Cursor::decode(&padded).unwrap(), cursor);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Cursor::decode(&text);
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let cursor = |_: &u8| Cursor {
            at: DateTime::UNIX_EPOCH,
            id: Uuid::nil(),
        };
        let page = Page::<u8>::new(vec![1, 2, 3], Limit(2), cursor);
        assert!(page.pagination.has_more && page.pagination.next_cursor.is_some());
        assert_eq!(page.data, [1, 2]);
        let page = Page::<u8>::new(vec![1, 2], Limit(2), cursor);
        assert_eq!(
            page.pagination,
            Pagination {
                next_cursor: None,
                has_more: false
            }
        );
    }
}
