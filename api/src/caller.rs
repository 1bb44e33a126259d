//! Who asks, and with what.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use serde::{Deserialize, Serialize};
use shared::{
    ids::{ApiKeyId, SessionId, UserId},
    models::{api_key::Scopes, user::Role},
    telemetry,
};

use crate::{app::App, authentication, denied::Denied, error::Error};

/// A user with a good access token, or a program with a good API key whose scopes are enough for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    /// Who it is.
    pub user: UserId,
    /// What they may do besides using their own things.
    pub role: Role,
    /// How we know.
    pub credential: Credential,
    /// What the credential allows.
    pub scopes: Scopes,
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Credential {
    /// The access token of a login.
    Session(SessionId),
    /// An API key.
    ApiKey(ApiKeyId),
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = authenticate(parts, app).await?;
        let is_allowed = if parts.method.is_safe() {
            caller.scopes.read
        } else {
            caller.scopes.write
        };
        if is_allowed {
            Ok(caller)
        } else {
            Err(Denied::InsufficientScope.into())
        }
    }
}

/// A user with a good access token: what decides over credentials is not for API keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionCaller {
    /// Who it is.
    pub caller: Caller,
    /// Their login.
    pub session: SessionId,
}

impl FromRequestParts<App> for SessionCaller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = authenticate(parts, app).await?;
        match caller.credential {
            Credential::Session(session) => Ok(Self { caller, session }),
            Credential::ApiKey(_) => Err(Denied::SessionRequired.into()),
        }
    }
}

/// An administrator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdminCaller;

impl FromRequestParts<App> for AdminCaller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match caller.role {
            Role::Admin => Ok(Self),
            Role::User => Err(Denied::AdminRequired.into()),
        }
    }
}

async fn authenticate(parts: &Parts, app: &App) -> Result<Caller, Error> {
    let token = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or(Error::Unauthenticated("there is no Authorization header"))?
        .to_str()
        .ok()
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        })
        .ok_or(Error::Unauthenticated(
            "the Authorization header is not `Bearer <token>`",
        ))?;
    let known = authentication::find(app, token).await?;
    tracing::Span::current().record("userId", tracing::field::display(known.caller.user));
    telemetry::report_user(known.caller.user);
    known.admit()
}
