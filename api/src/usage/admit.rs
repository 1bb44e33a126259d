//! Who has used all that they may in a month asks for nothing that costs.

use sea_orm::ConnectionTrait;
use shared::{
    database::{self, Origin, Tx},
    ids::UserId,
    models::usage_month,
};
use tracing::Instrument as _;

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
    let Some(reached) = usage_month::find_reached(db, limits, user, now).await? else {
        return Ok(());
    };
    if !reached.is_told {
        let telling = tell(app.clone(), user);
        app.tasks.spawn(telling.in_current_span());
    }
    Err(Error::UsageLimitReached {
        used: reached,
        retry_after: (reached.resets_at() - now).to_std().unwrap_or_default(),
    })
}

/// Tells of a limit that is reached without anything being counted since, as where it was lowered: in a transaction of its own,
/// as that of the request comes to nothing.
async fn tell(app: App, user: UserId) {
    // Where others count for the user they tell of it, or the next who is refused does.
    let Some(_turn) = app.ledger.turn_now(user) else {
        return;
    };
    if let Err(error) = try_tell(&app, user).await {
        let error = anyhow::Error::new(error);
        tracing::debug!(error = %format!("{error:#}"), "a limit that is reached is not told of yet");
    }
}

async fn try_tell(app: &App, user: UserId) -> database::Result<()> {
    let origin = Origin {
        user: Some(user),
        ..Origin::default()
    };
    let limits = &app.config.common.usage_limits;
    let mut tx = Tx::begin(&app.db, &app.redis, origin).await?;
    usage_month::tell_late(&mut tx, limits, user, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}
