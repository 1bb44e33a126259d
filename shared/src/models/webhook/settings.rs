//! What a user says of an endpoint, and how it is changed.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ActiveModel, Model, headers, secrets};
use crate::{
    database::{Result, Tx},
    jobs::DeliverWebhook,
    keyring::Keyring,
    queue::groups,
};

/// Tries at once at an endpoint, unless its deliveries wait for each other.
const AT_ONCE: u16 = 4;
const MINUTE: Duration = Duration::from_mins(1);

/// When a delivery that failed is tried again.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookSchedule)]
pub enum Schedule {
    /// Ten tries within 75 hours and 35 minutes.
    #[sea_orm(string_value = "standard")]
    Standard,
    /// Three tries: after the first, 5 and 10 seconds.
    #[sea_orm(string_value = "short")]
    Short,
}

/// Between the tries of [`Schedule::Standard`]: the specification's (Standard Webhooks 1.0.0, "Deliverability").
const STANDARD: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// The same of [`Schedule::Short`].
const SHORT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];

impl Schedule {
    /// How long each next try waits.
    pub fn waits(self) -> &'static [Duration] {
        match self {
            Self::Standard => &STANDARD,
            Self::Short => &SHORT,
        }
    }

    /// The one with so many tries.
    pub fn of(tries: i32) -> Self {
        if u32::try_from(tries).is_ok_and(|tries| tries == Self::Short.tries()) {
            Self::Short
        } else {
            Self::Standard
        }
    }

    /// Tries in all.
    pub fn tries(self) -> u32 {
        u32::try_from(self.waits().len() + 1).unwrap_or(u32::MAX)
    }
}

/// Which deliveries to an endpoint wait for each other.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookOrdering)]
pub enum Ordering {
    /// None do.
    #[sea_orm(string_value = "none")]
    None,
    /// All do: one after the other, as the events happened.
    #[sea_orm(string_value = "endpoint")]
    Endpoint,
    /// Those of events about the same thing do, such as those of one conversation.
    #[sea_orm(string_value = "key")]
    Key,
}

impl Ordering {
    /// How many tries are made at once at an endpoint that took the last one; elsewhere it is one at a time.
    pub fn at_once(self) -> u16 {
        match self {
            Self::Endpoint => 1,
            Self::None | Self::Key => AT_ONCE,
        }
    }

    /// The order in which a delivery of an event about `subject` waits, if it waits in one.
    pub fn order_key(self, subject: Option<&str>) -> Option<String> {
        match self {
            Self::None => None,
            Self::Endpoint => Some(String::new()),
            Self::Key => subject.map(str::to_owned),
        }
    }
}

/// Whose events an endpoint gets.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookScope)]
pub enum Scope {
    /// Those of its user.
    #[sea_orm(string_value = "own")]
    Own,
    /// Those of all users that administrators may see, too.
    #[sea_orm(string_value = "all")]
    All,
}

/// What a user says of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where events are posted to.
    pub url: String,
    /// Which ones: names and patterns.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether events are sent.
    pub is_active: bool,
    /// Most tries a minute.
    pub rate_limit_per_minute: Option<i32>,
    /// When it is tried again.
    pub schedule: Schedule,
    /// Which deliveries wait for each other.
    pub ordering: Ordering,
    /// Longest time of a try; as the worker says where there is none.
    pub timeout_seconds: Option<i16>,
    /// Whose events it gets.
    pub scope: Scope,
    /// Whether requests are signed with Ed25519, too.
    pub is_asymmetric: bool,
    /// Headers of its requests, all of them; where nothing is said they stay.
    pub headers: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// Those of an endpoint of which nothing else is said.
    pub fn new(url: String, events: Vec<String>) -> Self {
        Self {
            url,
            events,
            description: None,
            is_active: true,
            rate_limit_per_minute: None,
            schedule: Schedule::Standard,
            ordering: Ordering::None,
            timeout_seconds: None,
            scope: Scope::Own,
            is_asymmetric: false,
            headers: None,
        }
    }

    /// Least time between two tries.
    pub(super) fn interval(&self) -> Option<Duration> {
        let limit = self.rate_limit_per_minute?;
        Some(MINUTE / u32::try_from(limit).unwrap_or(1).max(1))
    }
}

