//! Bodies of accounts.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use secrecy::SecretString;
use serde::Serialize;
use shared::{ids::UserId, models::user};
use utoipa::ToSchema;

use crate::extract::{Fields, Rule};

/// Fewest characters of a password (NIST SP 800-63B §5.1.1.2 asks for 8).
const PASSWORD_MIN: usize = 10;
/// Longest password in bytes: more only costs time.
const PASSWORD_MAX_BYTES: usize = 1024;
/// Longest address (RFC 5321 §4.5.3.1.3, with the brackets taken off).
const EMAIL_MAX: usize = 254;

/// An e-mail address.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = Fields, try_from(&String) = Email::parse -> Rule)]
pub(super) struct Email(pub(super) String);

impl Email {
    fn parse(text: &str) -> Result<Self, Rule> {
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
    fn parse(text: &str) -> Result<Self, Rule> {
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
    fn parse(text: &str) -> Result<Self, Rule> {
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

/// A new account.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct Register {
    /// Unique, whatever its case.
    #[schema(value_type = String, format = Email, max_length = 254, example = "ana@example.com")]
    pub(super) email: Email,
    /// At least 10 characters.
    #[schema(value_type = String, format = Password, min_length = 10, example = "correct horse battery")]
    pub(super) password: NewPassword,
    /// What others see.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 2, max_length = 50, example = "Ana")]
    pub(super) display_name: Option<DisplayName>,
}

/// Credentials.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct Login {
    /// As registered.
    #[schema(value_type = String, format = Email, example = "ana@example.com")]
    pub(super) email: Email,
    /// As registered.
    #[schema(value_type = String, format = Password, example = "correct horse battery")]
    pub(super) password: Password,
}

/// An account, as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    id: UserId,
    /// Lower-cased.
    #[schema(format = Email)]
    email: String,
    /// What others see.
    display_name: Option<String>,
    /// Grows with every change; also the `ETag`.
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<user::Model> for User {
    fn from(row: user::Model) -> Self {
        let user::Model {
            id,
            email,
            password_hash: _,
            display_name,
            version,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            email,
            display_name,
            version,
            created_at,
            updated_at,
        }
    }
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) user: User,
    /// Send it as `Authorization: Bearer <accessToken>`.
    pub(super) access_token: String,
    /// Gets a new access token when this one has expired. Keep it secret.
    pub(super) refresh_token: String,
    /// Seconds that the access token lives.
    #[schema(example = 900)]
    pub(super) expires_in: i64,
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
