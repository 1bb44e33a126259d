//! Taking secrets out of answers: some receivers send back what they were sent.

/// What is kept of a secret.
pub(super) const REDACTED: &str = "[redacted]";
/// What is shorter is found everywhere, and is no secret.
const SHORTEST: usize = 6;

/// What must not be kept of an answer: the longest first, as one may hold another.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds what a header of the endpoint's user says: all of it, and the credentials after their scheme.
    pub(super) fn add_value(&mut self, value: &str) {
        self.add(value);
        if let Some((_, credentials)) = value.split_once(' ') {
            self.add(credentials);
        }
    }

    /// Adds a header of signatures, and each of them.
    pub(super) fn add_signatures(&mut self, header: &str) {
        self.add(header);
        for signature in header.split([' ', ',']) {
            self.add(signature);
        }
    }

    /// Adds a secret as it is, and as it is in JSON, where some write `\/` for `/`.
    fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
        for form in [secret.to_owned(), json.replace('/', "\\/"), json] {
            if !self.0.contains(&form) {
                let at = self.0.partition_point(|known| known.len() > form.len());
                self.0.insert(at, form);
            }
        }
    }

    /// Takes them out of a text, and cuts it to `most` bytes. Where it was cut before, a secret may have been: what may be the
    /// beginning of one goes, too.
    pub(super) fn redact(&self, mut text: String, is_cut: bool, most: usize) -> String {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        let longest = self.0.first().filter(|_| is_cut).map_or(0, String::len);
        let most = most.min(text.len().saturating_sub(longest));
        text.truncate(text.floor_char_boundary(most));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secrets: &Secrets, text: &str) -> String {
        secrets.redact(text.to_owned(), false, 1000)
    }

    #[test]
    fn secrets_are_taken_out_in_every_form() {
        let mut secrets = Secrets::default();
        secrets.add_value("Bearer a/b\"c\\d/e");
        secrets.add_signatures("v1,c2lnbmF0/XJl v1a,b3RoZXI/");
        for text in [
            "authorization: Bearer a/b\"c\\d/e",
            r#"{"token":"a/b\"c\\d/e"}"#,
            r#"{"token":"a\/b\"c\\d\/e"}"#,
            "got v1,c2lnbmF0/XJl v1a,b3RoZXI/",
            "c2lnbmF0/XJl",
            r"b3RoZXI\/",
        ] {
            let left = redacted(&secrets, text);
            assert!(left.contains(REDACTED), "{left}");
            for part in ["c2lnbmF0", "b3RoZXI", "a/b", "d/e", r"a\/b"] {
                assert!(!left.contains(part), "{left}");
            }
        }
        assert_eq!(redacted(&secrets, "nothing of it"), "nothing of it");
    }

    #[test]
    fn what_is_short_stays_and_what_holds_another_goes_whole() {
        let mut secrets = Secrets::default();
        for value in ["short", "secret", "a secret of many words"] {
            secrets.add_value(value);
        }
        let left = redacted(&secrets, "short; a secret of many words; secret");
        assert_eq!(left, "short; [redacted]; [redacted]");
    }

    #[test]
    fn no_beginning_of_a_secret_is_left_at_a_cut() {
        let mut secrets = Secrets::default();
        secrets.add_value(&"s".repeat(100));
        let text = format!("{}{}", "x".repeat(200), "s".repeat(99));
        assert_eq!(secrets.redact(text.clone(), true, 1000), "x".repeat(199));
        assert_eq!(secrets.redact(text.clone(), false, 1000), text);
        assert_eq!(secrets.redact(text, true, 10), "x".repeat(10));
    }
}
