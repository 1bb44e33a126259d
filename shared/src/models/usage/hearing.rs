//! Sounds that providers were asked to hear.

use chrono::{DateTime, Utc};

use super::{Kind, MOST_MICROUSD, Model, Outcome, Purpose};
use crate::{catalogue::AudioPrice, ids::UsageId};

/// A time that a provider was asked what is said in a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hearing {
    /// The id of its row.
    pub id: UsageId,
    /// 1 for the first time that a provider was asked for the same.
    pub number: i32,
    /// Who was asked.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The account whose key was used.
    pub key_group: String,
    /// The price, and the table it is from.
    pub price: Option<(String, AudioPrice)>,
    /// Length of the sound, in milliseconds.
    pub audio_ms: i64,
    /// Whether that is only a guess.
    pub is_guessed: bool,
    /// When it was asked.
    pub started_at: DateTime<Utc>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why nothing did.
    pub error: Option<String>,
    /// Whether the provider said no.
    pub is_refused: bool,
    /// Until the end.
    pub latency_ms: u32,
}

impl Hearing {
    /// What it costs, in millionths of a US dollar; none where nobody knows. A refusal costs nothing. What was asked and
    /// not answered may have been heard all the same, and is paid for then.
    pub fn cost_microusd(&self) -> Option<i64> {
        if self.is_refused {
            return Some(0);
        }
        let (_, price) = self.price.as_ref()?;
        Some(price.of(self.audio_ms).min(MOST_MICROUSD))
    }

    /// Whether nobody knows if it was heard, or how long it is.
    pub fn is_estimated(&self) -> bool {
        !self.is_refused && (self.outcome != Outcome::Completed || self.is_guessed)
    }

    /// Its row.
    pub fn row(&self, purpose: Purpose) -> Model {
        let price = self.price.as_ref();
        Model {
            id: self.id,
            user_id: purpose.user,
            project_id: purpose.project,
            conversation_id: purpose.conversation,
            message_id: purpose.message,
            attachment_id: purpose.attachment,
            kind: Kind::Transcription,
            attempt: self.number,
            provider: self.provider.clone(),
            model: self.model.clone(),
            provider_model: self.model.clone(),
            key_group: self.key_group.clone(),
            outcome: self.outcome,
            error: self.error.clone(),
            // Nobody tells them.
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            reasoning_tokens: 0,
            audio_ms: Some(self.audio_ms),
            is_estimated: self.is_estimated(),
            price_version: price.map(|(version, _)| version.clone()),
            cost_microusd: self.cost_microusd(),
            latency_ms: i32::try_from(self.latency_ms).unwrap_or(i32::MAX),
            first_token_ms: None,
            created_at: self.started_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_known_to_cost_nothing() {
        let priced = Hearing {
            id: UsageId::new(),
            number: 1,
            provider: "groq".to_owned(),
            model: "whisper-large-v3".to_owned(),
            key_group: "acme".to_owned(),
            price: Some((
                "1".to_owned(),
                AudioPrice {
                    audio_minute: 1_850,
                    least_seconds: 10,
                },
            )),
            audio_ms: 120_000,
            is_guessed: false,
            started_at: DateTime::UNIX_EPOCH,
            outcome: Outcome::Completed,
            error: None,
            is_refused: false,
            latency_ms: 1_000,
        };
        for (outcome, is_refused, cost, is_estimated) in [
            (Outcome::Completed, false, 3_700, false),
            (Outcome::Failed, false, 3_700, true),
            (Outcome::Interrupted, false, 3_700, true),
            (Outcome::Failed, true, 0, false),
            (Outcome::Interrupted, true, 0, false),
        ] {
            let hearing = Hearing {
                outcome,
                is_refused,
                ..priced.clone()
            };
            assert_eq!(hearing.cost_microusd(), Some(cost), "{hearing:?}");
            assert_eq!(hearing.is_estimated(), is_estimated, "{hearing:?}");
            let guessed = Hearing {
                is_guessed: true,
                ..hearing.clone()
            };
            assert_eq!(guessed.is_estimated(), !is_refused, "{guessed:?}");
            let unpriced = Hearing {
                price: None,
                ..hearing
            };
            let known = is_refused.then_some(0);
            assert_eq!(unpriced.cost_microusd(), known, "{unpriced:?}");
        }
    }

    #[test]
    fn nothing_costs_more_than_can_be_summed_up() {
        let endless = Hearing {
            id: UsageId::new(),
            number: 1,
            provider: "groq".to_owned(),
            model: "whisper-large-v3".to_owned(),
            key_group: "acme".to_owned(),
            price: Some((
                "1".to_owned(),
                AudioPrice {
                    audio_minute: u64::MAX,
                    least_seconds: 0,
                },
            )),
            audio_ms: i64::MAX,
            is_guessed: false,
            started_at: DateTime::UNIX_EPOCH,
            outcome: Outcome::Completed,
            error: None,
            is_refused: false,
            latency_ms: 1,
        };
        assert_eq!(endless.cost_microusd(), Some(MOST_MICROUSD));
    }
}
