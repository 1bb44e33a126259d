//! Signatures of webhook requests.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use shared::keyring::{ed25519_sign, hmac_sha256};

/// What every secret begins with (Standard Webhooks 1.0.0, "Signature scheme").
const SECRET_PREFIX: &str = "whsec_";

/// Signs by Standard Webhooks 1.0.0, for `webhook-signature`: a `v1` under each secret, then a `v1a` under each Ed25519
/// seed, in the order given and with a space between them. A receiver takes a request if one of them is right.
///
/// `None` when there is nothing to sign with, or when a secret is not one of ours.
pub fn header(
    secrets: &[String],
    seeds: &[[u8; 32]],
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> Option<String> {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let mut signatures = Vec::with_capacity(secrets.len() + seeds.len());
    for secret in secrets {
        signatures.push(v1(secret, &signed)?);
    }
    signatures.extend(seeds.iter().map(|seed| v1a(seed, &signed)));
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

/// HMAC-SHA256 under the bytes that the secret stands for.
fn v1(secret: &str, signed: &[u8]) -> Option<String> {
    let key = BASE64_STANDARD
        .decode(secret.strip_prefix(SECRET_PREFIX)?)
        .ok()?;
    // Anybody could sign under an empty one.
    (!key.is_empty()).then(|| entry("v1", &hmac_sha256(&key, signed)))
}

/// Ed25519, for receivers that keep no secret.
fn v1a(seed: &[u8; 32], signed: &[u8]) -> String {
    entry("v1a", &ed25519_sign(seed, signed))
}

fn entry(version: &str, signature: &[u8]) -> String {
    format!("{version},{}", BASE64_STANDARD.encode(signature))
}

/// Signs for receivers that want the least: lower-case hex of the HMAC-SHA256 of the body, under the secret's text
/// as it was shown. It covers no time, so it does not guard against replay.
pub fn plain(secret: &str, body: &[u8]) -> String {
    hex::encode(hmac_sha256(secret.as_bytes(), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    /// Of the official Python library (standard-webhooks/libraries).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    /// Of Svix' server (`test_asymmetric_key_signing`): the seed, and the public key behind it.
    const KEY_PAIR: &str =
        "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const V1A: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

    fn seed() -> [u8; 32] {
        BASE64_STANDARD.decode(KEY_PAIR).unwrap()[..32]
            .try_into()
            .unwrap()
    }

    fn signed(secrets: &[&str], seeds: &[[u8; 32]]) -> Option<String> {
        let secrets: Vec<String> = secrets.iter().copied().map(str::to_owned).collect();
        header(&secrets, seeds, ID, TIMESTAMP, BODY)
    }

    #[test]
    fn the_public_vectors_come_out() {
        assert_eq!(signed(&[SECRET], &[]).unwrap(), V1);
        assert_eq!(signed(&[], &[seed()]).unwrap(), V1A);
        // Of the official Rust library.
        let signature = header(
            &["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned()],
            &[],
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            br#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(
            signature.unwrap(),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn every_secret_and_every_seed_signs_in_their_order() {
        let former = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let list = signed(&[SECRET, former], &[seed(), [7; 32]]).unwrap();
        let list: Vec<&str> = list.split(' ').collect();
        let of_former = signed(&[former], &[]).unwrap();
        let of_other_seed = signed(&[], &[[7; 32]]).unwrap();
        assert_eq!(list, [V1, &of_former, V1A, &of_other_seed]);
        // A receiver may cut each at its comma, and stumbles where there is none.
        for entry in list {
            assert_eq!(entry.matches(',').count(), 1, "{entry}");
        }
    }

    #[test]
    fn what_is_not_one_of_our_secrets_signs_nothing() {
        for secret in ["", "whpk_xxxx", "whsec_not base64", "whsec_"] {
            assert_eq!(signed(&[secret], &[]), None, "{secret:?}");
            assert_eq!(signed(&[SECRET, secret], &[seed()]), None, "{secret:?}");
        }
        assert_eq!(signed(&[], &[]), None);
    }

    /// Computed with `printf '%s' body | openssl dgst -sha256 -hmac whsec_key`.
    #[test]
    fn the_plain_signature_is_what_openssl_gives() {
        assert_eq!(
            plain("whsec_key", b"body"),
            "b27069c6a0307eb3b2c02381bfb493d36d02d82488463d11c01d4eca61cb9f2a"
        );
    }
}
