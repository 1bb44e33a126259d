//! Handlers of logins: going on, ending, looking at them.

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use shared::{
    database::{Error as DatabaseError, Tx},
    ids::SessionId,
    keyring::random,
    models::{
        session::{self, Tokens, spent},
        user::{self, Status},
    },
};

use super::{
    attempts,
    device::Device,
    dto::{ListSessions, Listed, Refresh, Session, SessionSummary},
};
use crate::{
    answer::Answer,
    app::App,
    authentication::{ACCESS_TOKEN_PREFIX, REFRESH_TOKEN_PREFIX},
    caller::SessionCaller,
    denied::Denied,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
};

/// Exchanges a refresh token for the next pair of tokens.
///
/// A refresh token works once, and the present pair ends with it. Sending it again (401 `refresh_token_reused`) ends
/// the session and all its tokens, because someone else must hold it too. So run one refresh at a time, store the
/// answer before using it, and log in again if an answer was lost.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "accounts", request_body = Refresh,
    responses((status = 200, description = "The next pair of tokens", body = Session), Problems),
    security(()),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn refresh_session(
    State(app): State<App>,
    request: RequestId,
    device: Device,
    Json(input): Json<Refresh>,
) -> Result<Json<Session>> {
    let (token, now) = (input.refresh_token.expose_secret(), app.clock.now());
    let mut tx = app.begin_anonymous(&request).await?;
    let Some(session) = session::find_by_refresh_token_for_update(&mut tx, token, now).await?
    else {
        return Err(refuse(&app, tx, &device, token).await?);
    };
    let user = user::find(tx.orm(), session.user_id)
        .await?
        .ok_or(Error::NotFound("user"))?;
    if user.status == Status::Suspended {
        return Err(Denied::Suspended.into());
    }
    let pair = Pair::fresh();
    session
        .rotate(&mut tx, pair.tokens(), device.kept, now)
        .await?;
    tx.commit().await?;

    Ok(Json(pair.answer(user)))
}

/// Why a refresh token is not taken. One that was spent ends its login.
async fn refuse(app: &App, mut tx: Tx, device: &Device, token: &str) -> Result<Error> {
    if let Some(ended) = spent::end_login(&mut tx, token, app.clock.now()).await? {
        tx.commit().await?;
        tracing::warn!(
            userId = %ended.user_id, sessionId = %ended.id,
            "a refresh token was used twice; its login has ended"
        );
        return Ok(Error::RefreshTokenReused);
    }
    drop(tx);
    attempts::count_failed_refresh(app, device).await?;
    Ok(Error::Unauthenticated(
        "the refresh token is unknown or has expired, or its login has ended",
    ))
}

/// Logs out the current session.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "accounts",
    responses((status = 204, description = "Logged out"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn logout(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
) -> Result<Answer> {
    let mut tx = app.begin(&caller.caller, &request).await?;
    let (user, now) = (caller.caller.user, app.clock.now());
    match session::end(&mut tx, user, caller.session, now).await {
        // It ended a moment ago; this is what was asked for.
        Ok(()) | Err(DatabaseError::NotFound(_)) => tx.no_content().await,
        Err(error) => Err(error.into()),
    }
}

/// Logs out all sessions of the caller, including this one. API keys keep working.
#[utoipa::path(
    post, path = "/api/v1/auth/logout-all", tag = "accounts",
    responses((status = 204, description = "Logged out"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn logout_everywhere(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
) -> Result<Answer> {
    let mut tx = app.begin(&caller.caller, &request).await?;
    session::end_all(&mut tx, caller.caller.user, None, app.clock.now()).await?;
    tx.no_content().await
}

/// Lists the caller's active sessions, newest first.
#[utoipa::path(
    get, path = "/api/v1/users/me/sessions", tag = "accounts", params(ListSessions),
    responses((status = 200, description = "A page of sessions", body = Page<SessionSummary>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_sessions(
    State(app): State<App>,
    caller: SessionCaller,
    Query(input): Query<ListSessions>,
) -> Result<Json<Page<SessionSummary>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, SessionId(cursor.id)));
    let (user, now) = (caller.caller.user, app.clock.now());
    let rows = session::list(&app.db, user, before, input.limit.0 + 1, now).await?;
    let rows = rows
        .into_iter()
        .map(|row| Listed(row, caller.session))
        .collect();
    Ok(Json(Page::new(rows, input.limit, |Listed(row, _)| {
        Cursor {
            at: row.created_at,
            id: row.id.0,
        }
    })))
}

/// Logs out a session.
#[utoipa::path(
    delete, path = "/api/v1/users/me/sessions/{id}", tag = "accounts",
    params(("id" = SessionId, Path, description = "The session")),
    responses((status = 204, description = "Logged out"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(sessionId = %id))]
pub(super) async fn delete_session(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
    Path(id): Path<SessionId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller.caller, &request).await?;
    session::end(&mut tx, caller.caller.user, id, app.clock.now()).await?;
    tx.no_content().await
}

/// Begins a login.
pub(super) async fn begin(
    app: &App,
    tx: &mut Tx,
    user: user::Model,
    device: Device,
) -> Result<Session, DatabaseError> {
    let (pair, now) = (Pair::fresh(), app.clock.now());
    session::begin(tx, user.id, pair.tokens(), device.kept, now).await?;
    Ok(pair.answer(user))
}

/// Two fresh tokens of 256 random bits.
struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    fn fresh() -> Self {
        let token =
            |prefix: &str| format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()));
        Self {
            access: token(ACCESS_TOKEN_PREFIX),
            refresh: token(REFRESH_TOKEN_PREFIX),
        }
    }

    fn tokens(&self) -> Tokens<'_> {
        Tokens {
            access: &self.access,
            refresh: &self.refresh,
        }
    }

    fn answer(self, user: user::Model) -> Session {
        Session {
            user: user.into(),
            access_token: self.access,
            refresh_token: self.refresh,
            expires_in: session::ACCESS_TOKEN_LIFETIME.num_seconds(),
        }
    }
}
