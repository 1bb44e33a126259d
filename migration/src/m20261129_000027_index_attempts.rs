//! The newest tries of an endpoint, all and those that did not succeed; the newest events of a user, in the order of their list; and
//! the few that administrators see of everybody, among the many that they do not.
//!
//! These tables are written all the time: their indexes are built beside that.

crate::index_migration!(
    build: [
        (
            "delivery_attempts_webhook_id",
            "ON delivery_attempts (webhook_id, created_at DESC, id DESC)"
        ),
        (
            "delivery_attempts_unsucceeded",
            "ON delivery_attempts (webhook_id, created_at DESC, id DESC) WHERE error IS NOT NULL"
        ),
        (
            "events_of_user",
            "ON events (user_id, created_at DESC, id DESC)"
        ),
        (
            "events_for_admins",
            "ON events (created_at DESC, id DESC)
             WHERE kind IN ('user.created', 'user.updated', 'user.deleted', 'usage.limit_approaching', 'usage.limit_reached',
                            'webhook.disabled', 'job.failed')"
        ),
    ],
    drop: [("events_user_id", "ON events (user_id, created_at)")]
);
