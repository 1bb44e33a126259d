//! URLs that carry their own permission, for `<img>` tags and download managers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::keyring::Keyring;
use url::Url;

use super::Permission;

/// How long a URL is good.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);
const USAGE: &str = "download-url";

fn message(path: &str, expires: i64) -> String {
    format!("{path}\n{expires}")
}

/// Makes a URL that shows the content of what is at `path` for an hour.
pub(super) fn make(keyring: &Keyring, public_url: &Url, path: &str, now: DateTime<Utc>) -> String {
    let expires = (now + LIFETIME).timestamp();
    let signature = hex::encode(keyring.sign(USAGE, message(path, expires).as_bytes()));
    let base = public_url.as_str().trim_end_matches('/');
    format!("{base}/api/v1/{path}/content?exp={expires}&sig={signature}")
}

/// Whether the permission is ours, for this path, and still good.
pub(super) fn is_good(
    keyring: &Keyring,
    path: &str,
    permission: &Permission,
    now: DateTime<Utc>,
) -> bool {
    let expires = permission.exp.0;
    let Ok(signature) = hex::decode(&permission.sig) else {
        return false;
    };
    now.timestamp() < expires
        && keyring.verify(USAGE, message(path, expires).as_bytes(), &signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Param;

    #[test]
    fn a_url_is_good_for_its_path_and_hour_only() {
        let keyring = Keyring::new(&"a key of at least thirty-two bytes".into(), &[]);
        let (path, now) = ("attachments/1", DateTime::UNIX_EPOCH);
        let base = "https://api.example.com/".parse().unwrap();
        let url: Url = make(&keyring, &base, path, now).parse().unwrap();
        assert_eq!(url.path(), "/api/v1/attachments/1/content");
        let query: std::collections::HashMap<_, _> = url.query_pairs().collect();
        let (expires, signature): (i64, _) = (query["exp"].parse().unwrap(), &query["sig"]);
        let good = |path: &str, exp: i64, sig: &str, now| {
            let permission = Permission {
                exp: Param(exp),
                sig: sig.to_owned(),
            };
            is_good(&keyring, path, &permission, now)
        };
        assert!(good(path, expires, signature, now));
        assert!(!good("attachments/2", expires, signature, now));
        assert!(!good(path, expires + 1, signature, now));
        assert!(!good(path, expires, signature, now + LIFETIME));
        assert!(!good(path, expires, "zz", now));
    }
}
