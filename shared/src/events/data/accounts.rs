//! What events tell of accounts.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ids::UserId,
    models::user::{self, PresenceSharing},
};

/// The `data` of the events of accounts.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserSummary {
    /// Which one.
    pub user_id: UserId,
    /// What others see.
    pub display_name: Option<String>,
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// Who sees whether they are there.
    pub presence_sharing: PresenceSharing,
    /// Whether others see what they have read.
    pub read_receipts_enabled: bool,
    /// Its version.
    pub version: i32,
}

impl From<&user::Model> for UserSummary {
    fn from(row: &user::Model) -> Self {
        Self {
            user_id: row.id,
            display_name: row.display_name.clone(),
            avatar_url: row.avatar_url.clone(),
            presence_sharing: row.presence_sharing,
            read_receipts_enabled: row.read_receipts_enabled,
            version: row.version,
        }
    }
}

/// The `data` of `user.deleted`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedUser {
    /// Who is gone.
    pub user_id: UserId,
}

/// The `data` of the events of limits.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageLimit {
    /// Whose use it is.
    pub user_id: UserId,
    /// What is limited: `tokens`, or `microusd` for millionths of a US dollar.
    pub limit: String,
    /// How much of it is used.
    pub used: u64,
    /// How much of it may be used in a month.
    pub allowed: u64,
    /// When it begins anew: with the next month of UTC.
    pub resets_at: Option<DateTime<Utc>>,
}
