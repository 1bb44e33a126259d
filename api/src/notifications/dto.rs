//! Bodies of notifications.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{ids::NotificationId, models::notification};
use utoipa::{IntoParams, ToSchema};

use crate::{extract::Fields, page::Limit, text::Param};

/// A message to a user inside the product.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notification {
    id: NotificationId,
    /// `webhook.delivery_failed`: a delivery was given up; else the name of the event that it tells of: `webhook.disabled`,
    /// `export.completed`, `export.failed`, `job.failed`, `usage.limit_approaching`, `usage.limit_reached`.
    #[schema(example = "webhook.delivery_failed")]
    kind: String,
    /// In a few words.
    #[schema(example = "A webhook could not be delivered")]
    title: String,
    /// In a sentence.
    #[schema(
        example = "message.created did not reach example.com, and was given up: the endpoint answered 500."
    )]
    body: String,
    /// For programs; its shape depends on `kind`. For a delivery: `{webhookId, deliveryId, event, reason, failures}`, the
    /// latest failure and how many there were since the user last read about that endpoint. For an endpoint: `{webhookId,
    /// reason, failures}`. For an export: `{exportId, conversationId, format, fileName}`. For a job: `{jobId, kind, status,
    /// reason, failures}`, the latest of its kind. For a limit: `{limit, used, allowed, resetsAt}`.
    #[schema(value_type = Object)]
    data: Value,
    /// Null while it is unread.
    read_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// When its content last changed.
    updated_at: DateTime<Utc>,
}

impl From<notification::Model> for Notification {
    fn from(row: notification::Model) -> Self {
        let notification::Model {
            id,
            user_id: _,
            kind,
            topic: _,
            title,
            body,
            data,
            read_at,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            kind,
            title,
            body,
            data,
            read_at,
            created_at,
            updated_at,
        }
    }
}

/// How many notifications are unread.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnreadCount {
    pub(super) unread_count: u64,
}

/// How many notifications were marked as read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadCount {
    pub(super) read_count: u64,
}

/// Which notifications are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListNotifications {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// `true`: only unread ones, `false`: only read ones.
    #[deserr(default)]
    #[param(value_type = Option<bool>)]
    pub(super) unread: Option<Param<bool>>,
}
