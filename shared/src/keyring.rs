//! Keys derived from `SECRET_KEY`: one per use, by HKDF (RFC 5869).
//!
//! Every ciphertext carries the id of the key that made it, so `SECRET_KEY` can be changed: the old value
//! moves to `SECRET_KEY_PREVIOUS` and goes on opening what it closed.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    digest, hkdf, hmac,
    signature::Ed25519KeyPair,
};
use secrecy::{ExposeSecret, SecretString};

/// First byte of a ciphertext; another layout gets another number.
const LAYOUT: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
/// How many bytes of a ciphertext tell under which key it is, and in which layout.
pub const HEAD_BYTES: usize = 1 + KEY_ID_BYTES;

/// Where a ciphertext lives. It is authenticated with it, so a row cannot borrow another row's secret.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Table name.
    pub table: &'a str,
    /// Primary key of the row.
    pub row: uuid::Uuid,
    /// Column name.
    pub column: &'a str,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        format!("{}\0{}\0{}", self.table, self.row, self.column).into_bytes()
    }
}

/// Why a ciphertext could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `SECRET_KEY` nor `SECRET_KEY_PREVIOUS` made it.
    #[error("no configured SECRET_KEY made this ciphertext (key id {0})")]
    UnknownKey(String),
    /// Cut, changed, or moved from another row.
    #[error("the ciphertext is damaged or belongs to another row")]
    Damaged,
}

#[derive(Clone)]
struct Master {
    id: [u8; KEY_ID_BYTES],
    prk: hkdf::Prk,
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Master {
    fn new(secret: &SecretString) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"baatcheet")
            .extract(secret.expose_secret().as_bytes());
        let mut master = Self {
            id: [0; KEY_ID_BYTES],
            prk,
        };
        let id: [u8; 32] = master.derive("key-id");
        master.id.copy_from_slice(&id[..KEY_ID_BYTES]);
        master
    }

    fn derive(&self, usage: &str) -> [u8; 32] {
        let mut key = [0; 32];
        self.prk
            .expand(&[usage.as_bytes()], Length(32))
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes are within HKDF's limit of 255 blocks");
        key
    }

    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &self.derive("seal"))
            .expect("the key has the cipher's length")
    }
}

/// The keys of this deployment; cheap to clone.
#[derive(Clone)]
pub struct Keyring(Arc<Vec<Master>>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

impl Keyring {
    /// Derives the keys: `current` closes and opens, `previous` only open.
    pub fn new(current: &SecretString, previous: &[SecretString]) -> Self {
        Self(Arc::new(
            std::iter::once(current)
                .chain(previous)
                .map(Master::new)
                .collect(),
        ))
    }

    /// Encrypts with AES-256-GCM and a random nonce.
    ///
    /// Layout: one byte of layout version, 4 of key id, 12 of nonce, then ciphertext and tag.
    pub fn seal(&self, place: &Place<'_>, plaintext: &[u8]) -> Vec<u8> {
        let master = &self.0[0];
        let mut body = plaintext.to_vec();
        let nonce = master
            .cipher()
            .seal_in_place_append_tag(Aad::from(place.aad()), &mut body)
            .expect("the plaintext is far below the cipher's limit of 64 GiB");
        let mut sealed = vec![LAYOUT];
        sealed.extend_from_slice(&master.id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Decrypts what [`Keyring::seal`] made for the same place.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] when the key is no longer configured, [`Error::Damaged`] for anything else.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (&layout, rest) = sealed.split_first().ok_or(Error::Damaged)?;
        if layout != LAYOUT || rest.len() < KEY_ID_BYTES + NONCE_BYTES {
            return Err(Error::Damaged);
        }
        let (id, rest) = rest.split_at(KEY_ID_BYTES);
        let (nonce, body) = rest.split_at(NONCE_BYTES);
        let master = self
            .0
            .iter()
            .find(|master| master.id == id)
            .ok_or_else(|| Error::UnknownKey(hex::encode(id)))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Damaged)?;
        let mut body = body.to_vec();
        let plaintext = master
            .cipher()
            .open_in_place(nonce, Aad::from(place.aad()), &mut body)
            .map_err(|_| Error::Damaged)?;
        Ok(plaintext.to_vec())
    }

    /// Seals anew, under the current key, what an earlier one sealed for the same place; none where it is under the
    /// current key already.
    ///
    /// # Errors
    /// As [`Keyring::open`]; what is under the current key already is not opened.
    pub fn reseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        let plaintext = self.open(place, sealed)?;
        Ok(Some(self.seal(place, &plaintext)))
    }

    /// Id of the key that closes.
    pub fn current_id(&self) -> [u8; KEY_ID_BYTES] {
        self.0[0].id
    }

    /// How every ciphertext begins that [`Keyring::seal`] makes now.
    pub fn current_head(&self) -> [u8; HEAD_BYTES] {
        let mut head = [LAYOUT; HEAD_BYTES];
        head[1..].copy_from_slice(&self.current_id());
        head
    }

    /// Whether [`Keyring::seal`] makes the like now: then the earlier keys are not needed for it.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.current_head())
    }
}

