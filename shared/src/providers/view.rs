//! How providers are, for operators.

use std::{collections::BTreeMap, time::Duration};

use super::Providers;

/// How a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderView {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub base_url: String,
    /// Most uses of a key in a day.
    pub daily_limit: Option<u64>,
    /// Its accounts.
    pub groups: Vec<GroupView>,
    /// Models whose breaker is not closed.
    pub models: Vec<ModelView>,
}

/// How an account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// For how long it is left alone.
    pub cool: Option<Duration>,
    /// Its keys.
    pub keys: Vec<KeyView>,
}

/// How a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// Enough of it to know it again.
    pub masked: String,
    /// How often it was used today; none while nobody knows.
    pub used: Option<u64>,
    /// In how long its day ends.
    pub resets_in: Option<Duration>,
    /// For how long the provider says that nothing is left of its day.
    pub spent: Option<Duration>,
    /// Why it is not taken.
    pub retired: Option<String>,
}

/// How a breaker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelView {
    /// The model, as the provider calls it.
    pub model: String,
    /// For how long nobody is let through; none: the next one tries.
    pub open: Option<Duration>,
    /// How often it opened in a row.
    pub times: u64,
}

impl Providers {
    /// Shows how all providers are: what all instances know by Redis, or what this one knows.
    pub async fn view(&self) -> Vec<ProviderView> {
        let now = self.now();
        let left = |until: Option<i64>| {
            let until = until.filter(|until| now < *until)?;
            Some(Duration::from_millis((until - now).unsigned_abs()))
        };
        let mut views = Vec::new();
        let pools = self.all_pools().into_iter();
        for pool in pools.filter(|pool| !pool.groups.is_empty()) {
            let key = self.0.redis.keys().provider(&pool.config.name);
            let known: BTreeMap<String, i64> = match self.0.redis.read_hash(&key).await {
                Ok(fields) => fields
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, whole(&value)?)))
                    .collect(),
                Err(_) => pool.local().fields(),
            };
            let field = |kind: &str, name: &str| known.get(&format!("{kind}:{name}")).copied();
            let retired = pool.retired().clone();
            let groups = pool.groups.iter().map(|group| GroupView {
                name: group.name.clone(),
                cool: left(field("c", &group.name)),
                keys: group
                    .keys
                    .iter()
                    .map(|key| {
                        let resets_in = left(field("r", &key.id));
                        let spent = left(field("s", &key.id));
                        KeyView {
                            id: key.id.clone(),
                            masked: key.masked(),
                            used: resets_in.and(field("n", &key.id)).map(i64::unsigned_abs),
                            resets_in,
                            spent,
                            retired: retired.get(&key.id).cloned(),
                        }
                    })
                    .collect(),
            });
            let models = known.keys().filter_map(|name| name.strip_prefix("b:"));
            views.push(ProviderView {
                name: pool.config.name.to_string(),
                base_url: pool.config.base_url.to_string(),
                daily_limit: pool.config.daily_requests_per_key,
                groups: groups.collect(),
                models: models
                    .map(|model| ModelView {
                        model: model.to_owned(),
                        open: left(field("b", model)),
                        times: field("o", model).unwrap_or(1).unsigned_abs(),
                    })
                    .collect(),
            });
        }
        views
    }
}

/// Lua writes large numbers as floats.
fn whole(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float is cut to what fits"
    )]
    let number = number as i64;
    Some(number)
}
