//! Handlers of accounts.

use axum::{extract::State, http::StatusCode, response::Response};
use shared::{
    database::Error as DatabaseError,
    models::{
        generation::Stopped,
        session,
        user::{self, Privacy, Profile, Role, Status},
    },
};

use super::{
    attempts::{self, Attempt},
    device::Device,
    dto::{ChangePassword, DeleteMe, Login, Register, Session, UpdateMe, UpdatePrivacy, User},
    passwords, sessions,
};
use crate::{
    answer::Answer,
    app::App,
    caller::{Caller, SessionCaller},
    chat,
    config::Registration,
    denied::Denied,
    error::{Error, Problems, Result},
    extract::Json,
    middleware::RequestId,
    preconditions::Preconditions,
};

/// What a failed login is told, whatever the reason.
const WRONG: &str = "the e-mail address or the password is wrong";
/// What a caller is told whose account was deleted a moment ago.
const GONE: &str = "the account was deleted";

/// Creates an account and logs in.
///
/// Answers 403 `registration_closed` where only operators create accounts.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "accounts", request_body = Register,
    responses((status = 201, description = "Registered and logged in", body = Session), Problems),
    security(()),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn register(
    State(app): State<App>,
    request: RequestId,
    device: Device,
    Json(input): Json<Register>,
) -> Result<(StatusCode, Json<Session>)> {
    if app.config.registration == Registration::Closed {
        return Err(Denied::RegistrationClosed.into());
    }
    let attempt = Attempt::registration(&app, &device, &input.email.0).await?;
    let made = make_account(&app, &request, device, input).await;
    if made.as_ref().is_err_and(Error::is_ours) {
        attempt.forgive().await;
    } else {
        attempt.count();
    }
    Ok((StatusCode::CREATED, Json(made?)))
}

async fn make_account(
    app: &App,
    request: &RequestId,
    device: Device,
    input: Register,
) -> Result<Session> {
    let hash = passwords::hash(&app.hashing, input.password.0).await?;
    let mut tx = app.begin_anonymous(request).await?;
    let (name, now) = (input.display_name.map(|name| name.0), app.clock.now());
    let user = user::register(&mut tx, &input.email.0, hash, name, Role::User, now).await?;
    let session = sessions::begin(app, &mut tx, user, device).await?;
    tx.commit().await?;
    Ok(session)
}

/// Logs in with an e-mail address and a password.
///
/// Failed attempts are limited per address and per account (429 `too_many_requests`). A suspended account is reported
/// as such (403 `suspended`) only if the password is right.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "accounts", request_body = Login,
    responses((status = 200, description = "Logged in", body = Session), Problems),
    security(()),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn login(
    State(app): State<App>,
    request: RequestId,
    device: Device,
    Json(input): Json<Login>,
) -> Result<Json<Session>> {
    let attempt = Attempt::login(&app, &device, &input.email.0).await?;
    let found = find_account(&app, input).await;
    if found.as_ref().map_or_else(Error::is_ours, Option::is_some) {
        attempt.forgive().await;
    } else {
        attempt.count();
    }
    let found = found?.ok_or(Error::Unauthenticated(WRONG))?;
    let mut tx = app.begin_anonymous(&request).await?;
    // Held, as a change of the password ends all logins: none may begin under the old one meanwhile.
    let user = match user::get_for_share(&mut tx, found.id).await {
        // It was deleted a moment ago.
        Err(DatabaseError::NotFound(_)) => return Err(Error::Unauthenticated(WRONG)),
        held => held?,
    };
    if user.password_hash != found.password_hash {
        return Err(Error::Unauthenticated(WRONG));
    }
    if user.status == Status::Suspended {
        return Err(Denied::Suspended.into());
    }
    let session = sessions::begin(&app, &mut tx, user, device).await?;
    tx.commit().await?;

    Ok(Json(session))
}

/// Finds the account that the password opens; it takes as long where there is none.
async fn find_account(app: &App, input: Login) -> Result<Option<user::Model>> {
    let user = user::find_by_email(&app.db, &input.email.0).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = passwords::verify(&app.hashing, input.password.0, hash).await?;
    Ok(user.filter(|_| is_right))
}

/// Gets the caller's own account.
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
        .ok_or(Error::Unauthenticated(GONE))?;
    preconditions.answer(user.version, &User::from(user))
}

