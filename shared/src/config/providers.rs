//! Providers of artificial intelligence that speak `OpenAI`'s protocol: their keys, and where they are.

use std::{collections::BTreeMap, ffi::OsString, fmt, fs, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Problems, given};
use crate::catalogue::{Catalogue, Provider, Quirks};

/// How the names of variables end that may belong to a provider.
const ENDINGS: [&str; 4] = [
    "_API_KEYS",
    "_API_KEY",
    "_BASE_URL",
    "_DAILY_REQUESTS_PER_KEY",
];
/// Longest time that a breaker is open, unless it is told to be open longer at first.
const LONGEST_OPEN_SECONDS: u64 = 300;
/// Longest wait for Redis where a key is picked. A process that goes on without it counts by itself, which is worse than to
/// wait a little.
const SCRIPT_LIMIT: Duration = Duration::from_millis(250);
/// Before the number of a key that has a variable of its own.
const NUMBERED: &str = "_API_KEY_";

/// Variables of the providers, and of their models.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProviderArgs {
    /// Keys of Groq, comma-separated, like KEY or ACCOUNT:KEY: it transcribes first, too; `GROQ_API_KEY_1`, `_2` and so on are read, too [default: none]
    #[arg(long, env = "GROQ_API_KEYS", hide_env_values = true)]
    pub groq_api_keys: Option<String>,
    /// One more key of Groq
    #[arg(long, env = "GROQ_API_KEY", hide_env_values = true)]
    pub groq_api_key: Option<String>,
    /// Where the API of Groq is, or any other that speaks like it [default: <https://api.groq.com/openai/v1>]
    #[arg(long, env = "GROQ_BASE_URL")]
    pub groq_base_url: Option<String>,
    /// Most requests of a key of Groq in a day; 0: no limit [default: 14400]
    #[arg(long, env = "GROQ_DAILY_REQUESTS_PER_KEY")]
    pub groq_daily_requests_per_key: Option<String>,
    /// Keys of `OpenRouter`, comma-separated, like KEY or ACCOUNT:KEY; `OPENROUTER_API_KEY_1`, `_2` and so on are read, too [default: none]
    #[arg(long, env = "OPENROUTER_API_KEYS", hide_env_values = true)]
    pub openrouter_api_keys: Option<String>,
    /// One more key of `OpenRouter`
    #[arg(long, env = "OPENROUTER_API_KEY", hide_env_values = true)]
    pub openrouter_api_key: Option<String>,
    /// Where the API of `OpenRouter` is, or any other that speaks like it [default: <https://openrouter.ai/api/v1>]
    #[arg(long, env = "OPENROUTER_BASE_URL")]
    pub openrouter_base_url: Option<String>,
    /// Most requests of a key of `OpenRouter` in a day; 0: no limit [default: no limit]
    #[arg(long, env = "OPENROUTER_DAILY_REQUESTS_PER_KEY")]
    pub openrouter_daily_requests_per_key: Option<String>,
    /// Keys of `DeepSeek`, comma-separated, like KEY or ACCOUNT:KEY; `DEEPSEEK_API_KEY_1`, `_2` and so on are read, too [default: none]
    #[arg(long, env = "DEEPSEEK_API_KEYS", hide_env_values = true)]
    pub deepseek_api_keys: Option<String>,
    /// One more key of `DeepSeek`
    #[arg(long, env = "DEEPSEEK_API_KEY", hide_env_values = true)]
    pub deepseek_api_key: Option<String>,
    /// Where the API of `DeepSeek` is, or any other that speaks like it [default: <https://api.deepseek.com>]
    #[arg(long, env = "DEEPSEEK_BASE_URL")]
    pub deepseek_base_url: Option<String>,
    /// Most requests of a key of `DeepSeek` in a day; 0: no limit [default: no limit]
    #[arg(long, env = "DEEPSEEK_DAILY_REQUESTS_PER_KEY")]
    pub deepseek_daily_requests_per_key: Option<String>,
    /// Keys of Google Gemini, comma-separated, like KEY or ACCOUNT:KEY; `GEMINI_API_KEY_1`, `_2` and so on are read, too [default: none]
    #[arg(long, env = "GEMINI_API_KEYS", hide_env_values = true)]
    pub gemini_api_keys: Option<String>,
    /// One more key of Google Gemini
    #[arg(long, env = "GEMINI_API_KEY", hide_env_values = true)]
    pub gemini_api_key: Option<String>,
    /// Where the API of Google Gemini is, or any other that speaks like it [default: <https://generativelanguage.googleapis.com/v1beta/openai>]
    #[arg(long, env = "GEMINI_BASE_URL")]
    pub gemini_base_url: Option<String>,
    /// Most requests of a key of Google Gemini in a day; 0: no limit [default: no limit]
    #[arg(long, env = "GEMINI_DAILY_REQUESTS_PER_KEY")]
    pub gemini_daily_requests_per_key: Option<String>,
    /// Keys of `OpenAI`, comma-separated, like KEY or ACCOUNT:KEY: it transcribes where Groq does not, too; `OPENAI_API_KEY_1`, `_2` and so on are read, too [default: none]
    #[arg(long, env = "OPENAI_API_KEYS", hide_env_values = true)]
    pub openai_api_keys: Option<String>,
    /// One more key of `OpenAI`
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    pub openai_api_key: Option<String>,
    /// Where the API of `OpenAI` is, or any other that speaks like it [default: <https://api.openai.com/v1>]
    #[arg(long, env = "OPENAI_BASE_URL")]
    pub openai_base_url: Option<String>,
    /// Most requests of a key of `OpenAI` in a day; 0: no limit [default: no limit]
    #[arg(long, env = "OPENAI_DAILY_REQUESTS_PER_KEY")]
    pub openai_daily_requests_per_key: Option<String>,

    /// JSON file with models, prices and providers, which go before those built in: see the README [default: none]
    #[arg(long, env = "MODELS_FILE")]
    pub models_file: Option<String>,
    /// Where the days of all providers end, like Asia/Karachi [default: each provider's own, mostly UTC]
    #[arg(long, env = "PROVIDER_RESET_ZONE")]
    pub provider_reset_zone: Option<String>,
    /// Failures in a row after which a model of a provider is left alone, 1 to 100 [default: 3]
    #[arg(long, env = "BREAKER_FAILURES")]
    pub breaker_failures: Option<String>,
    /// Seconds for which it is left alone first, 1 to 3600; they double each time, up to 300 [default: 20]
    #[arg(long, env = "BREAKER_OPEN_SECONDS")]
    pub breaker_open_seconds: Option<String>,
    /// Other variables of the environment that may be a provider's: numbered keys, and those of `MODELS_FILE`.
    #[arg(skip)]
    pub more: BTreeMap<String, String>,
    /// Longest wait for Redis where a key is picked, up to 2 s; 250 ms unless a slow machine says otherwise.
    #[arg(skip)]
    pub script_limit: Option<Duration>,
}

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
    /// Takes what may be a provider's out of the environment: clap reads only what it knows by name.
    pub fn read_more(&mut self, environment: impl Iterator<Item = (OsString, OsString)>) {
        self.more = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| {
                name.contains(NUMBERED) || ENDINGS.iter().any(|ending| name.ends_with(ending))
            })
            .collect();
    }

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
            quirks: provider.quirks,
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

    /// The value of a variable, whoever read it.
    fn value(&self, variable: &str) -> Option<&str> {
        let known = [
            ("GROQ_API_KEYS", &self.groq_api_keys),
            ("GROQ_API_KEY", &self.groq_api_key),
            ("GROQ_BASE_URL", &self.groq_base_url),
            (
                "GROQ_DAILY_REQUESTS_PER_KEY",
                &self.groq_daily_requests_per_key,
            ),
            ("OPENROUTER_API_KEYS", &self.openrouter_api_keys),
            ("OPENROUTER_API_KEY", &self.openrouter_api_key),
            ("OPENROUTER_BASE_URL", &self.openrouter_base_url),
            (
                "OPENROUTER_DAILY_REQUESTS_PER_KEY",
                &self.openrouter_daily_requests_per_key,
            ),
            ("DEEPSEEK_API_KEYS", &self.deepseek_api_keys),
            ("DEEPSEEK_API_KEY", &self.deepseek_api_key),
            ("DEEPSEEK_BASE_URL", &self.deepseek_base_url),
            (
                "DEEPSEEK_DAILY_REQUESTS_PER_KEY",
                &self.deepseek_daily_requests_per_key,
            ),
            ("GEMINI_API_KEYS", &self.gemini_api_keys),
            ("GEMINI_API_KEY", &self.gemini_api_key),
            ("GEMINI_BASE_URL", &self.gemini_base_url),
            (
                "GEMINI_DAILY_REQUESTS_PER_KEY",
                &self.gemini_daily_requests_per_key,
            ),
            ("OPENAI_API_KEYS", &self.openai_api_keys),
            ("OPENAI_API_KEY", &self.openai_api_key),
            ("OPENAI_BASE_URL", &self.openai_base_url),
            (
                "OPENAI_DAILY_REQUESTS_PER_KEY",
                &self.openai_daily_requests_per_key,
            ),
        ];
        let known = known.into_iter().find(|(name, _)| *name == variable);
        match known {
            Some((_, value)) => given(value),
            None => self
                .more
                .get(variable)
                .map(|text| text.trim())
                .filter(|text| !text.is_empty()),
        }
    }
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

fn each_once(keys: Vec<ProviderKey>) -> Vec<ProviderKey> {
    let mut once: Vec<ProviderKey> = Vec::with_capacity(keys.len());
    for key in keys {
        if once.iter().all(|known| !known.is_same(&key)) {
            once.push(key);
        }
    }
    once
}

#[cfg(test)]
mod tests {
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
