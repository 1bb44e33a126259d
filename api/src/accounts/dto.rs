//! Bodies of accounts.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use secrecy::SecretString;
use serde::Serialize;
use shared::{
    ids::{SessionId, UserId},
    models::{
        session,
        user::{self, PresenceSharing, Role, Status, Tier},
    },
};
use utoipa::{IntoParams, ToSchema};

use super::fields::{AvatarUrl, DisplayName, Email, NewPassword, Password};
use crate::{extract::Fields, given::Given, page::Limit};

/// A new account.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct Register {
    /// Unique, regardless of case.
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

/// The credentials of an account.
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

/// The end of one pair of tokens and the beginning of the next.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct Refresh {
    /// The latest refresh token of the session.
    #[deserr(from(String) = SecretString::from)]
    #[schema(value_type = String, example = "bcr_2JkVxXCQ0xmX3yyUWdVQzJ4vXz1GqTn0s1r6k5x8H9M")]
    pub(super) refresh_token: SecretString,
}

/// A change of password.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct ChangePassword {
    /// The password to be replaced.
    #[schema(value_type = String, format = Password, example = "correct horse battery")]
    pub(super) current_password: Password,
    /// At least 10 characters.
    #[schema(value_type = String, format = Password, min_length = 10, example = "staple of another kind")]
    pub(super) new_password: NewPassword,
}

/// The end of an account.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct DeleteMe {
    /// That of the account.
    #[schema(value_type = String, format = Password, example = "correct horse battery")]
    pub(super) password: Password,
}

/// What others see of an account. A field that is left out keeps its value; at least one is needed.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdateMe {
    /// Their name.
    #[deserr(default)]
    #[schema(value_type = String, required = false, min_length = 2, max_length = 50, example = "Ana")]
    pub(super) display_name: Given<DisplayName>,
    /// URL of their picture: https, at a public address; null removes it.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048, example = "https://example.com/ana.png")]
    pub(super) avatar_url: Given<Option<AvatarUrl>>,
}

/// What others can learn about the user's activity. A field that is left out keeps its value; at least one is needed.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdatePrivacy {
    /// Who can see whether they are online.
    #[deserr(default)]
    #[schema(value_type = PresenceSharing, required = false)]
    pub(super) presence_sharing: Given<Sharing>,
    /// Whether others can see what they have read.
    #[deserr(default)]
    #[schema(value_type = bool, required = false)]
    pub(super) read_receipts_enabled: Given<bool>,
}

/// [`PresenceSharing`], as a client writes it.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, rename_all = lowercase)]
pub(super) enum Sharing {
    Everyone,
    Friends,
    Nobody,
}

impl From<Sharing> for PresenceSharing {
    fn from(sharing: Sharing) -> Self {
        match sharing {
            Sharing::Everyone => Self::Everyone,
            Sharing::Friends => Self::Friends,
            Sharing::Nobody => Self::Nobody,
        }
    }
}

/// An account, as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    id: UserId,
    /// In lower case.
    #[schema(format = Email)]
    email: String,
    /// What others see.
    #[schema(example = "Ana")]
    display_name: Option<String>,
    /// URL of their picture.
    #[schema(format = "uri")]
    avatar_url: Option<String>,
    role: Role,
    tier: Tier,
    status: Status,
    /// Whether the e-mail address has been verified.
    is_verified: bool,
    /// Who can see whether they are online.
    presence_sharing: PresenceSharing,
    /// Whether others can see what they have read.
    read_receipts_enabled: bool,
    /// Incremented by every change; also the `ETag`.
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
            avatar_url,
            role,
            tier,
            status,
            is_verified,
            presence_sharing,
            read_receipts_enabled,
            version,
            created_at,
            updated_at,
            deleted_at: _,
        } = row;
        Self {
            id,
            email,
            display_name,
            avatar_url,
            role,
            tier,
            status,
            is_verified,
            presence_sharing,
            read_receipts_enabled,
            version,
            created_at,
            updated_at,
        }
    }
}

/// A session, with its tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) user: User,
    /// Send it as `Authorization: Bearer <accessToken>`.
    #[schema(example = "bca_Zm9yIHRoZSBkb2N1bWVudGF0aW9uIG9ubHksIG5vIHRva2Vu")]
    pub(super) access_token: String,
    /// Gets the next pair of tokens, once. Keep it secret.
    #[schema(example = "bcr_Zm9yIHRoZSBkb2N1bWVudGF0aW9uIG9ubHksIG5vIHRva2Vu")]
    pub(super) refresh_token: String,
    /// Lifetime of the access token, in seconds.
    #[schema(example = 900)]
    pub(super) expires_in: i64,
}

/// A session, as the list shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionSummary {
    id: SessionId,
    /// When the user logged in.
    created_at: DateTime<Utc>,
    /// Accurate to the minute.
    last_used_at: DateTime<Utc>,
    /// The address from which it was last refreshed, if the server keeps addresses.
    #[schema(example = "203.0.113.0")]
    ip: Option<String>,
    /// The client with which it was last refreshed.
    user_agent: Option<String>,
    /// Whether this request belongs to it.
    current: bool,
}

/// A login among those of its user, and the one that asks.
pub(super) struct Listed(pub(super) session::Model, pub(super) SessionId);

impl From<Listed> for SessionSummary {
    fn from(Listed(row, asking): Listed) -> Self {
        let session::Model {
            id,
            user_id: _,
            access_token_hash: _,
            access_expires_at: _,
            refresh_token_hash: _,
            refresh_expires_at: _,
            created_at,
            revoked_at: _,
            last_used_at,
            ip,
            user_agent,
            address_hash: _,
        } = row;
        Self {
            id,
            created_at,
            last_used_at: last_used_at.unwrap_or(created_at),
            ip,
            user_agent,
            current: asking == id,
        }
    }
}

/// Which logins are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListSessions {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}
