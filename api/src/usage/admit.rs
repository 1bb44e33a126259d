//! Who has used all that they may in a month asks for nothing that costs.

use sea_orm::ConnectionTrait;
use shared::{ids::UserId, models::usage_month};

use crate::{
    app::App,
    error::{Error, Result},
};

/// Lets a user ask for something that costs. That is looked at before a provider is asked, in what is known by then: answers
/// that are under way are made to their end.
///
/// # Errors
/// [`Error::UsageLimitReached`], or as the database fails.
pub(crate) async fn admit(app: &App, db: &impl ConnectionTrait, user: UserId) -> Result<()> {
    let now = app.clock.now();
    let limits = &app.config.common.usage_limits;
    match usage_month::find_reached(db, limits, user, now).await? {
        None => Ok(()),
        Some(reached) => Err(Error::UsageLimitReached {
            used: reached,
            retry_after: (reached.resets_at() - now).to_std().unwrap_or_default(),
        }),
    }
}