/// Changes the caller's profile, as others see it.
#[utoipa::path(
    patch, path = "/api/v1/users/me", tag = "accounts", request_body = UpdateMe,
    responses((status = 200, description = "The changed account", body = User), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn update_me(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Json(input): Json<UpdateMe>,
) -> Result<Answer> {
    let (name, avatar) = (input.display_name.0, input.avatar_url.0);
    if name.is_none() && avatar.is_none() {
        return Err(Error::field("", "needs displayName or avatarUrl"));
    }
    let checked = match &avatar {
        Some(Some(url)) => app.outbound.check_url(&url.0).await,
        _ => Ok(()),
    };
    let change = Profile {
        display_name: name.map(|name| name.0),
        avatar_url: avatar.map(|url| url.map(|url| url.0.into())),
    };
    let now = app.clock.now();
    let mut tx = app.begin(&caller, &request).await?;
    checked.map_err(Error::UrlRefused)?;
    let user = user::get_for_update(&mut tx, caller.user).await?;
    preconditions.check(user.version)?;
    let user = user.change_profile(&mut tx, change, now).await?;
    tx.answer_version(StatusCode::OK, user.version, &User::from(user))
        .await
}

/// Changes what others can learn about the caller's activity.
#[utoipa::path(
    patch, path = "/api/v1/users/me/privacy", tag = "accounts", request_body = UpdatePrivacy,
    responses((status = 200, description = "The changed account", body = User), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn update_privacy(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Json(input): Json<UpdatePrivacy>,
) -> Result<Answer> {
    let change = Privacy {
        presence_sharing: input.presence_sharing.0.map(Into::into),
        read_receipts_enabled: input.read_receipts_enabled.0,
    };
    if change.presence_sharing.is_none() && change.read_receipts_enabled.is_none() {
        let problem = "needs presenceSharing or readReceiptsEnabled";
        return Err(Error::field("", problem));
    }
    let now = app.clock.now();
    let mut tx = app.begin(&caller, &request).await?;
    let user = user::get_for_update(&mut tx, caller.user).await?;
    preconditions.check(user.version)?;
    let user = user.change_privacy(&mut tx, change, now).await?;
    tx.answer_version(StatusCode::OK, user.version, &User::from(user))
        .await
}

/// Changes the caller's password and logs out their other sessions. API keys keep working.
///
/// A wrong `currentPassword` is answered with 422 for that field. Changes and attempts are limited per address and per
/// account (429 `too_many_requests`).
#[utoipa::path(
    post, path = "/api/v1/users/me/password", tag = "accounts", request_body = ChangePassword,
    responses((status = 204, description = "Changed"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn change_password(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
    preconditions: Preconditions,
    device: Device,
    Json(input): Json<ChangePassword>,
) -> Result<Answer> {
    let SessionCaller { caller, session } = caller;
    // A repetition of what was done finds another password, and is no try. Nothing is held while passwords are hashed.
    drop(app.begin(&caller, &request).await?);
    attempts::count_confirmation(&app, &device, caller.user).await?;
    let user = user::find(&app.db, caller.user).await?;
    let known = user.map(|user| user.password_hash);
    let (current, new) = (input.current_password.0, input.new_password.0);
    let is_right = passwords::verify(&app.hashing, current, known.clone()).await?;
    let hash = passwords::hash(&app.hashing, new).await?;

    let now = app.clock.now();
    let mut tx = app.begin(&caller, &request).await?;
    let user = user::get_for_update(&mut tx, caller.user).await?;
    preconditions.check(user.version)?;
    if !is_right || known.as_ref() != Some(&user.password_hash) {
        return Err(Error::field("/currentPassword", "is wrong"));
    }
    let user = user.change_password(&mut tx, hash, now).await?;
    session::end_all(&mut tx, user.id, Some(session), now).await?;
    tx.no_content().await
}

/// Deletes the caller's account, at once and for good.
///
/// All sessions and API keys end, answers that are being made stop, and the e-mail address is free again. A job then removes
/// everything that belonged to the account, which takes a quarter of an hour or more. A wrong `password` is answered with 422
/// for that field. Attempts are limited together with changes of the password (429 `too_many_requests`). The last administrator
/// cannot be deleted (409 `last_admin`).
#[utoipa::path(
    delete, path = "/api/v1/users/me", tag = "accounts", request_body = DeleteMe,
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn delete_me(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
    preconditions: Preconditions,
    device: Device,
    Json(input): Json<DeleteMe>,
) -> Result<Answer> {
    let caller = caller.caller;
    attempts::count_confirmation(&app, &device, caller.user).await?;
    let user = user::find(&app.db, caller.user)
        .await?
        .ok_or(Error::Unauthenticated(GONE))?;
    let known = user.password_hash;
    // Nothing is held while a password is hashed.
    let is_right = passwords::verify(&app.hashing, input.password.0, Some(known.clone())).await?;

    let mut tx = app.begin(&caller, &request).await?;
    let user = match user::get_for_update(&mut tx, caller.user).await {
        Err(DatabaseError::NotFound(_)) => return Err(Error::Unauthenticated(GONE)),
        held => held?,
    };
    preconditions.check(user.version)?;
    if !is_right || known != user.password_hash {
        return Err(Error::field("/password", "is wrong"));
    }
    user.delete(&mut tx, app.clock.now()).await?;
    let answer = tx.no_content().await?;
    chat::stop_deleted(&app, caller.user, Stopped::Everything).await;
    Ok(answer)
}
