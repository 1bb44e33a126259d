//! Cloudinary's signatures: of calls, and of URLs at which it delivers.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::SignatureAlgorithm;

/// Bytes of the digest in a URL: 8 letters of base64.
const URL_DIGEST_BYTES: usize = 6;

/// Signs with the secret of an account.
pub(super) struct Signer {
    secret: SecretString,
    algorithm: SignatureAlgorithm,
}

impl Signer {
    pub(super) fn new(secret: SecretString, algorithm: SignatureAlgorithm) -> Self {
        Self { secret, algorithm }
    }

    /// Signs the parameters of a call, all but `file`, `api_key`, `cloud_name` and `resource_type`
    /// (<https://cloudinary.com/documentation/authentication_signatures>, read on 2026-11-28). An `&` in a value is
    /// escaped, as Cloudinary's own libraries do since 2025: else one value could be read as two.
    pub(super) fn call(&self, parameters: &[(&str, String)]) -> String {
        let mut parameters: Vec<String> = parameters
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={value}").replace('&', "%26"))
            .collect();
        parameters.sort_unstable();
        hex::encode(self.digest(&parameters.join("&")))
    }

    /// Signs what follows the signature in the path of a URL, but for the version
    /// (<https://cloudinary.com/documentation/delivery_url_signatures>, read on 2026-11-28).
    pub(super) fn delivery(&self, path: &str) -> String {
        let digest = self.digest(path);
        let digest = &digest.as_ref()[..URL_DIGEST_BYTES];
        format!("s--{}--", BASE64_URL_SAFE_NO_PAD.encode(digest))
    }

    /// Not an HMAC: Cloudinary appends the secret.
    fn digest(&self, text: &str) -> digest::Digest {
        let mut context = digest::Context::new(match self.algorithm {
            SignatureAlgorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            SignatureAlgorithm::Sha256 => &SHA256,
        });
        context.update(text.as_bytes());
        context.update(self.secret.expose_secret().as_bytes());
        context.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secret: &str, algorithm: SignatureAlgorithm) -> Signer {
        Signer::new(secret.into(), algorithm)
    }

    fn parameters(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|&(name, value)| (name, value.to_owned()))
            .collect()
    }

    /// The example of <https://cloudinary.com/documentation/authentication_signatures>, read on 2026-11-28.
    #[test]
    fn a_call_is_signed_as_in_the_documentation() {
        let upload = parameters(&[
            ("timestamp", "1315060510"),
            ("public_id", "sample_image"),
            ("eager", "w_400,h_300,c_pad|w_260,h_200,c_crop"),
        ]);
        assert_eq!(
            signer("abcd", SignatureAlgorithm::Sha1).call(&upload),
            "bfd09f95f331f558cbd1320e67aa8d488770583e"
        );
    }

    /// `test_api_sign_request_*` of Cloudinary's library for Python (pycloudinary 1.46.0, read on 2026-11-28).
    #[test]
    fn a_call_is_signed_as_cloudinarys_own_library_does() {
        const SECRET: &str = "hdcixPpR2iKERPwqvH6sHdK9cyac";

        let login = parameters(&[
            ("cloud_name", "dn6ot3ged"),
            ("timestamp", "1568810420"),
            ("username", "user@cloudinary.com"),
            ("unset", ""),
        ]);
        assert_eq!(
            signer(SECRET, SignatureAlgorithm::Sha1).call(&login),
            "14c00ba6d0dfdedbc86b316847d95b9e6cd46d94"
        );
        assert_eq!(
            signer(SECRET, SignatureAlgorithm::Sha256).call(&login),
            "45ddaa4fa01f0c2826f32f669d2e4514faf275fe6df053f1a150e7beae58a3bd"
        );
        let url = "https://fake.com/callback?a=1&tags=hello,world";
        let smuggling = parameters(&[
            ("cloud_name", "dn6ot3ged"),
            ("timestamp", "1568810420"),
            ("notification_url", url),
        ]);
        assert_eq!(
            signer(SECRET, SignatureAlgorithm::Sha1).call(&smuggling),
            "4fdf465dd89451cc1ed8ec5b3e314e8a51695704"
        );
    }

    /// `test_signed_url*` of Cloudinary's library for Python (pycloudinary 1.46.0, read on 2026-11-28).
    #[test]
    fn a_url_is_signed_as_cloudinarys_own_library_does() {
        let sha1 = signer("b", SignatureAlgorithm::Sha1);
        assert_eq!(sha1.delivery("image.jpg"), "s----SjmNDA--");
        assert_eq!(sha1.delivery("c_crop,h_20,w_10/image.jpg"), "s--Ai4Znfl3--");
        let sha256 = signer("b", SignatureAlgorithm::Sha256);
        assert_eq!(sha256.delivery("sample.jpg"), "s--2hbrSMPO--");
    }
}
