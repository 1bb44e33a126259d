//! What operators do with accounts, from the command line.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveEnum as _, ConnectionTrait};
use secrecy::ExposeSecret as _;
use shared::{
    clock::Clock,
    database::{self, Origin, Tx},
    models::user::{self, Role, Status, Tier},
    redis::Redis,
};
use tokio::sync::Semaphore;

use super::{
    fields::{DisplayName, Email, NewPassword},
    passwords, prompt,
};
use crate::{
    config::{ApiConfig, TierName, UserCommand},
    extract::Rule,
};

/// Carries out a command, and gives the line that tells of it.
///
/// # Errors
/// In words for the operator.
pub async fn manage_users(config: &ApiConfig, command: UserCommand) -> anyhow::Result<String> {
    let db = database::connect(&config.common.database, Some(1), 1);
    let redis = Redis::connect(&config.common.redis)?;
    // It connects meanwhile, so that the cache hears of the change; without Redis the change counts after a minute.
    let _ = redis.ping().await;
    let now = Clock::System.now();
    let begin = || Tx::begin(&db, &redis, Origin::default());
    let told = match command {
        UserCommand::Create {
            email,
            name,
            admin,
            password_stdin,
        } => {
            let email = read("--email", &email, Email::parse)?;
            let name = name.map(|name| read("--name", &name, DisplayName::parse));
            let name = name.transpose()?.map(|name| name.0);
            let password = prompt::password(password_stdin)?;
            let password = read("the password", password.expose_secret(), NewPassword::parse)?;
            let slots = Semaphore::new(1).into();
            let hash = passwords::hash(&slots, password.0).await;
            let hash = hash.context("cannot hash the password")?;
            let role = if admin { Role::Admin } else { Role::User };
            let mut tx = begin().await?;
            let user = user::register(&mut tx, &email.0, hash, name, role, now).await?;
            tx.commit().await?;
            user.id.to_string()
        }
        UserCommand::Promote(account) => {
            change_role(begin().await?, &account.email, Role::Admin, now).await?
        }
        UserCommand::Demote(account) => {
            change_role(begin().await?, &account.email, Role::User, now).await?
        }
        UserCommand::Suspend(account) => {
            change_status(begin().await?, &account.email, Status::Suspended, now).await?
        }
        UserCommand::Reinstate(account) => {
            change_status(begin().await?, &account.email, Status::Active, now).await?
        }
        UserCommand::Delete { account, yes } => {
            // Nothing is held while somebody thinks.
            let user = find(&db, &account.email).await?;
            if !yes {
                let asked = format!(
                    "Delete {} with all that belongs to it, for good?",
                    user.email
                );
                prompt::confirm(&asked)?;
            }
            let mut tx = begin().await?;
            let user = get(&mut tx, &account.email).await?;
            let told = format!("{} is deleted", user.email);
            user.delete(&mut tx, now).await?;
            tx.commit().await?;
            told
        }
        UserCommand::Verify(account) => {
            let mut tx = begin().await?;
            let user = get(&mut tx, &account.email).await?;
            let user = user.verify(&mut tx, now).await?;
            tx.commit().await?;
            format!("{} is verified", user.email)
        }
        UserCommand::SetTier { account, tier } => {
            let mut tx = begin().await?;
            let user = get(&mut tx, &account.email).await?;
            let user = user.change_tier(&mut tx, tier.into(), now).await?;
            tx.commit().await?;
            format!("{} has the tier {}", user.email, user.tier.to_value())
        }
    };
    redis.quit().await;
    Ok(told)
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Free => Self::Free,
            TierName::Pro => Self::Pro,
            TierName::Enterprise => Self::Enterprise,
        }
    }
}

async fn change_role(
    mut tx: Tx,
    email: &str,
    role: Role,
    now: DateTime<Utc>,
) -> anyhow::Result<String> {
    let user = get(&mut tx, email).await?;
    let user = user.change_role(&mut tx, role, now).await?;
    tx.commit().await?;
    Ok(match user.role {
        Role::Admin => format!("{} is an admin", user.email),
        Role::User => format!("{} is no admin", user.email),
    })
}

async fn change_status(
    mut tx: Tx,
    email: &str,
    status: Status,
    now: DateTime<Utc>,
) -> anyhow::Result<String> {
    let user = get(&mut tx, email).await?;
    let user = user.change_status(&mut tx, status, now).await?;
    tx.commit().await?;
    Ok(match user.status {
        Status::Active => format!("{} is active", user.email),
        Status::Suspended => format!("{} is suspended", user.email),
    })
}

async fn get(tx: &mut Tx, email: &str) -> anyhow::Result<user::Model> {
    let found = find(tx.orm(), email).await?;
    Ok(user::get_for_update(tx, found.id).await?)
}

async fn find(db: &impl ConnectionTrait, email: &str) -> anyhow::Result<user::Model> {
    let found = user::find_by_email(db, email).await?;
    found.ok_or_else(|| anyhow!("no account has the address {email}"))
}

fn read<T>(
    what: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Rule>,
) -> anyhow::Result<T> {
    parse(text).map_err(|rule| anyhow!("{what} {}", rule.0))
}
