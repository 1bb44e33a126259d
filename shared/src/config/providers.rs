//! Providers of artificial intelligence that speak `OpenAI`'s protocol: their keys, and where they are.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Problems, given};

/// Where a provider is, and what opens it.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Its name, for logs and rows.
    pub name: &'static str,
    /// What its paths are appended to.
    pub base_url: Url,
    /// At least one.
    pub keys: Vec<ProviderKey>,
}

/// A key of a provider.
#[derive(Clone)]
pub struct ProviderKey {
    /// The account that the operator says it belongs to: keys of one account share a quota.
    pub account: Option<String>,
    /// The key.
    pub key: SecretString,
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, keys) = (self.name, self.keys.len());
        write!(
            f,
            "ProviderConfig({name} at {}, {keys} keys)",
            self.base_url
        )
    }
}

/// The variables of one provider, as texts.
#[derive(Debug, Clone, Copy)]
pub struct ProviderVariables<'a> {
    /// Its name.
    pub name: &'static str,
    /// Name and value of the variable with all keys.
    pub keys: (&'static str, &'a Option<String>),
    /// Name and value of the variable with one key.
    pub key: (&'static str, &'a Option<String>),
    /// Name and value of the variable with its place.
    pub base_url: (&'static str, &'a Option<String>),
    /// Where it is unless told otherwise.
    pub default_url: &'static str,
}

impl ProviderVariables<'_> {
    /// Checks them; none where there is no key. Keys are never repeated in a problem.
    pub fn check(self, problems: &mut Problems) -> Option<ProviderConfig> {
        let (base_variable, base) = self.base_url;
        let base = given(base).unwrap_or(self.default_url);
        let base_url = match Url::parse(base) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) => {
                problems.add(base_variable, format!("{base:?} is not a http(s):// URL"));
                None
            }
            Err(error) => {
                problems.add(base_variable, format!("{base:?} is not a URL: {error}"));
                None
            }
        };
        let mut keys: Vec<ProviderKey> = Vec::new();
        for (variable, text) in [self.keys, self.key] {
            for text in given(text).into_iter().flat_map(|text| text.split(',')) {
                match ProviderKey::parse(text.trim()) {
                    Ok(Some(key)) => keys.push(key),
                    Ok(None) => {}
                    Err(problem) => problems.add(variable, problem),
                }
            }
        }
        let base_url = base_url?;
        (!keys.is_empty()).then_some(ProviderConfig {
            name: self.name,
            base_url,
            keys,
        })
    }
}

impl ProviderKey {
    /// Whether another key is of the same account; one without a label has an account of its own.
    pub fn shares_quota(&self, other: &Self) -> bool {
        match (&self.account, &other.account) {
            (Some(one), Some(other)) => one == other,
            _ => self.key.expose_secret() == other.key.expose_secret(),
        }
    }

    /// Reads `key` or `account:key`.
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        keys: Option<&str>,
        key: Option<&str>,
        base: Option<&str>,
    ) -> (Option<ProviderConfig>, String) {
        let [keys, key, base] = [keys, key, base].map(|text| text.map(str::to_owned));
        let variables = ProviderVariables {
            name: "groq",
            keys: ("GROQ_API_KEYS", &keys),
            key: ("GROQ_API_KEY", &key),
            base_url: ("GROQ_BASE_URL", &base),
            default_url: "https://api.groq.com/openai/v1",
        };
        let mut problems = Problems::default();
        let config = variables.check(&mut problems);
        let told = problems
            .finish(Some(()))
            .map_or_else(|problems| problems.to_string(), |()| String::new());
        (config, told)
    }

    #[test]
    fn keys_come_alone_or_with_their_account() {
        let (config, told) = check(Some("acme:gsk_1, acme:gsk_2,gsk_3,"), Some("gsk_4"), None);
        let config = config.unwrap();
        let keys: Vec<_> = config
            .keys
            .iter()
            .map(|key| (key.account.as_deref(), key.key.expose_secret()))
            .collect();
        let acme = Some("acme");
        assert_eq!(
            keys,
            [
                (acme, "gsk_1"),
                (acme, "gsk_2"),
                (None, "gsk_3"),
                (None, "gsk_4")
            ]
        );
        assert_eq!(told, "");
        assert!(!format!("{config:?}").contains("gsk"));
        assert!(check(None, None, None).0.is_none());
    }

    #[test]
    fn nonsense_is_told_without_the_key() {
        let (_, told) = check(Some(":gsk_1,acme:,gsk 2"), None, Some("ftp://x"));
        assert_eq!(told.matches("GROQ_API_KEYS").count(), 3, "{told}");
        assert!(told.contains("GROQ_BASE_URL"), "{told}");
        assert!(!told.contains("gsk"), "{told}");
    }
}