impl Keyring {
    /// Signs a message for one use, with the current key.
    pub fn sign(&self, usage: &str, message: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.0[0].derive(usage), message)
    }

    /// Whether a signature was made for this use and message by the current key or an earlier one; in constant time.
    pub fn verify(&self, usage: &str, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|master| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &master.derive(usage));
            hmac::verify(&key, message, signature).is_ok()
        })
    }
}

/// SHA-256 of what comes piece by piece.
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// SHA-256 of `bytes`; how tokens are kept at rest.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::default();
    hash.update(bytes);
    hash.finish()
}

/// HMAC-SHA256 of `message` under `key`.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    out
}

/// Ed25519 of `message` (RFC 8032), under the private key that `seed` stands for.
pub fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let key = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
    let mut out = [0; 64];
    out.copy_from_slice(key.sign(message).as_ref());
    out
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(current: &str, previous: &[&str]) -> Keyring {
        let previous: Vec<SecretString> = previous.iter().map(|&key| key.into()).collect();
        Keyring::new(&current.into(), &previous)
    }

    fn place(row: u128) -> Place<'static> {
        Place {
            table: "webhooks",
            row: uuid::Uuid::from_u128(row),
            column: "secret",
        }
    }

    /// RFC 8032 section 7.1, test 2.
    #[test]
    fn the_public_vector_of_ed25519_comes_out() {
        let mut seed = [0; 32];
        let text = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        hex::decode_to_slice(text, &mut seed).unwrap();
        assert_eq!(
            hex::encode(ed25519_sign(&seed, &[0x72])),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn a_sealed_secret_opens_only_in_its_own_row() {
        let keys = ring("a key of at least thirty-two bytes", &[]);
        let sealed = keys.seal(&place(1), b"whsec_x");
        assert_eq!(keys.open(&place(1), &sealed).unwrap(), b"whsec_x");
        assert!(matches!(keys.open(&place(2), &sealed), Err(Error::Damaged)));
        assert_ne!(sealed, keys.seal(&place(1), b"whsec_x"));
    }

    #[test]
    fn an_old_key_still_opens_and_a_forgotten_one_says_so() {
        let sealed = ring("the old key, thirty-two bytes long", &[]).seal(&place(1), b"secret");
        let both = ring(
            "the new key, thirty-two bytes long",
            &["the old key, thirty-two bytes long"],
        );
        assert_eq!(both.open(&place(1), &sealed).unwrap(), b"secret");
        let new = ring("the new key, thirty-two bytes long", &[]);
        assert!(matches!(
            new.open(&place(1), &sealed),
            Err(Error::UnknownKey(_))
        ));
    }

    #[test]
    fn what_an_old_key_sealed_goes_under_the_new_one_once() {
        let (old, new) = (
            "the old key, thirty-two bytes long",
            "the new key, thirty-two bytes long",
        );
        let sealed = ring(old, &[]).seal(&place(1), b"secret");
        let both = ring(new, &[old]);
        assert!(!both.is_current(&sealed));
        let anew = both.reseal(&place(1), &sealed).unwrap().unwrap();
        assert!(both.is_current(&anew) && anew.starts_with(&both.current_head()));
        assert_eq!(ring(new, &[]).open(&place(1), &anew).unwrap(), b"secret");
        assert_eq!(both.reseal(&place(1), &anew).unwrap(), None);

        let moved = both.reseal(&place(2), &sealed);
        assert!(matches!(moved, Err(Error::Damaged)));
        let forgotten = ring(new, &[]).reseal(&place(1), &sealed);
        assert!(matches!(forgotten, Err(Error::UnknownKey(_))));
    }

    #[test]
    fn a_signature_holds_for_its_use_only_and_outlives_its_key() {
        let old = ring("the old key, thirty-two bytes long", &[]);
        let signature = old.sign("urls", b"message");
        assert!(old.verify("urls", b"message", &signature));
        assert!(!old.verify("other", b"message", &signature));
        assert!(!old.verify("urls", b"other", &signature));
        let both = ring(
            "the new key, thirty-two bytes long",
            &["the old key, thirty-two bytes long"],
        );
        assert!(both.verify("urls", b"message", &signature));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_open_panic(bytes: Vec<u8>) {
            let keys = ring("a key of at least thirty-two bytes", &[]);
            let _ = keys.open(&place(1), &bytes);
            let _ = keys.reseal(&place(1), &bytes);
        }

        #[test]
        fn one_changed_bit_is_noticed(at in 0usize..60, bit in 0u8..8) {
            let keys = ring("a key of at least thirty-two bytes", &[]);
            let mut sealed = keys.seal(&place(1), &[7; 60]);
            sealed[at] ^= 1 << bit;
            proptest::prop_assert!(keys.open(&place(1), &sealed).is_err());
        }
    }
}
