//! What people say of themselves: addresses, passwords, names.

use deserr::Deserr;
use secrecy::SecretString;
use url::Url;

use crate::extract::{Fields, Rule};

/// Fewest characters of a password (NIST SP 800-63B §5.1.1.2 asks for 8).
const PASSWORD_MIN: usize = 10;
/// Longest password in bytes: more only costs time.
const PASSWORD_MAX_BYTES: usize = 1024;
/// Longest URL of a picture, in bytes.
const URL_MAX_BYTES: usize = 2048;
/// Longest address (RFC 5321 §4.5.3.1.3, with the brackets taken off).
const EMAIL_MAX: usize = 254;

/// An e-mail address.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = Fields, try_from(&String) = Email::parse -> Rule)]
pub(super) struct Email(pub(super) String);

impl Email {
    /// Reads it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        let text = text.trim();
        let valid = text.len() <= EMAIL_MAX
            && text.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty()
                    && local.len() <= 64
                    && !domain.contains('@')
                    && domain.split('.').count() >= 2
                    && domain.split('.').all(|label| {
                        !label.is_empty()
                            && !label.starts_with('-')
                            && !label.ends_with('-')
                            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                    })
            })
            && !text
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule::new("must be an e-mail address"))
        }
    }
}

/// A password, of a length that is worth hashing.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = Fields, try_from(&String) = NewPassword::parse -> Rule)]
pub(super) struct NewPassword(pub(super) SecretString);

impl NewPassword {
    /// Reads it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        if text.chars().count() < PASSWORD_MIN {
            return Err(Rule::new(format!(
                "must have at least {PASSWORD_MIN} characters"
            )));
        }
        Ok(Self(short_enough(text)?))
    }
}

/// A password that is claimed to be somebody's: our rules for new ones may have been others then.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = Fields, try_from(&String) = Password::parse -> Rule)]
pub(super) struct Password(pub(super) SecretString);

impl Password {
    fn parse(text: &str) -> Result<Self, Rule> {
        short_enough(text).map(Self)
    }
}

fn short_enough(text: &str) -> Result<SecretString, Rule> {
    if text.len() > PASSWORD_MAX_BYTES {
        return Err(Rule::new(format!(
            "must have at most {PASSWORD_MAX_BYTES} bytes"
        )));
    }
    Ok(text.into())
}

/// A name for people: 2 to 50 characters, without line breaks.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = Fields, try_from(&String) = DisplayName::parse -> Rule)]
pub(super) struct DisplayName(pub(super) String);

impl DisplayName {
    /// Reads it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        let text = text.trim();
        if !(2..=50).contains(&text.chars().count()) {
            return Err(Rule::new("must have 2 to 50 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(Rule::new("must not contain control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where a picture is; whether it may be there is the guard's decision.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = Fields, try_from(&String) = AvatarUrl::parse -> Rule)]
pub(super) struct AvatarUrl(pub(super) Url);

impl AvatarUrl {
    fn parse(text: &str) -> Result<Self, Rule> {
        if text.len() > URL_MAX_BYTES {
            return Err(Rule::new(format!(
                "must have at most {URL_MAX_BYTES} bytes"
            )));
        }
        text.trim()
            .parse()
            .map(Self)
            .map_err(|error| Rule::new(format!("is not a URL: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in [
            "ana@example.com",
            " Ana.B+tag@sub.example.org ",
            "बात@उदाहरण.भारत",
        ] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ana",
            "ana@",
            "@example.com",
            "ana@localhost",
            "a b@example.com",
            "a@b@example.com",
            "a@-x.com",
            "a@x..com",
            "a\n@example.com",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_counted_in_characters() {
        assert!(NewPassword::parse("नमस्ते123").is_err());
        assert!(NewPassword::parse("नमस्तेदुनिया").is_ok());
        assert!(NewPassword::parse(&"x".repeat(1025)).is_err());
    }
}
