//! Handlers of usage.

use axum::extract::State;
use chrono::{Datelike as _, TimeDelta};
use shared::{
    ids::ConversationId,
    models::{
        conversation,
        usage::{self, Scope},
        usage_month,
    },
};

use super::dto::{GetUsage, MonthlyLimit, MonthlyLimits, Usage, UsageGroup, UsageTotal};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
};

/// Unless told otherwise.
const DEFAULT_TIME: TimeDelta = TimeDelta::days(30);
/// Longest time that is summed up.
const LONGEST_TIME: TimeDelta = TimeDelta::days(366);

/// Sums up what the caller's answers took: tokens, and money in millionths of a US dollar.
#[utoipa::path(
    get, path = "/api/v1/usage", tag = "usage", params(GetUsage),
    responses((status = 200, description = "The sums", body = Usage), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn get_usage(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<GetUsage>,
) -> Result<Json<Usage>> {
    let to = input.to.map_or_else(|| app.clock.now(), |to| to.0);
    let from = input.from.map(|from| from.0);
    let from = from
        .or_else(|| to.checked_sub_signed(DEFAULT_TIME))
        .unwrap_or(to);
    if [from, to]
        .iter()
        .any(|time| !(1..=9999).contains(&time.year()))
    {
        return Err(Error::field("/to", "must be a time of the years 1 to 9999"));
    }
    if from > to {
        return Err(Error::field("/from", "must not be after `to`"));
    }
    if to - from > LONGEST_TIME {
        return Err(Error::field(
            "/from",
            "must be at most 366 days before `to`",
        ));
    }
    let scope = Scope::User(caller.user, from, to);
    let groups = usage::sum(&app.db, scope, Some(input.by.0)).await?;
    let total = usage::sum(&app.db, scope, None).await?;
    Ok(Json(Usage {
        from,
        to,
        data: groups.into_iter().map(UsageGroup::from).collect(),
        total: total.into(),
    }))
}

/// Tells how much the caller may use in this month of UTC, and how much of it is used; nothing where there are no limits.
///
/// When a limit is near (80 %) and when it is reached, there are the events `usage.limit_approaching` and
/// `usage.limit_reached`. From then on all that costs is refused with 429 `usage_limit_reached`, until the next month.
#[utoipa::path(
    get, path = "/api/v1/usage/limits", tag = "usage",
    responses((status = 200, description = "The limits", body = MonthlyLimits), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_usage_limits(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<MonthlyLimits>> {
    let limits = &app.config.common.usage_limits;
    let used = usage_month::list(&app.db, limits, caller.user, app.clock.now()).await?;
    Ok(Json(MonthlyLimits {
        data: used.into_iter().map(MonthlyLimit::from).collect(),
    }))
}

/// Sums up what the answers of a conversation took, on all its branches.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}/usage", tag = "usage",
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 200, description = "The sum", body = UsageTotal), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn get_conversation_usage(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ConversationId>,
) -> Result<Json<UsageTotal>> {
    let conversation = conversation::get(&app.db, caller.user, id).await?;
    let total = usage::sum(&app.db, Scope::Conversation(conversation.id), None).await?;
    Ok(Json(total.into()))
}
