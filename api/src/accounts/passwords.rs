//! Hashing passwords: Argon2id, off the async threads, one per core at a time.

use std::sync::Arc;

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Argon2id of a random password that nobody knows: what is verified where there is no account, so that the time
/// of an answer does not tell whether there is one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dGhlcmUgaXMgbm9ib2R5IQ$6wN5HvxAlMYXPDE7hPBrkJr7nW9qYVbxMHPBYp2ESbM";

async fn off_the_async_threads<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(|error| Error::Internal(error.into()))?;
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        work()
    })
    .await
    .map_err(|error| Error::Internal(error.into()))
}

/// Hashes a password, in PHC string format.
pub(super) async fn hash(slots: &Arc<Semaphore>, password: SecretString) -> Result<String> {
    off_the_async_threads(slots, move || {
        Argon2::default()
            .hash_password(password.expose_secret().as_bytes())
            .map(|hash| hash.to_string())
    })
    .await?
    .map_err(|error| Error::Internal(anyhow::anyhow!("cannot hash a password: {error}")))
}

/// Whether the password is the one that was hashed. Without a hash it takes as long, and is not.
pub(super) async fn verify(
    slots: &Arc<Semaphore>,
    password: SecretString,
    hash: Option<String>,
) -> Result<bool> {
    off_the_async_threads(slots, move || {
        let password = password.expose_secret().as_bytes();
        is_right(hash.as_deref(), |hash| {
            Argon2::default().verify_password(password, hash).is_ok()
        })
    })
    .await
}

/// Verifies once, whether or not there is a hash.
fn is_right(hash: Option<&str>, verify: impl FnOnce(&str) -> bool) -> bool {
    let verified = verify(hash.unwrap_or(NOBODY));
    hash.is_some() && verified
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let slots = Arc::new(Semaphore::new(1));
        let hash = hash(&slots, "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            verify(&slots, "correct horse".into(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !verify(&slots, "wrong horse".into(), Some(hash))
                .await
                .unwrap()
        );
        assert!(!verify(&slots, "correct horse".into(), None).await.unwrap());
    }

    #[test]
    fn a_password_is_verified_where_there_is_no_account_too() {
        let mut verified = Vec::new();
        for hash in [Some("a hash"), None] {
            let right = is_right(hash, |hash| {
                verified.push(hash.to_owned());
                true
            });
            assert_eq!(right, hash.is_some());
        }
        assert_eq!(verified, ["a hash", NOBODY]);
    }

    #[test]
    fn the_hash_of_nobody_can_be_verified_against() {
        let hash = argon2::PasswordHash::new(NOBODY).unwrap();
        assert_eq!(hash.algorithm.as_str(), "argon2id");
    }
}
