//! Handlers of accounts.

use axum::{extract::State, http::StatusCode, response::Response};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use shared::{
    database::{Error as DatabaseError, Tx},
    keyring::random,
    models::{session, user},
};

use super::{
    dto::{Login, Register, Session, User},
    passwords,
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::Json,
    middleware::RequestId,
    preconditions::Preconditions,
};

/// What a failed login is told, whatever the reason.
const WRONG: &str = "the e-mail address or the password is wrong";

/// Makes an account, and logs in.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "accounts", request_body = Register,
    responses((status = 201, description = "Registered and logged in", body = Session), Problems),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn register(
    State(app): State<App>,
    request: RequestId,
    Json(input): Json<Register>,
) -> Result<(StatusCode, Json<Session>)> {
    let hash = passwords::hash(&app.hashing, input.password.0).await?;
    let mut tx = app.begin_anonymous(&request).await?;
    let name = input.display_name.map(|name| name.0);
    let user = user::register(&mut tx, &input.email.0, hash, name, app.clock.now()).await?;
    let session = begin_session(&app, &mut tx, user).await?;
    tx.commit().await?;

    Ok((StatusCode::CREATED, Json(session)))
}

/// Logs in.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "accounts", request_body = Login,
    responses((status = 200, description = "Logged in", body = Session), Problems),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn login(
    State(app): State<App>,
    request: RequestId,
    Json(input): Json<Login>,
) -> Result<Json<Session>> {
    let user = user::find_by_email(&app.db, &input.email.0).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = passwords::verify(&app.hashing, input.password.0, hash).await?;
    let Some(user) = user.filter(|_| is_right) else {
        return Err(Error::Unauthenticated(WRONG));
    };
    let mut tx = app.begin_anonymous(&request).await?;
    let session = begin_session(&app, &mut tx, user).await?;
    tx.commit().await?;

    Ok(Json(session))
}

/// The caller's own account.
#[utoipa::path(
    get, path = "/api/v1/users/me", tag = "accounts",
    responses((status = 200, description = "The account", body = User), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn get_me(
    State(app): State<App>,
    caller: Caller,
    preconditions: Preconditions,
) -> Result<Response> {
    let user = user::find(&app.db, caller.user)
        .await?
        .ok_or(Error::NotFound("user"))?;
    preconditions.answer(user.version, &User::from(user))
}

/// Begins a login with two fresh tokens of 256 random bits.
async fn begin_session(
    app: &App,
    tx: &mut Tx,
    user: user::Model,
) -> Result<Session, DatabaseError> {
    let token = |prefix: &str| format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()));
    let (access_token, refresh_token) = (token("bca_"), token("bcr_"));
    session::begin(tx, user.id, &access_token, &refresh_token, app.clock.now()).await?;
    let expires_in = session::ACCESS_TOKEN_LIFETIME.num_seconds();
    Ok(Session {
        user: user.into(),
        access_token,
        refresh_token,
        expires_in,
    })
}
