//! How often one may try to log in, to register, to refresh, and to change a password or delete the account:
//! `RATE_LIMIT_AUTH`.
//!
//! Each of the four has budgets of its own, all of that size: one for each address, so that one client does not try many
//! accounts, and one for each account, so that many clients do not try one. A try is counted before its password is
//! looked at, so that a hundred tries at the same time are a hundred tries. It is given back when it ends in a login, and
//! when we were in trouble; registrations and changes of a password count also when they succeed. Deleting the account asks
//! for the same password as changing it does, so both have one budget. A refresh counts when
//! its token is unknown, and then only blocks others that are, as there is nothing to guess: those with a good token
//! pass.
//!
//! Whoever knows an address can use its account's budget up and so keep its owner from logging in. Hence an address from
//! which the account is logged in has a budget of its own with that account; and who is logged in stays so.
//!
//! An account's budget exists whether or not the account does, so it tells nothing.

use shared::{
    ids::UserId,
    keyring::sha256,
    models::{
        session,
        user::{self, normal_email},
    },
};

use super::device::Device;
use crate::{
    app::App,
    error::Result,
    limits::{Exhausted, Taken},
};

const LOGIN_ACCOUNT: &str = "login-account";

/// A try whose end is not known yet. One that is cut off, as by a time limit, does not count.
#[must_use = "a try counts or is forgiven"]
pub(super) struct Attempt {
    app: App,
    taken: Option<Taken>,
}

impl Attempt {
    /// Begins to log in to the account of an address.
    ///
    /// # Errors
    /// When it was tried too often.
    pub(super) async fn login(app: &App, device: &Device, email: &str) -> Result<Self> {
        let (email, account) = account_of(email);
        let by_address = ("login-address", device.network.clone());
        let tried = take(app, [by_address.clone(), (LOGIN_ACCOUNT, account.clone())]).await;
        let Err(exhausted) = tried else {
            return Ok(tried?);
        };
        let is_account_tried = exhausted.policy == LOGIN_ACCOUNT;
        if !is_account_tried || !knows(app, &email, device).await? {
            return Err(exhausted.into());
        }
        let own = ("login-known", format!("{account}:{}", device.network));
        Ok(take(app, [by_address, own]).await?)
    }

    /// Begins to make an account for an address.
    ///
    /// # Errors
    /// When it was tried too often.
    pub(super) async fn registration(app: &App, device: &Device, email: &str) -> Result<Self> {
        let (_, account) = account_of(email);
        let subjects = [
            ("register-address", device.network.clone()),
            ("register-account", account),
        ];
        Ok(take(app, subjects).await?)
    }

    /// It counts.
    pub(super) fn count(mut self) {
        self.taken = None;
    }

    /// It does not count.
    pub(super) async fn forgive(mut self) {
        if let Some(taken) = self.taken.take() {
            self.app.limits.give_back(taken).await;
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            let app = self.app.clone();
            let tasks = app.tasks.clone();
            tasks.spawn(async move { app.limits.give_back(taken).await });
        }
    }
}

/// Counts a change of a password or a deletion, or the try of one: who is logged in says the password for it.
///
/// # Errors
/// When there were too many.
pub(super) async fn count_confirmation(app: &App, device: &Device, user: UserId) -> Result<()> {
    let subjects = [
        ("password-address", device.network.clone()),
        ("password-account", user.to_string()),
    ];
    take(app, subjects).await?.count();
    Ok(())
}

/// Counts a refresh with an unknown token.
///
/// # Errors
/// When there were too many.
pub(super) async fn count_failed_refresh(app: &App, device: &Device) -> Result<()> {
    let subjects = [("refresh-address", device.network.clone())];
    take(app, subjects).await?.count();
    Ok(())
}

/// The form in which an address is looked for, and the name of its budgets.
fn account_of(email: &str) -> (String, String) {
    let email = normal_email(email);
    let account = hex::encode(sha256(email.as_bytes()));
    (email, account)
}

/// Whether the account is logged in from there.
async fn knows(app: &App, email: &str, device: &Device) -> Result<bool> {
    let Some(user) = user::find_by_email(&app.db, email).await? else {
        return Ok(false);
    };
    let (address, now) = (&device.kept.address_hash, app.clock.now());
    Ok(session::is_known_address(&app.db, user.id, address, now).await?)
}

async fn take(
    app: &App,
    subjects: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<Attempt, Exhausted> {
    let taken = match app.config.rate_limit_auth {
        Some(rate) => {
            let budgets = subjects
                .into_iter()
                .map(|(policy, subject)| app.limits.budget(policy, &subject, rate))
                .collect();
            Some(app.limits.take(budgets).await?)
        }
        None => None,
    };
    Ok(Attempt {
        app: app.clone(),
        taken,
    })
}
