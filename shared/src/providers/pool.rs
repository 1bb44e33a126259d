//! The keys of a provider, in groups that share a quota.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, RwLock},
};

use jiff::{Timestamp, tz::TimeZone};
use secrecy::{ExposeSecret as _, SecretString};

use super::local::{Local, Slot, Wanted};
use crate::{
    config::{ProviderConfig, ProviderKey},
    keyring::sha256,
};

/// Characters of a key's id.
const ID_CHARACTERS: usize = 12;
/// Shorter keys are not shown at all.
const SHOWN_FROM: usize = 12;

/// A provider's keys, and what is known of them here.
pub(super) struct Pool {
    pub(super) config: ProviderConfig,
    pub(super) groups: Vec<Group>,
    zone: TimeZone,
    local: Mutex<Local>,
    /// Failures in a row, by model.
    failures: Mutex<BTreeMap<String, u32>>,
    /// Ids of keys that are not taken, with what the provider said.
    retired: RwLock<BTreeMap<String, String>>,
}

/// Keys of one account.
pub(super) struct Group {
    /// The account, or the id of the only key.
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
}

/// A key.
#[derive(Clone)]
pub(super) struct Key {
    /// Made of the key, which nobody can make of it.
    pub(super) id: String,
    pub(super) secret: SecretString,
}

impl Pool {
    pub(super) fn new(config: ProviderConfig, zone: TimeZone) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for key in &config.keys {
            let id = id(&config, key);
            let name = key.account.clone().unwrap_or_else(|| id.clone());
            let key = Key {
                id,
                secret: key.key.clone(),
            };
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.keys.push(key),
                None => groups.push(Group {
                    name,
                    keys: vec![key],
                }),
            }
        }
        Self {
            config,
            groups,
            zone,
            local: Mutex::default(),
            failures: Mutex::default(),
            retired: RwLock::default(),
        }
    }

    /// The same provider with other keys; what is known of those that stay is kept.
    pub(super) fn with_keys(&self, keys: Vec<ProviderKey>) -> Self {
        let config = ProviderConfig {
            keys,
            ..self.config.clone()
        };
        let new = Self::new(config, self.zone.clone());
        *new.local() = self.local().clone();
        *new.failures() = self.failures().clone();
        new.set_retired(self.retired().clone());
        new
    }

    pub(super) fn local(&self) -> MutexGuard<'_, Local> {
        self.local
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.failures
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    /// Forgets what keeps keys from being used, as Redis did at this time, if that is news.
    pub(super) fn warm(&self, at: i64) {
        let is_news = self.local().warm(at);
        if is_news {
            self.failures().clear();
        }
    }

    pub(super) fn retired(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, String>> {
        self.retired
            .read()
            .expect("nothing panics while it holds this lock")
    }

    /// Notes that a key is not taken, and what the provider said.
    pub(super) fn retire(&self, id: &str, reason: &str) {
        self.retired
            .write()
            .expect("nothing panics while it holds this lock")
            .insert(id.to_owned(), reason.to_owned());
    }

    /// Replaces what is known of keys that are not taken.
    pub(super) fn set_retired(&self, retired: BTreeMap<String, String>) {
        *self
            .retired
            .write()
            .expect("nothing panics while it holds this lock") = retired;
    }

    /// The key at a place of all keys, and its group.
    pub(super) fn key(&self, index: usize) -> Option<(&Key, &Group)> {
        let mut keys = self
            .groups
            .iter()
            .flat_map(|group| group.keys.iter().map(move |key| (key, group)));
        keys.nth(index)
    }

    /// The ids of a group's keys.
    pub(super) fn ids_of(&self, group: &str) -> Vec<String> {
        let groups = self.groups.iter().filter(|known| known.name == group);
        groups
            .flat_map(|group| &group.keys)
            .map(|key| key.id.clone())
            .collect()
    }

    /// Asks for a key for a model that is not among `tried`.
    pub(super) fn wanted<'a>(
        &'a self,
        model: &'a str,
        tried: &[String],
        (probe_ms, mark): (i64, u32),
        now: i64,
    ) -> Wanted<'a> {
        let retired = self.retired();
        let groups = self.groups.iter().map(|group| {
            let keys = group.keys.iter().map(|key| {
                let id = key.id.as_str();
                if retired.contains_key(id) {
                    Slot::Out
                } else if tried.iter().any(|tried| tried == id) {
                    Slot::Tried(id)
                } else {
                    Slot::Free(id)
                }
            });
            (group.name.as_str(), keys.collect())
        });
        Wanted {
            model,
            probe_ms,
            mark,
            day_ends: self.day_ends(now),
            limit: self.config.daily_requests_per_key,
            groups: groups.collect(),
        }
    }

    /// When the day ends in which `now` is, where the provider counts.
    pub(super) fn day_ends(&self, now: i64) -> i64 {
        const DAY: i64 = 86_400_000;
        let midnight = Timestamp::from_millisecond(now).and_then(|now| {
            let day = now.to_zoned(self.zone.clone()).tomorrow()?;
            Ok(day.start_of_day()?.timestamp().as_millisecond())
        });
        midnight.unwrap_or(now + DAY)
    }
}

impl Key {
    /// Enough of it to know it again.
    pub(super) fn masked(&self) -> String {
        let key = self.secret.expose_secret();
        let length = key.len();
        if length < SHOWN_FROM || !key.is_ascii() {
            return "…".to_owned();
        }
        format!("{}…{}", &key[..4], &key[length - 4..])
    }
}

/// Another address is another configuration, in which a key that was refused may be taken.
fn id(config: &ProviderConfig, key: &ProviderKey) -> String {
    let (name, url) = (&config.name, &config.base_url);
    let text = format!("{name}\0{url}\0{}", key.key.expose_secret());
    let mut id = hex::encode(sha256(text.as_bytes()));
    id.truncate(ID_CHARACTERS);
    id
}

/// A pool that may be replaced while others use it.
pub(super) type Shared = Arc<Pool>;
