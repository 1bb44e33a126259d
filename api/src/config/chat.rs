//! How answers of models are made.

use std::time::Duration;

use shared::config::{CommonConfig, Problems, given};

use super::ApiArgs;

/// Longest time in seconds for which a stream may be silent: clients are told that they may give it up then.
const STREAM_SILENCE_MAX: u64 = 20;

/// How answers of models are made.
#[derive(Debug, Clone)]
pub struct ChatConfig {
    /// The model that answers those who name none.
    pub default_model: Option<String>,
    /// What models are told first, where nobody says anything else.
    pub default_system_prompt: Option<String>,
    /// Most tokens of what is sent along with a question.
    pub context_max_tokens: u32,
    /// Most messages that are sent, the question included.
    pub context_max_messages: u32,
    /// How many of these go before a summary.
    pub context_keep_recent: u32,
    /// How long Redis keeps what goes along with the next question.
    pub context_lifetime: Duration,
    /// Whether what does not go along any more is summarised.
    pub auto_summary: bool,
    /// Whether models name conversations.
    pub auto_title: bool,
    /// How long attachments that are being read are waited for.
    pub attachment_wait: Duration,
    /// Longest silence of a provider.
    pub provider_silence: Duration,
    /// Longest time for an answer, all tries together.
    pub answer_time: Duration,
    /// Longest silence of a stream.
    pub keep_alive: Duration,
}

impl ApiArgs {
    pub(super) fn check_chat(
        &self,
        common: Option<&CommonConfig>,
        problems: &mut Problems,
    ) -> ChatConfig {
        let default_model = given(&self.default_model).map(str::to_owned);
        if let (Some(model), Some(common)) = (&default_model, common)
            && common.ai.catalogue.find(model).is_none()
        {
            problems.add("DEFAULT_MODEL", format!("there is no model {model:?}"));
        }
        let wait = problems.number(
            "ATTACHMENT_WAIT_SECONDS",
            &self.attachment_wait_seconds,
            20,
            0..=60,
        );
        let silence = problems.number(
            "PROVIDER_SILENCE_SECONDS",
            &self.provider_silence_seconds,
            60,
            1..=600,
        );
        let answer_time = problems.number(
            "ANSWER_MAX_SECONDS",
            &self.answer_max_seconds,
            600,
            1..=3600,
        );
        let keep_alive = problems.number(
            "STREAM_KEEP_ALIVE_SECONDS",
            &self.stream_keep_alive_seconds,
            15,
            1..=STREAM_SILENCE_MAX,
        );
        let lifetime = problems.number(
            "CONTEXT_CACHE_TTL_SECONDS",
            &self.context_cache_ttl_seconds,
            86_400,
            1..=2_592_000,
        );
        ChatConfig {
            default_model,
            default_system_prompt: given(&self.default_system_prompt).map(str::to_owned),
            context_max_tokens: problems.number(
                "CONTEXT_MAX_TOKENS",
                &self.context_max_tokens,
                8_000,
                100..=1_000_000,
            ),
            context_max_messages: problems.number(
                "CONTEXT_MAX_MESSAGES",
                &self.context_max_messages,
                50,
                1..=500,
            ),
            context_keep_recent: problems.number(
                "CONTEXT_KEEP_RECENT",
                &self.context_keep_recent,
                20,
                1..=500,
            ),
            context_lifetime: Duration::from_secs(lifetime),
            auto_summary: problems.parse("AUTO_SUMMARY", &self.auto_summary, true),
            auto_title: problems.parse("AUTO_TITLE", &self.auto_title, true),
            attachment_wait: Duration::from_secs(wait),
            provider_silence: Duration::from_secs(silence),
            answer_time: Duration::from_secs(answer_time),
            keep_alive: Duration::from_secs(keep_alive),
        }
    }
}
