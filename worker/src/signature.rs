//! Signatures of webhook requests.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use shared::keyring::hmac_sha256;

/// What every secret begins with (Standard Webhooks 1.0.0, "Signature scheme").
const SECRET_PREFIX: &str = "whsec_";

/// Signs by Standard Webhooks 1.0.0: `v1,` and base64 of the HMAC-SHA256 of `{id}.{timestamp}.{body}`, under the
/// bytes that the secret stands for.
///
/// `None` when the secret is not one of ours.
pub fn standard(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let key = BASE64_STANDARD
        .decode(secret.strip_prefix(SECRET_PREFIX)?)
        .ok()?;
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    Some(format!(
        "v1,{}",
        BASE64_STANDARD.encode(hmac_sha256(&key, &signed))
    ))
}

/// Signs for receivers that want the least: lower-case hex of the HMAC-SHA256 of the body, under the secret's text
/// as it was shown. It covers no time, so it does not guard against replay.
pub fn plain(secret: &str, body: &[u8]) -> String {
    hex::encode(hmac_sha256(secret.as_bytes(), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the official Python and Rust libraries (standard-webhooks/libraries).
    #[test]
    fn the_public_vectors_come_out() {
        let signature = standard(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signature.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let signature = standard(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
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
    fn a_secret_of_another_kind_signs_nothing() {
        assert_eq!(standard("whpk_xxxx", "id", 0, b""), None);
        assert_eq!(standard("whsec_not base64", "id", 0, b""), None);
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
