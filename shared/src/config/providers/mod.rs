//! Providers of artificial intelligence that speak `OpenAI`'s protocol: their keys, and where they are.

mod args;
mod key;

use std::{fmt, fs, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use secrecy::SecretString;
use url::Url;

use self::{args::NUMBERED, key::each_once};
pub use self::{args::ProviderArgs, key::ProviderKey};
use super::{Problems, given};
use crate::catalogue::{Catalogue, Provider, Quirks};

/// Longest time that a breaker is open, unless it is told to be open longer at first.
const LONGEST_OPEN_SECONDS: u64 = 300;
/// Longest wait for Redis where a key is picked. A process that goes on without it counts by itself, which is worse than to
/// wait a little.
const SCRIPT_LIMIT: Duration = Duration::from_millis(250);

/// Who can be asked for answers, and for what.
#[derive(Debug, Clone)]
pub struct AiConfig {
    /// All models.
    pub catalogue: Arc<Catalogue>,
    /// Those that have a key, or want none, in the order of the catalogue.
    pub providers: Vec<ProviderConfig>,
    /// All of them, with and without keys.
    all: Vec<ProviderConfig>,
    /// Where days end, whoever the provider is.
    pub reset_zone: Option<String>,
    /// When a provider is left alone.
    pub breaker: BreakerConfig,
    /// Longest wait for Redis where a key is picked.
    pub script_limit: Duration,
}

/// When a provider is left alone.
#[derive(Debug, Clone, Copy)]
pub struct BreakerConfig {
    /// Failures in a row.
    pub failures: u32,
    /// For how long at first.
    pub open: Duration,
    /// For how long at most.
    pub longest: Duration,
}

/// Where a provider is, and what opens it.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Its name, for logs and rows.
    pub name: Arc<str>,
    /// What its paths are appended to.
    pub base_url: Url,
    /// At least one; that of a provider without keys is empty.
    pub keys: Vec<ProviderKey>,
    /// How it differs from the others.
    pub quirks: Quirks,
    /// Most requests that a key may make in a day.
    pub daily_requests_per_key: Option<u64>,
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, keys) = (&self.name, self.keys.len());
        write!(
            f,
            "ProviderConfig({name} at {}, {keys} keys)",
            self.base_url
        )
    }
}

impl AiConfig {
    /// The provider of a name, if it can be asked.
    pub fn provider(&self, name: &str) -> Option<&ProviderConfig> {
        self.providers
            .iter()
            .find(|provider| &*provider.name == name)
    }

    /// A provider with keys that are not its configuration's; none where nobody knows it.
    pub fn with_keys(&self, name: &str, keys: Vec<ProviderKey>) -> Option<ProviderConfig> {
        let known = self.all.iter().find(|provider| &*provider.name == name)?;
        Some(ProviderConfig {
            keys,
            ..known.clone()
        })
    }
}

impl ProviderArgs {
    /// Checks everything; what is wrong goes to `problems`. Keys are never repeated in a problem.
    pub fn check(&self, problems: &mut Problems) -> AiConfig {
        let catalogue = self.catalogue(problems);
        let all: Vec<ProviderConfig> = catalogue
            .providers
            .iter()
            .map(|provider| self.provider(provider, problems))
            .collect();
        let with_keys = all.iter().filter(|provider| !provider.keys.is_empty());
        let reset_zone = given(&self.provider_reset_zone).map(str::to_owned);
        if let Some(zone) = &reset_zone
            && let Err(error) = TimeZone::get(zone)
        {
            problems.add("PROVIDER_RESET_ZONE", error.to_string());
        }
        let failures = problems.number("BREAKER_FAILURES", &self.breaker_failures, 3, 1..=100);
        let open = problems.number(
            "BREAKER_OPEN_SECONDS",
            &self.breaker_open_seconds,
            20,
            1..=3600,
        );
        AiConfig {
            catalogue: Arc::new(catalogue),
            providers: with_keys.cloned().collect(),
            all,
            reset_zone,
            breaker: BreakerConfig {
                failures,
                open: Duration::from_secs(open),
                longest: Duration::from_secs(LONGEST_OPEN_SECONDS.max(open)),
            },
            script_limit: self.script_limit.unwrap_or(SCRIPT_LIMIT),
        }
    }

    fn catalogue(&self, problems: &mut Problems) -> Catalogue {
        let Some(path) = given(&self.models_file) else {
            return Catalogue::built_in();
        };
        let read = fs::read_to_string(path).map_err(|error| error.to_string());
        let table = read.and_then(|text| Catalogue::with(&text).map_err(|error| error.to_string()));
        table.unwrap_or_else(|problem| {
            problems.add("MODELS_FILE", format!("{path}: {problem}"));
            Catalogue::built_in()
        })
    }

