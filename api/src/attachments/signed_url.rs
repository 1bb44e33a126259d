//! URLs that carry their own permission, for `<img>` tags and download managers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::{ids::AttachmentId, keyring::Keyring};
use url::Url;

/// How long a URL is good.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);
const USAGE: &str = "attachment-url";

fn message(id: AttachmentId, expires: i64) -> String {
    format!("{id}\n{expires}")
}

/// Makes a URL that shows the content for an hour.
pub(super) fn make(
    keyring: &Keyring,
    public_url: &Url,
    id: AttachmentId,
    now: DateTime<Utc>,
) -> String {
    let expires = (now + LIFETIME).timestamp();
    let signature = hex::encode(keyring.sign(USAGE, message(id, expires).as_bytes()));
    let base = public_url.as_str().trim_end_matches('/');
    format!("{base}/api/v1/attachments/{id}/content?exp={expires}&sig={signature}")
}

/// Whether the URL is ours, for this attachment, and still good.
pub(super) fn is_good(
    keyring: &Keyring,
    id: AttachmentId,
    expires: i64,
    signature: &str,
    now: DateTime<Utc>,
) -> bool {
    let Ok(signature) = hex::decode(signature) else {
        return false;
    };
    now.timestamp() < expires && keyring.verify(USAGE, message(id, expires).as_bytes(), &signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_good_for_its_attachment_and_hour_only() {
        let keyring = Keyring::new(&"a key of at least thirty-two bytes".into(), &[]);
        let (id, now) = (AttachmentId::new(), DateTime::UNIX_EPOCH);
        let url: Url = make(
            &keyring,
            &"https://api.example.com/".parse().unwrap(),
            id,
            now,
        )
        .parse()
        .unwrap();
        let query: std::collections::HashMap<_, _> = url.query_pairs().collect();
        let (expires, signature) = (query["exp"].parse().unwrap(), &query["sig"]);
        assert!(is_good(&keyring, id, expires, signature, now));
        assert!(!is_good(
            &keyring,
            AttachmentId::new(),
            expires,
            signature,
            now
        ));
        assert!(!is_good(&keyring, id, expires + 1, signature, now));
        assert!(!is_good(&keyring, id, expires, signature, now + LIFETIME));
        assert!(!is_good(&keyring, id, expires, "zz", now));
    }
}
