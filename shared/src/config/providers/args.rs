//! The variables of providers.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use crate::config::given;

/// How the names of variables end that may belong to a provider.
const ENDINGS: [&str; 4] = [
    "_API_KEYS",
    "_API_KEY",
    "_BASE_URL",
    "_DAILY_REQUESTS_PER_KEY",
];
/// Before the number of a key that has a variable of its own.
pub(super) const NUMBERED: &str = "_API_KEY_";

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

    /// The value of a variable, whoever read it.
    pub(super) fn value(&self, variable: &str) -> Option<&str> {
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
