//! What users have used in a month of UTC, and which limits that comes near to or reaches.
//!
//! The database itself counts each row of the ledger (see the step of the schema that makes the table). What is here looks at
//! the sums: before something is asked that costs, and after something was counted, in the same transaction, so that each limit
//! is told of once. A transaction that counts comes to the row of `usage_months` last, as others of the user wait for it.

mod told;

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

use self::told::{Crossed, Told};
use super::user::Tier;
use crate::{
    config::UsageLimits,
    database::{Result, Tx},
    events::{self, Event, UsageLimit},
    ids::UserId,
};

const MICROUSD: i64 = 1_000_000;
const MICROUSD_IN_CENT: i64 = 10_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Tokens of questions and answers.
    Tokens,
    /// Millionths of a US dollar.
    Microusd,
}

impl Unit {
    /// Permanent name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Microusd => "microusd",
        }
    }
}

/// How much of a limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// What is limited.
    pub unit: Unit,
    /// How much of it may be used.
    pub limit: i64,
    /// How much is.
    pub used: i64,
    /// The first day of the month.
    pub month: NaiveDate,
    /// Whether the user was told that it is reached.
    pub is_told: bool,
}

impl Used {
    /// Whether nothing is left.
    pub fn is_reached(&self) -> bool {
        self.used >= self.limit
    }

    /// What is left.
    pub fn remaining(&self) -> i64 {
        self.limit.saturating_sub(self.used).max(0)
    }

    /// When the next month begins.
    pub fn resets_at(&self) -> DateTime<Utc> {
        let next = self.month.checked_add_months(Months::new(1));
        let next = next.unwrap_or(NaiveDate::MAX);
        next.and_time(NaiveTime::MIN).and_utc()
    }
}

impl fmt::Display for Used {
    /// In a sentence, for a user who has reached it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.unit {
            Unit::Tokens => write!(f, "the {limit} tokens of this month are used")?,
            Unit::Microusd => write!(f, "the {} US dollars of this month are used", usd(limit))?,
        }
        write!(
            f,
            "; the next month begins at {}",
            self.resets_at().format("%FT%TZ")
        )
    }
}

/// Millionths of a US dollar in dollars: with whole cents, or to the last digit where it is less than one.
pub fn usd(microusd: i64) -> String {
    if (1..MICROUSD_IN_CENT).contains(&microusd) {
        return format!("0.{microusd:06}");
    }
    let cents = microusd % MICROUSD / MICROUSD_IN_CENT;
    format!("{}.{cents:02}", microusd / MICROUSD)
}

/// The first day of the month of a time.
pub fn month_of(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day.with_day(1).unwrap_or(day)
}

/// Tells how much of each of their limits a user has used this month; nothing of those who have none, for whom nothing is
/// read. A month of which nothing was counted yet is summed up from the ledger: it may hold what programs of before wrote.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    limits: &UsageLimits,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<Used>> {
    const SQL: &str = "
        SELECT o.tier, coalesce(m.tokens, s.tokens) AS tokens,
               coalesce(m.cost_microusd, s.cost_microusd) AS cost_microusd,
               m.near_tokens_limit, m.reached_tokens_limit, m.near_cost_limit, m.reached_cost_limit
          FROM users o LEFT JOIN usage_months m ON m.user_id = o.id AND m.month = $2,
               -- Where the month was begun it is asked for nobody, so that nothing is read.
               LATERAL usage_of_month(CASE WHEN m.user_id IS NULL THEN o.id END, $2) s
         WHERE o.id = $1";
    if limits.is_none() {
        return Ok(Vec::new());
    }
    let month = month_of(now);
    let row = find(db, SQL, user, month).await?;
    let of_row = row.map(|row| row.used(limits, month).map(|(used, _)| used));
    Ok(of_row.into_iter().flatten().collect())
}

