//! Requests that may be sent again: under an `Idempotency-Key` they are carried out once, and answered alike.
//!
//! After the `Idempotency-Key` draft of the IETF's HTTPAPI working group: the key is a quoted string (bare ones are
//! taken too), the same key with another body is a 422, and one whose first request still runs is a 409.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method},
};
use shared::{
    database::Tx,
    ids::UserId,
    keyring::{Keyring, Sha256, sha256},
    models::idempotency_key::{self, Key, LIFETIME},
};

use crate::{
    answer::Answer,
    error::{Error, Result},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, in characters.
const KEY_MAX: usize = 255;
/// Largest answer that is kept, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Tokens are made there: an answer that holds them is not kept.
pub(crate) const EXCLUDED: &str = "/api/v1/auth/";

/// A request that its client may send again.
#[derive(Debug, Clone)]
pub(crate) struct Repeatable(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    key: HeaderValue,
    method: Method,
    path: String,
    /// SHA-256 of the body, once it was read; a request without one leaves it empty.
    body: OnceLock<[u8; 32]>,
}

impl Repeatable {
    /// What the header of a request says, if it has one and changes anything.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let key = request.headers().get(IDEMPOTENCY_KEY)?.clone();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let counts = !method.is_safe() && !path.starts_with(EXCLUDED);
        counts.then(|| {
            Self(Arc::new(Parts {
                key,
                method,
                path,
                body: OnceLock::new(),
            }))
        })
    }

    /// Remembers the body, by which a repetition is told from another request.
    pub(crate) fn read(&self, body: &[u8]) {
        self.read_as(sha256(body));
    }

    /// Like [`Self::read`], for a body that was never whole in memory.
    pub(crate) fn read_as(&self, fingerprint: [u8; 32]) {
        // The first reader has seen the body as it was sent.
        let _ = self.0.body.set(fingerprint);
    }

    /// Begins to carry the request out for `user`.
    ///
    /// # Errors
    /// [`Error::Repeated`] with the first answer, or why the key cannot be used.
    pub(crate) async fn begin(
        &self,
        tx: &mut Tx,
        keyring: &Keyring,
        user: UserId,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Once> {
        let text = parse(&self.0.key).ok_or_else(|| {
            Error::Malformed(format!(
                "the Idempotency-Key must be 1 to {KEY_MAX} visible ASCII characters"
            ))
        })?;
        let mut hash = Sha256::default();
        for part in [self.0.method.as_str(), &self.0.path, text] {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        let key = Key {
            user,
            hash: hash.finish(),
        };
        let fingerprint = *self.0.body.get_or_init(|| sha256(&[]));
        if !idempotency_key::lock(tx, &key).await? {
            return Err(Error::IdempotencyInProgress);
        }
        let Some(first) = idempotency_key::find(tx.orm(), &key, now - LIFETIME).await? else {
            return Ok(Once { key, fingerprint });
        };
        if !first.is_of(keyring, &fingerprint) {
            return Err(Error::IdempotencyKeyReused);
        }
        let body = first
            .open_body(keyring, &key)
            .map_err(anyhow::Error::from)?;
        let body = body.ok_or(Error::AnswerNotKept)?;
        Err(Error::Repeated(Box::new(Answer::stored(
            first.status,
            first.version,
            body,
        )?)))
    }
}

/// A request that is carried out now, and under this key not again.
#[derive(Debug)]
pub(crate) struct Once {
    key: Key,
    fingerprint: [u8; 32],
}

impl Once {
    /// Keeps the answer, in the transaction that it tells of.
    ///
    /// # Errors
    /// As the database fails.
    pub(crate) async fn keep(
        self,
        tx: &mut Tx,
        keyring: &Keyring,
        answer: &Answer,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<()> {
        let answer = answer.to_store(ANSWER_MAX_BYTES);
        Ok(idempotency_key::keep(tx, keyring, &self.key, self.fingerprint, answer, now).await?)
    }
}

/// The key, without the quotes of a structured field (RFC 8941 §3.3.3).
fn parse(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let is_good =
        (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_good.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_with_and_without_quotes() {
        for (header, key) in [
            ("\"abc-1\"", Some("abc-1")),
            ("abc-1", Some("abc-1")),
            ("\"\"", None),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(
                parse(&HeaderValue::from_str(header).unwrap()),
                key,
                "{header:?}"
            );
        }
        assert_eq!(
            parse(&HeaderValue::from_str(&"a".repeat(256)).unwrap()),
            None
        );
    }
}
