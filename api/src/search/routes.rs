//! The handler of the search.

use axum::extract::State;
use shared::models::search;

use super::dto::{SearchQuery, SearchResult};
use crate::{
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Query},
    page::{Cursor, Page},
};

/// Searches the caller's titles and messages, newest first.
///
/// Words are found as written, in any script; English words are found in their other forms too. Only the first 200,000
/// characters of a very long message are searched.
#[utoipa::path(
    get, path = "/api/v1/search", tag = "search", params(SearchQuery),
    responses((status = 200, description = "A page of results", body = Page<SearchResult>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn search(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<SearchQuery>,
) -> Result<Json<Page<SearchResult>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, cursor.id));
    let limit = input.limit.0 + 1;
    let hits = search::search(&app.db, caller.user, &input.search(), before, limit).await?;
    Ok(Json(Page::new(hits, input.limit, |hit| Cursor {
        at: hit.at,
        id: hit.id,
    })))
}
