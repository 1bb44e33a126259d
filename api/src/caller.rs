//! Who asks.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use shared::{ids::UserId, models::session, telemetry};

use crate::{app::App, error::Error};

/// A user with a good access token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// Who it is.
    pub user: UserId,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
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
        let session = session::find_by_access_token(&app.db, token, app.clock.now())
            .await?
            .ok_or(Error::Unauthenticated(
                "the access token is unknown or has expired",
            ))?;
        tracing::Span::current().record("userId", tracing::field::display(session.user_id));
        telemetry::report_user(session.user_id);
        Ok(Self {
            user: session.user_id,
        })
    }
}
