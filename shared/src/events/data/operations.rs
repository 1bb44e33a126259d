//! What events tell of jobs and of endpoints.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ids::{JobId, UserId, WebhookId},
    models::job,
};

/// The `data` of `webhook.disabled`. The whole URL is not there, as it may hold a secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisabledWebhook {
    /// Which one.
    pub webhook_id: WebhookId,
    /// Whose it is.
    pub user_id: UserId,
    /// The server at which it is.
    pub host: String,
    /// Why nothing is sent to it any more.
    pub reason: String,
}

/// The `data` of `webhook.ping`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PingedWebhook {
    /// Which one.
    pub webhook_id: WebhookId,
}

/// The `data` of `job.failed`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedJob {
    /// Which one.
    pub job_id: JobId,
    /// Whose it is.
    pub user_id: UserId,
    /// The kind of work.
    pub kind: String,
    /// `failed`, or `quarantined` where workers died on it.
    pub status: job::Status,
    /// How many runs there were.
    pub attempt: i32,
    /// Why it was given up.
    pub error: String,
}
