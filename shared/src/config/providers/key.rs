//! A key of a provider, as it is written in a variable.

use secrecy::{ExposeSecret as _, SecretString};

/// A key of a provider.
#[derive(Clone)]
pub struct ProviderKey {
    /// The account that the operator says it belongs to: keys of one account share a quota.
    pub account: Option<String>,
    /// The key.
    pub key: SecretString,
}

impl ProviderKey {
    /// Whether another key is of the same account; one without a label has an account of its own.
    pub fn shares_quota(&self, other: &Self) -> bool {
        match (&self.account, &other.account) {
            (Some(one), Some(other)) => one == other,
            _ => self.is_same(other),
        }
    }

    /// Reads a list as it is written in a variable; each key once.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, &'static str> {
        let keys: Vec<Option<Self>> = text
            .split(',')
            .map(|text| Self::parse(text.trim()))
            .collect::<Result<_, _>>()?;
        Ok(each_once(keys.into_iter().flatten().collect()))
    }

    /// Whether another entry is the same key of the same account.
    pub fn is_same_entry(&self, other: &Self) -> bool {
        self.account == other.account && self.is_same(other)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.key.expose_secret() == other.key.expose_secret()
    }

    /// Reads `key` or `account:key`.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        if text.is_empty() {
            return Ok(None);
        }
        let (account, key) = match text.split_once(':') {
            Some((account, key)) => (Some(account.trim()), key.trim()),
            None => (None, text),
        };
        let is_sound = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound || account == Some("") {
            return Err("has an entry that is neither KEY nor ACCOUNT:KEY");
        }
        Ok(Some(Self {
            account: account.map(str::to_owned),
            key: key.into(),
        }))
    }
}

/// Each key once, where it stands first.
pub(super) fn each_once(keys: Vec<ProviderKey>) -> Vec<ProviderKey> {
    let mut once: Vec<ProviderKey> = Vec::with_capacity(keys.len());
    for key in keys {
        if once.iter().all(|known| !known.is_same(&key)) {
            once.push(key);
        }
    }
    once
}