/// Finds a limit that a user has reached this month, so that nothing may be asked for them that costs.
///
/// # Errors
/// As the database fails.
pub async fn find_reached(
    db: &impl ConnectionTrait,
    limits: &UsageLimits,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Option<Used>> {
    let mut all = list(db, limits, user, now).await?.into_iter();
    Ok(all.find(Used::is_reached))
}

/// Tells of limits that rows of the ledger have come near to or reached, once for each limit; `asked_at` is when they were
/// asked for. The rows were written in this transaction, which must wait for nobody else after this.
///
/// # Errors
/// As the database fails.
pub async fn tell(
    tx: &mut Tx,
    limits: &UsageLimits,
    user: Option<UserId>,
    asked_at: &[DateTime<Utc>],
) -> Result<()> {
    const SQL: &str = "
        SELECT o.tier, m.tokens, m.cost_microusd,
               m.near_tokens_limit, m.reached_tokens_limit, m.near_cost_limit, m.reached_cost_limit
          FROM usage_months m JOIN users o ON o.id = m.user_id
         WHERE m.user_id = $1 AND m.month = $2 AND o.deleted_at IS NULL
           FOR UPDATE OF m";
    let Some(user) = user.filter(|_| !limits.is_none()) else {
        return Ok(());
    };
    let months: BTreeSet<NaiveDate> = asked_at.iter().copied().map(month_of).collect();
    for month in months {
        if let Some(row) = find(tx.orm(), SQL, user, month).await? {
            tell_of(tx, limits, user, month, row).await?;
        }
    }
    Ok(())
}

/// Tells of limits that a user has reached this month without anything being counted: as a limit was lowered, or by what was
/// counted nowhere yet. The transaction must wait for nobody else after this.
///
/// # Errors
/// As the database fails.
pub async fn tell_late(
    tx: &mut Tx,
    limits: &UsageLimits,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<()> {
    const SQL: &str = "
        INSERT INTO usage_months (user_id, month, tokens, cost_microusd)
        SELECT o.id, $2, s.tokens, s.cost_microusd
          FROM users o, usage_of_month(o.id, $2) s
         WHERE o.id = $1 AND o.deleted_at IS NULL
        ON CONFLICT DO NOTHING";
    let values = [user.into(), month_of(now).into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    tell(tx, limits, Some(user), &[now]).await
}

async fn tell_of(
    tx: &mut Tx,
    limits: &UsageLimits,
    user: UserId,
    month: NaiveDate,
    mut row: Row,
) -> Result<()> {
    const SQL: &str = "
        UPDATE usage_months
           SET near_tokens_limit = $3, reached_tokens_limit = $4, near_cost_limit = $5, reached_cost_limit = $6
         WHERE user_id = $1 AND month = $2";
    let mut crossed = Vec::new();
    let limited: Vec<(Used, Told)> = row.used(limits, month).collect();
    for (used, told) in limited {
        let (told, event) = match told.after(used.used, used.limit) {
            (_, None) => continue,
            (told, Some(Crossed::Near)) => {
                (told, Event::UsageLimitApproaching(event_of(user, used)))
            }
            (told, Some(Crossed::Reached)) => {
                (told, Event::UsageLimitReached(event_of(user, used)))
            }
        };
        row.note(used.unit, told);
        crossed.push((event, used.resets_at()));
    }
    if crossed.is_empty() {
        return Ok(());
    }
    let values = [
        user.into(),
        month.into(),
        row.near_tokens_limit.into(),
        row.reached_tokens_limit.into(),
        row.near_cost_limit.into(),
        row.reached_cost_limit.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    let now = tx.now().await?;
    for (event, resets_at) in crossed {
        // What is accounted for late may fill a month that is over, which nobody needs to hear of.
        if now < resets_at {
            events::emit(tx, user, &event, now).await?;
        }
    }
    Ok(())
}

fn event_of(user: UserId, of: Used) -> UsageLimit {
    UsageLimit {
        user_id: user,
        limit: of.unit.as_str().to_owned(),
        used: u64::try_from(of.used).unwrap_or_default(),
        allowed: u64::try_from(of.limit).unwrap_or_default(),
        resets_at: Some(of.resets_at()),
    }
}

async fn find(
    db: &impl ConnectionTrait,
    sql: &str,
    user: UserId,
    month: NaiveDate,
) -> Result<Option<Row>> {
    let values = [user.into(), month.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Row::find_by_statement(statement).one(db).await?)
}

/// A row of `usage_months`, and the tier of its user.
#[derive(Debug, FromQueryResult)]
struct Row {
    tier: Tier,
    tokens: i64,
    cost_microusd: i64,
    near_tokens_limit: Option<i64>,
    reached_tokens_limit: Option<i64>,
    near_cost_limit: Option<i64>,
    reached_cost_limit: Option<i64>,
}

impl Row {
    /// What is used of each limit, and what was told of it.
    fn used(
        &self,
        limits: &UsageLimits,
        month: NaiveDate,
    ) -> impl Iterator<Item = (Used, Told)> + use<> {
        let limits = limits.of(self.tier);
        let of = |unit, limit: Option<i64>, used, near, reached| {
            limit.map(|limit| {
                let told = Told { near, reached };
                let used = Used {
                    unit,
                    limit,
                    used,
                    month,
                    is_told: told.is_reached(limit),
                };
                (used, told)
            })
        };
        let tokens = of(
            Unit::Tokens,
            limits.tokens,
            self.tokens,
            self.near_tokens_limit,
            self.reached_tokens_limit,
        );
        let cost = of(
            Unit::Microusd,
            limits.cost_microusd,
            self.cost_microusd,
            self.near_cost_limit,
            self.reached_cost_limit,
        );
        [tokens, cost].into_iter().flatten()
    }

    fn note(&mut self, unit: Unit, told: Told) {
        let (near, reached) = match unit {
            Unit::Tokens => (&mut self.near_tokens_limit, &mut self.reached_tokens_limit),
            Unit::Microusd => (&mut self.near_cost_limit, &mut self.reached_cost_limit),
        };
        (*near, *reached) = (told.near, told.reached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_with_the_year() {
        let at = DateTime::parse_from_rfc3339("2026-12-31T23:59:59Z");
        let month = month_of(at.unwrap().to_utc());
        let used = Used {
            unit: Unit::Microusd,
            limit: 5_500_000,
            used: 6_000_000,
            month,
            is_told: false,
        };
        assert!(used.is_reached() && used.remaining() == 0);
        assert_eq!(
            used.to_string(),
            "the 5.50 US dollars of this month are used; the next month begins at 2027-01-01T00:00:00Z"
        );
    }
}