impl Model {
    /// What its user says of it, without its headers.
    pub fn settings(&self) -> Settings {
        Settings {
            url: self.url.clone(),
            events: self.events.clone(),
            description: self.description.clone(),
            is_active: self.is_active,
            rate_limit_per_minute: self.rate_limit_per_minute,
            schedule: self.schedule,
            ordering: self.ordering,
            timeout_seconds: self.timeout_seconds,
            scope: self.scope,
            is_asymmetric: self.signing_key.is_some(),
            headers: None,
        }
    }

    /// Changes what its user says of it. Saying the same again changes nothing; switching it on forgets why it was off, and another
    /// URL what the former server did. It must be locked.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change(
        self,
        tx: &mut Tx,
        keyring: &Keyring,
        mut to: Settings,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let before = self.settings();
        // Those that no key opens any more are other ones.
        let has = |given: &BTreeMap<String, String>| {
            let mine = self.headers(keyring);
            mine.is_ok_and(|mine| mine.into_iter().eq(given.clone()))
        };
        let headers = to.headers.take().filter(|given| !has(given));
        if headers.is_none() && to == before {
            return Ok(self);
        }
        let (id, version) = (self.id, self.version + 1);
        let group = DeliverWebhook::group(id);
        let is_elsewhere = to.url != before.url;
        // Where it is off, that is done when it is switched on: what waits would be cancelled now.
        if is_elsewhere && to.is_active {
            self.forgive(tx).await?;
        }
        if to.rate_limit_per_minute != before.rate_limit_per_minute {
            groups::pace(tx, &group, to.interval()).await?;
        }
        // As a new one: one try at a time, until one succeeds.
        if to.ordering != before.ordering {
            groups::rebound(tx, &group, 1, to.ordering != Ordering::None).await?;
        } else if is_elsewhere {
            groups::narrow(tx, &group).await?;
        }
        let mut row: ActiveModel = self.into();
        if to.is_active {
            row.disabled_reason = Set(None);
            row.disabled_at = Set(None);
        }
        if to.is_asymmetric != before.is_asymmetric {
            secrets::set_signing_key(tx, &mut row, keyring, id, to.is_asymmetric, now).await?;
        }
        if let Some(headers) = headers {
            row.sealed_headers = Set(headers::seal(keyring, id, &headers));
            row.header_names = Set(headers.into_keys().collect());
        }
        row.url = Set(to.url);
        row.events = Set(to.events);
        row.description = Set(to.description);
        row.is_active = Set(to.is_active);
        row.rate_limit_per_minute = Set(to.rate_limit_per_minute);
        row.schedule = Set(to.schedule);
        row.ordering = Set(to.ordering);
        row.timeout_seconds = Set(to.timeout_seconds);
        row.scope = Set(to.scope);
        row.version = Set(version);
        row.updated_at = Set(now);
        Ok(row.update(tx.orm()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_becomes_the_time_between_two_tries() {
        let mut settings = Settings::new(String::new(), Vec::new());
        assert_eq!(settings.interval(), None);
        for (limit, interval) in [
            (1, MINUTE),
            (60, Duration::from_secs(1)),
            (60_000, Duration::from_millis(1)),
        ] {
            settings.rate_limit_per_minute = Some(limit);
            assert_eq!(settings.interval(), Some(interval));
        }
    }

    #[test]
    fn an_order_is_that_of_the_endpoint_or_of_what_an_event_is_about() {
        let about = Some("a conversation");
        assert_eq!(Ordering::None.order_key(about), None);
        assert_eq!(Ordering::Endpoint.order_key(about).as_deref(), Some(""));
        assert_eq!(Ordering::Key.order_key(about).as_deref(), about);
        assert_eq!(Ordering::Key.order_key(None), None);
        assert_eq!(Ordering::Endpoint.at_once(), 1);
        assert_eq!(Ordering::Key.at_once(), 4);
    }
}
