//! Handlers of events.

use axum::extract::State;
use shared::{
    database,
    events::{self, KINDS, Kind},
    ids::EventId,
    models::{event, user::Role},
};

use super::dto::{Event, EventType, EventTypeList, ListEvents, Scope};
use crate::{
    app::App,
    caller::Caller,
    denied::Denied,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    page::{Cursor, Page},
};

/// Lists what has happened to the caller, newest first: the same events that are sent to endpoints, whether there is one or
/// not. They are kept for 30 days.
///
/// With `scope=all`, administrators get those events of all users that are shown to them (`audience` of the event type is
/// `owner_and_admins`); others get a 403 `admin_required`.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(ListEvents),
    responses((status = 200, description = "A page of events", body = Page<Event>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_events(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListEvents>,
) -> Result<Json<Page<Event>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, EventId(cursor.id)));
    let (kinds, limit) = (input.kinds.map(|kinds| kinds.0), input.limit.0 + 1);
    let rows = match input.scope {
        Scope::Own => {
            let kinds = kinds.map(names);
            event::list(&app.db, caller.user, kinds.as_deref(), before, limit).await?
        }
        Scope::All if caller.role != Role::Admin => return Err(Denied::AdminRequired.into()),
        Scope::All => {
            let is_wanted = |kind: &&Kind| kinds.as_ref().is_none_or(|kinds| has(kinds, kind.name));
            let kinds = names(events::for_admins().filter(is_wanted));
            event::list_of_all_users(&app.db, &kinds, before, limit).await?
        }
    };
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

fn names(kinds: impl IntoIterator<Item = &'static Kind>) -> Vec<&'static str> {
    kinds.into_iter().map(|kind| kind.name).collect()
}

fn has(kinds: &[&'static Kind], name: &str) -> bool {
    kinds.iter().any(|kind| kind.name == name)
}

/// Gets an event. Administrators also get those of others that are shown to them.
#[utoipa::path(
    get, path = "/api/v1/events/{id}", tag = "events",
    params(("id" = EventId, Path, description = "The event")),
    responses((status = 200, description = "The event", body = Event), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(eventId = %id))]
pub(super) async fn get_event(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<EventId>,
) -> Result<Json<Event>> {
    let row = match event::get(&app.db, caller.user, id).await {
        Err(database::Error::NotFound(_)) if caller.role == Role::Admin => {
            event::get_of_any_user(&app.db, &names(events::for_admins()), id).await?
        }
        found => found?,
    };
    Ok(Json(row.into()))
}

/// Lists all kinds of events, each with the JSON Schema of what receivers get, and an example.
#[utoipa::path(
    get, path = "/api/v1/event-types", tag = "events",
    responses((status = 200, description = "The kinds of events", body = EventTypeList), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_event_types(_: Caller) -> Json<EventTypeList> {
    Json(EventTypeList {
        data: KINDS.iter().map(EventType::from).collect(),
    })
}

/// Gets a kind of event. Where there is none of this name, the answer tells near ones.
#[utoipa::path(
    get, path = "/api/v1/event-types/{name}", tag = "events",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The kind of event", body = EventType), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn get_event_type(_: Caller, Path(name): Path<String>) -> Result<Json<EventType>> {
    let kind = events::find(&name).ok_or_else(|| {
        let near = events::near(&name).into_iter();
        Error::EventTypeNotFound {
            near: near.map(str::to_owned).collect(),
        }
    })?;
    Ok(Json(kind.into()))
}