    fn provider(&self, provider: &Provider, problems: &mut Problems) -> ProviderConfig {
        let variable = provider.variable("BASE_URL");
        let base_url = match self.value(&variable) {
            None => provider.base_url.clone(),
            Some(text) => match Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
                Ok(_) => {
                    problems.add(variable, format!("{text:?} is not a http(s):// URL"));
                    provider.base_url.clone()
                }
                Err(error) => {
                    problems.add(variable, format!("{text:?} is not a URL: {error}"));
                    provider.base_url.clone()
                }
            },
        };
        let mut keys = self.keys(provider, problems);
        if keys.is_empty() && provider.keyless {
            keys.push(ProviderKey {
                account: None,
                key: SecretString::default(),
            });
        }
        let variable = provider.variable("DAILY_REQUESTS_PER_KEY");
        let mut limit = provider.daily_requests_per_key;
        match self.value(&variable).map(str::parse::<u64>) {
            None => {}
            Some(Ok(number)) => limit = (number > 0).then_some(number),
            Some(Err(error)) => problems.add(variable, error.to_string()),
        }
        ProviderConfig {
            name: provider.name.as_str().into(),
            base_url,
            keys,
            quirks: provider.quirks.clone(),
            daily_requests_per_key: limit,
        }
    }

    /// All its keys, each once: first the list, then the one, then the numbered ones by their numbers.
    fn keys(&self, provider: &Provider, problems: &mut Problems) -> Vec<ProviderKey> {
        let numbered = provider.variable(NUMBERED.trim_start_matches('_'));
        let mut variables: Vec<(u32, &String)> = self
            .more
            .keys()
            .filter_map(|name| Some((name.strip_prefix(&numbered)?.parse().ok()?, name)))
            .collect();
        variables.sort_unstable();
        let variables = [provider.variable("API_KEYS"), provider.variable("API_KEY")]
            .into_iter()
            .chain(variables.into_iter().map(|(_, name)| name.clone()));
        let mut keys: Vec<ProviderKey> = Vec::new();
        for variable in variables {
            for text in self.value(&variable).unwrap_or_default().split(',') {
                match ProviderKey::parse(text.trim()) {
                    Ok(key) => keys.extend(key),
                    Err(problem) => problems.add(variable.clone(), problem),
                }
            }
        }
        each_once(keys)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn check(args: &ProviderArgs) -> (AiConfig, String) {
        let mut problems = Problems::default();
        let config = args.check(&mut problems);
        let told = problems
            .finish(Some(()))
            .map_or_else(|problems| problems.to_string(), |()| String::new());
        (config, told)
    }

    fn texts(config: &AiConfig, name: &str) -> Vec<(Option<String>, String)> {
        let keys = &config.provider(name).unwrap().keys;
        keys.iter()
            .map(|key| (key.account.clone(), key.key.expose_secret().to_owned()))
            .collect()
    }

    #[test]
    fn keys_come_alone_with_their_account_or_numbered() {
        let mut args = ProviderArgs {
            groq_api_keys: Some("acme:gsk_1, acme:gsk_2,gsk_3,".to_owned()),
            groq_api_key: Some("gsk_4".to_owned()),
            ..ProviderArgs::default()
        };
        let environment = [
            ("GROQ_API_KEY_10", "gsk_6"),
            ("GROQ_API_KEY_2", "beta:gsk_5"),
            ("GROQ_API_KEY_3", "gsk_1"),
            ("HOME", "/root"),
        ];
        args.read_more(
            environment
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        let (config, told) = check(&args);
        let expected = [
            (Some("acme"), "gsk_1"),
            (Some("acme"), "gsk_2"),
            (None, "gsk_3"),
            (None, "gsk_4"),
            (Some("beta"), "gsk_5"),
            (None, "gsk_6"),
        ];
        let expected = expected.map(|(account, key)| (account.map(str::to_owned), key.to_owned()));
        assert_eq!(texts(&config, "groq"), expected);
        assert_eq!(told, "");
        assert!(!format!("{config:?}").contains("gsk"));
        assert!(config.provider("openai").is_none());
    }

    #[test]
    fn nonsense_is_told_without_the_key() {
        let args = ProviderArgs {
            groq_api_keys: Some(":gsk_1,acme:,gsk 2".to_owned()),
            groq_base_url: Some("ftp://x".to_owned()),
            models_file: Some("/nowhere/models.json".to_owned()),
            ..ProviderArgs::default()
        };
        let (_, told) = check(&args);
        assert_eq!(told.matches("GROQ_API_KEYS").count(), 3, "{told}");
        assert!(told.contains("GROQ_BASE_URL"), "{told}");
        assert!(told.contains("MODELS_FILE"), "{told}");
        assert!(!told.contains("gsk"), "{told}");
    }

    #[test]
    fn a_provider_of_the_operators_has_variables_of_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let table = r#"{ "version": "1", "providers": [
            { "name": "my-own", "title": "Mine", "baseUrl": "http://localhost:1/v1" },
            { "name": "ollama", "title": "Ollama", "baseUrl": "http://localhost:2/v1", "keyless": true }] }"#;
        fs::write(file.path(), table).unwrap();
        let mut args = ProviderArgs {
            models_file: Some(file.path().display().to_string()),
            ..ProviderArgs::default()
        };
        args.read_more(std::iter::once(("MY_OWN_API_KEYS".into(), "k".into())));
        let (config, told) = check(&args);
        assert_eq!(told, "");
        assert_eq!(texts(&config, "my-own"), [(None, "k".to_owned())]);
        assert_eq!(texts(&config, "ollama"), [(None, String::new())]);
    }
}
