//! How an endpoint does.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    ids::WebhookId,
    models::webhook::{
        self,
        health::{self, Figures, Standing},
        state,
    },
};
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Path},
};

/// How an endpoint does.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookHealth {
    webhook_id: WebhookId,
    state: Standing,
    /// The share of attempts that succeeded, 0 to 1; null if there were none. It is told from the latest 1,000 attempts of
    /// the last 24 hours, as are the figures that follow.
    #[schema(minimum = 0, maximum = 1, example = 0.98)]
    success_rate: Option<f64>,
    /// How many attempts there were.
    #[schema(minimum = 0, maximum = 1_000, example = 120)]
    attempts: i64,
    /// How long half of the answers took at most; null if there were none.
    #[schema(minimum = 0, example = 84)]
    p50_ms: Option<i32>,
    /// How long 95 of 100 answers took at most; null if there were none.
    #[schema(minimum = 0, example = 310)]
    p95_ms: Option<i32>,
    /// How many attempts failed, one after the other, until now.
    #[schema(minimum = 0, example = 0)]
    consecutive_failures: i32,
    /// Since when all attempts fail; null if the latest one did not.
    failing_since: Option<DateTime<Utc>>,
    /// Until when the endpoint is left alone, as it asked for; null if it is not.
    slowed_until: Option<DateTime<Utc>>,
    /// When an attempt succeeded last, as far as it is known.
    last_success_at: Option<DateTime<Utc>>,
    /// When an attempt failed last, as far as it is known.
    last_failure_at: Option<DateTime<Utc>>,
    /// Deliveries that wait for their first or next attempt, among the latest 10,000 that have not succeeded.
    #[schema(minimum = 0, maximum = 10_000, example = 3)]
    pending_deliveries: i64,
}

/// Tells how an endpoint does: whether it is healthy, and what its latest attempts came to.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/health", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "How it does", body = WebhookHealth), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn get_webhook_health(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<WebhookId>,
) -> Result<Json<WebhookHealth>> {
    let row = webhook::get(&app.db, caller.user, id).await?;
    let state = state::find(&app.db, id).await?;
    let now = app.clock.now();
    let figures = health::figures(&app.db, id, now).await?;
    Ok(Json(shown(&row, state.as_ref(), &figures, now)))
}

fn shown(
    row: &webhook::Model,
    state: Option<&state::Model>,
    figures: &Figures,
    now: DateTime<Utc>,
) -> WebhookHealth {
    let learned = |at: fn(&state::Model) -> Option<DateTime<Utc>>| -> Option<DateTime<Utc>> {
        state.and_then(at)
    };
    WebhookHealth {
        webhook_id: row.id,
        state: Standing::of(row, state, now),
        success_rate: share(figures.succeeded, figures.attempts),
        attempts: figures.attempts,
        p50_ms: figures.p50_ms,
        p95_ms: figures.p95_ms,
        consecutive_failures: state.map_or(0, |state| state.failures),
        failing_since: learned(|state| state.failing_since),
        slowed_until: learned(|state| state.slowed_until).filter(|until| *until > now),
        last_success_at: learned(|state| state.last_success_at).max(figures.last_success_at),
        last_failure_at: learned(|state| state.last_failure_at).max(figures.last_failure_at),
        pending_deliveries: figures.pending,
    }
}

/// To four places: there are a thousand attempts at most.
fn share(part: i64, of: i64) -> Option<f64> {
    if of == 0 {
        return None;
    }
    let shown = i32::try_from(part.saturating_mul(10_000) / of).unwrap_or(10_000);
    Some(f64::from(shown) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_nothing_and_all() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(0, 7), Some(0.0));
        assert_eq!(share(7, 7), Some(1.0));
        assert_eq!(share(1, 3), Some(0.3333));
    }
}
