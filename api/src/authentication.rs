//! From an access token or API key to its owner: by the cache, else by Postgres.
//!
//! A request with a known credential costs one read of Redis and none of Postgres. What is cached is no secret: the key
//! is a hash of the token, the value names the owner. An entry is believed for a minute and then checked again, and it is
//! removed when what it says changes (logout, another password, suspension, …), so a change counts at once; where Redis
//! was away at that moment, or the entry was just being written, after a minute at most.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    keyring::sha256,
    models::{
        api_key::{self, Scopes},
        session,
        user::Status,
    },
    redis,
};

use crate::{
    app::App,
    caller::{Caller, Credential},
    denied::Denied,
    error::{Error, Result},
};

/// Begin of every access token.
pub(crate) const ACCESS_TOKEN_PREFIX: &str = "bca_";
/// Begin of every refresh token.
pub(crate) const REFRESH_TOKEN_PREFIX: &str = "bcr_";
/// Begin of every API key.
pub(crate) const API_KEY_PREFIX: &str = "bck_";

/// How long an entry is believed without another look.
const BELIEVED: TimeDelta = TimeDelta::seconds(60);
/// How long an entry is kept, for credentials that live longer.
const LIFETIME: Duration = Duration::from_hours(24 * 7);

/// What we know of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Whose it is.
    pub caller: Caller,
    status: Status,
    /// When it ends; none: never.
    expires_at: Option<DateTime<Utc>>,
    /// When Postgres said so.
    checked_at: DateTime<Utc>,
}

impl Known {
    /// The caller, if they may act.
    ///
    /// # Errors
    /// [`Denied::Suspended`].
    pub(crate) fn admit(self) -> Result<Caller> {
        match self.status {
            Status::Active => Ok(self.caller),
            Status::Suspended => Err(Denied::Suspended.into()),
        }
    }

    fn is_believed(&self, now: DateTime<Utc>) -> bool {
        now - self.checked_at < BELIEVED && self.expires_at.is_none_or(|end| now < end)
    }

    /// How long it is worth keeping.
    fn lifetime(&self, now: DateTime<Utc>) -> Duration {
        let left = self.expires_at.map(|end| (end - now).to_std());
        left.map_or(LIFETIME, |left| left.unwrap_or_default().min(LIFETIME))
    }
}

/// Finds the owner of a token or key.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is not good now; as Postgres fails.
pub(crate) async fn find(app: &App, token: &str) -> Result<Known> {
    let hash = sha256(token.as_bytes());
    let key = app.redis.keys().session(&hash);
    let now = app.clock.now();
    let entry = cached(app, &key).await;
    if let Ok(Some(known)) = entry
        && known.is_believed(now)
    {
        return Ok(known);
    }
    let known = look_up(app, token, &hash, now).await?;
    let known = known.ok_or(Error::Unauthenticated(
        "the access token or API key is unknown or has expired",
    ))?;
    if entry.is_ok() {
        let entry = serde_json::to_vec(&known).expect("an entry is plain data");
        if let Err(error) = app.redis.set(&key, entry, known.lifetime(now)).await {
            tracing::debug!(error = %error, "a login is not cached");
        }
    }
    Ok(known)
}

/// The entry of a key, if there is one.
async fn cached(app: &App, key: &str) -> Result<Option<Known>, redis::Error> {
    if !app.redis.is_up() {
        // Not worth waiting for.
        return Err(redis::Error::Open);
    }
    let entry = app.redis.get(key).await?;
    // An entry of another version of this program is none.
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry).ok()))
}

async fn look_up(app: &App, token: &str, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Known>> {
    let (known, last_used_at) = if token.starts_with(API_KEY_PREFIX) {
        let Some(access) = api_key::find_by_key(&app.db, hash, now).await? else {
            return Ok(None);
        };
        let caller = Caller {
            user: access.user_id,
            role: access.role,
            credential: Credential::ApiKey(access.id),
            scopes: Scopes::of(&access.scopes),
        };
        let known = Known {
            caller,
            status: access.status,
            expires_at: access.expires_at,
            checked_at: now,
        };
        (known, access.last_used_at)
    } else {
        let Some(access) = session::find_by_access_token(&app.db, hash, now).await? else {
            return Ok(None);
        };
        let caller = Caller {
            user: access.user_id,
            role: access.role,
            credential: Credential::Session(access.id),
            scopes: Scopes::ALL,
        };
        let known = Known {
            caller,
            status: access.status,
            expires_at: Some(access.access_expires_at),
            checked_at: now,
        };
        (known, access.last_used_at)
    };
    if last_used_at.is_none_or(|at| now - at >= session::USE_NOTED_EVERY) {
        note_use(app, known.caller.credential, now);
    }
    Ok(Some(known))
}

/// Notes that a credential is used. Nobody waits for it.
fn note_use(app: &App, credential: Credential, now: DateTime<Utc>) {
    let db = app.db.clone();
    app.tasks.spawn(async move {
        let noted = match credential {
            Credential::Session(id) => session::note_use(&db, id, now).await,
            Credential::ApiKey(id) => api_key::note_use(&db, id, now).await,
        };
        if let Err(error) = noted {
            tracing::debug!(error = %error, "could not note that a credential is used");
        }
    });
}

#[cfg(test)]
mod tests {
    use shared::{
        ids::{SessionId, UserId},
        models::user::Role,
    };

    use super::*;

    fn known(expires_in: Option<i64>) -> Known {
        let now = DateTime::UNIX_EPOCH;
        Known {
            caller: Caller {
                user: UserId::new(),
                role: Role::User,
                credential: Credential::Session(SessionId::new()),
                scopes: Scopes::ALL,
            },
            status: Status::Active,
            expires_at: expires_in.map(|seconds| now + TimeDelta::seconds(seconds)),
            checked_at: now,
        }
    }

    #[test]
    fn an_entry_is_believed_for_a_minute_and_not_beyond_its_end() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        assert!(known(Some(900)).is_believed(at(59)));
        assert!(!known(Some(900)).is_believed(at(60)));
        assert!(known(Some(10)).is_believed(at(9)));
        assert!(!known(Some(10)).is_believed(at(10)));
        assert!(known(None).is_believed(at(59)));
    }

    #[test]
    fn an_entry_is_kept_for_a_week_and_not_beyond_its_end() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(known(Some(900)).lifetime(now), Duration::from_mins(15));
        assert_eq!(known(None).lifetime(now), LIFETIME);
        assert_eq!(known(Some(90 * 86_400)).lifetime(now), LIFETIME);
    }
}
