//! How tokens are counted for each model: what is known of them all, and learned from their answers.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    Counted, Encoding, Learned, Sums,
    factor::{ONE, scale, share},
    told,
};
use crate::{
    clock::Clock,
    database::Result,
    models::token_factor::{self, Addition},
};

/// How often what was learned is stored, and how often it is looked what others have learned.
const STORE: Duration = Duration::from_secs(2);
const LOAD: Duration = Duration::from_mins(1);

/// What counting the marks around a message takes, in bytes of text.
const MARKS: usize = 16;

/// Something for each model of each provider.
type ByModel<T> = BTreeMap<String, BTreeMap<String, T>>;

/// How tokens are counted for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// What is counted in.
    pub encoding: Encoding,
    /// By how much that is multiplied, in millionths.
    pub factor_ppm: u32,
    /// Whether the model itself counts like that.
    pub is_exact: bool,
    /// By how much a count is multiplied that was stored.
    stored_ppm: u32,
}

impl Measure {
    /// Tokens of a text.
    pub fn count(&self, text: &str) -> u32 {
        self.scale(self.encoding.count(text) as u64)
    }

    /// Tokens of a message: those of its role and its text, and 4 for the message.
    pub fn count_message(&self, role: &str, text: &str) -> u32 {
        self.scale(self.encoding.of_message(role, text))
    }

    /// Tokens of a text, which may be long.
    pub async fn count_aside(self, text: String) -> Counted {
        let bytes = text.len();
        let count = move || self.encoding.count(&text) as u64;
        self.scaled(self.encoding.aside(bytes, count).await)
    }

    /// Tokens of messages, which may be long: each a role and a text.
    pub async fn count_messages(
        self,
        messages: impl AsRef<[(&'static str, String)]> + Send + 'static,
    ) -> Counted {
        let bytes: usize = messages
            .as_ref()
            .iter()
            .map(|(_, text)| text.len() + MARKS)
            .sum();
        let count = move || {
            let each = messages
                .as_ref()
                .iter()
                .map(|(role, text)| self.encoding.of_message(role, text));
            each.sum::<u64>()
        };
        self.scaled(self.encoding.aside(bytes, count).await)
    }

    /// Tokens of what is stored with so many ([`Measures::fallback`]).
    pub fn of_stored(&self, stored: u32) -> u32 {
        told(scale(stored.into(), self.stored_ppm))
    }

    /// About what [`Self::of_stored`] was told: it is this from which [`Measures::learn`] learns.
    pub fn stored_of(&self, tokens: u32) -> u32 {
        let stored = u64::from(tokens) * u64::from(ONE) / u64::from(self.stored_ppm.max(1));
        told(stored)
    }

    /// By how much counts are multiplied; 1 where they are exact.
    pub fn factor(&self) -> f64 {
        share(self.factor_ppm)
    }

    fn scale(&self, tokens: u64) -> u32 {
        told(scale(tokens, self.factor_ppm))
    }

    fn scaled(&self, counted: Counted) -> Counted {
        Counted {
            tokens: self.scale(counted.tokens.into()),
            ..counted
        }
    }
}

/// What is known of all models; cheap to clone.
#[derive(Debug, Clone)]
pub struct Measures(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    fallback: Encoding,
    known: RwLock<ByModel<Learned>>,
    /// What was learned here and is not stored yet.
    new: Mutex<ByModel<Sums>>,
}

impl Measures {
    /// Knows nothing yet. `fallback` is the encoding of what is stored, and of models whose own is not known.
    pub fn new(fallback: Encoding) -> Self {
        Self(Arc::new(Parts {
            fallback,
            known: RwLock::default(),
            new: Mutex::default(),
        }))
    }

    /// The encoding of what is stored, and of models whose own is not known.
    pub fn fallback(&self) -> Encoding {
        self.0.fallback
    }

    /// How tokens are counted for no model in particular.
    pub fn plain(&self) -> Measure {
        Measure {
            encoding: self.0.fallback,
            factor_ppm: ONE,
            is_exact: false,
            stored_ppm: ONE,
        }
    }

    /// How tokens are counted for a model, as its provider calls it. It is known here; nobody is asked.
    pub fn measure(&self, provider: &str, model: &str) -> Measure {
        let own = Encoding::of_model(model);
        if own == Some(self.0.fallback) {
            return Measure {
                is_exact: true,
                ..self.plain()
            };
        }
        let learned = self.learned(provider, model);
        let stored_ppm = learned.map_or(ONE, |learned| learned.factor_ppm);
        match own {
            Some(encoding) => Measure {
                encoding,
                factor_ppm: ONE,
                is_exact: true,
                stored_ppm,
            },
            None => Measure {
                factor_ppm: stored_ppm,
                stored_ppm,
                ..self.plain()
            },
        }
    }

    /// What was learned of a model, as its provider calls it: its tokens beside those of what is stored.
    pub fn learned(&self, provider: &str, model: &str) -> Option<Learned> {
        let known = self
            .0
            .known
            .read()
            .expect("nothing panics while it holds this lock");
        known.get(provider)?.get(model).copied()
    }

    /// Learns from an answer: the tokens of its question, as they are stored (and so before any factor), and as the
    /// provider reported them. It is only noted here.
    pub fn learn(&self, provider: &str, model: &str, estimated: u32, reported: u32) {
        if Encoding::of_model(model) == Some(self.0.fallback) {
            return;
        }
        let known = self.learned(provider, model);
        let mut new = self.unstored();
        let of_provider = new.get_mut(provider);
        if let Some(sums) = of_provider.and_then(|models| models.get_mut(model)) {
            sums.add(estimated, reported, known);
            return;
        }
        let models = new.entry(provider.to_owned()).or_default();
        let sums = models.entry(model.to_owned()).or_default();
        sums.add(estimated, reported, known);
    }

    /// Tokens of a text, as they are stored.
    pub async fn count_text(&self, text: String) -> u32 {
        self.0.fallback.count_text(text).await.tokens
    }

    /// Tokens of a message, as they are stored.
    pub async fn count_message(&self, role: &'static str, text: String) -> u32 {
        self.0.fallback.count_message(role, text).await.tokens
    }

    /// Looks what all programs have learned.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn load(&self, db: &impl ConnectionTrait) -> Result<()> {
        let rows = token_factor::list(db, self.0.fallback.name()).await?;
        let mut known = ByModel::new();
        add(&mut known, rows);
        *self
            .0
            .known
            .write()
            .expect("nothing panics while it holds this lock") = known;
        Ok(())
    }

    /// Adds what was learned here to what all programs have learned.
    ///
    /// # Errors
    /// As the database fails; then it is added the next time.
    pub async fn store(&self, db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<()> {
        let new = mem::take(&mut *self.unstored());
        let encoding = self.0.fallback.name();
        let additions: Vec<Addition> = new
            .iter()
            .flat_map(|(provider, models)| {
                models
                    .iter()
                    .filter(|(_, sums)| sums.answers > 0)
                    .map(move |(model, sums)| Addition::of(provider, model, encoding, sums))
            })
            .collect();
        if additions.is_empty() {
            return Ok(());
        }
        match token_factor::add(db, &additions, now).await {
            Ok(rows) => {
                let mut known = self
                    .0
                    .known
                    .write()
                    .expect("nothing panics while it holds this lock");
                add(&mut known, rows);
                Ok(())
            }
            Err(error) => {
                let mut unstored = self.unstored();
                for (provider, models) in new {
                    let known = unstored.entry(provider).or_default();
                    for (model, sums) in models {
                        known.entry(model).or_default().merge(&sums);
                    }
                }
                Err(error)
            }
        }
    }

    /// Stores what is learned here, and looks what others have learned, until `end`.
    pub async fn follow(self, db: DatabaseConnection, clock: Clock, end: CancellationToken) {
        let mut tick = tokio::time::interval(STORE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded: Option<Instant> = None;
        while end.run_until_cancelled(tick.tick()).await.is_some() {
            if loaded.is_none_or(|at| at.elapsed() >= LOAD) {
                match self.load(&db).await {
                    Ok(()) => loaded = Some(Instant::now()),
                    Err(error) => {
                        tracing::debug!(error = %error, "factors of tokens are not known yet");
                    }
                }
            }
            if let Err(error) = self.store(&db, clock.now()).await {
                tracing::debug!(error = %error, "factors of tokens are not stored yet");
            }
        }
        if let Err(error) = self.store(&db, clock.now()).await {
            tracing::debug!(error = %error, "what was learned of tokens last is lost");
        }
    }

    fn unstored(&self) -> MutexGuard<'_, ByModel<Sums>> {
        self.0
            .new
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

/// Notes what rows tell.
fn add(known: &mut ByModel<Learned>, rows: Vec<token_factor::Model>) {
    for row in rows {
        if let Some(learned) = row.learned() {
            let models = known.entry(row.provider).or_default();
            models.insert(row.model, learned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_a_known_encoding_are_counted_as_they_count() {
        let measures = Measures::new(Encoding::O200k);
        let exact = measures.measure("openrouter", "openai/gpt-4o-mini");
        assert_eq!(
            (exact.encoding, exact.factor_ppm, exact.is_exact),
            (Encoding::O200k, ONE, true)
        );
        assert_eq!(exact.count("hello world"), 2);
        assert_eq!(exact.count_message("user", "hello world"), 7);
        assert_eq!(exact.of_stored(7), 7);
        let old = measures.measure("openai", "gpt-4");
        assert_eq!((old.encoding, old.is_exact), (Encoding::Cl100k, true));
        let other = measures.measure("groq", "llama-3.1-8b-instant");
        assert_eq!(other, measures.plain());
        assert!(!other.is_exact);
    }

    #[test]
    fn what_was_learned_counts_for_texts_and_for_what_is_stored() {
        let measures = Measures::new(Encoding::O200k);
        let learned = Learned {
            samples: 20,
            factor_ppm: 1_500_000,
            error_ppm: 10_000,
        };
        for (provider, model) in [("groq", "llama"), ("openai", "gpt-4")] {
            let mut known = measures.0.known.write().unwrap();
            let models = known.entry(provider.to_owned()).or_default();
            models.insert(model.to_owned(), learned);
        }
        let llama = measures.measure("groq", "llama");
        assert_eq!(llama.count("hello world"), 3);
        assert_eq!(llama.of_stored(100), 150);
        assert_eq!(llama.stored_of(150), 100);
        assert_eq!(measures.measure("groq", "other"), measures.plain());
        assert_eq!(measures.measure("other", "llama"), measures.plain());
        // Its texts are counted exactly; what is stored is in another encoding.
        let old = measures.measure("openai", "gpt-4");
        assert_eq!((old.factor_ppm, old.is_exact), (ONE, true));
        assert_eq!(old.of_stored(100), 150);
    }

    #[test]
    fn nothing_is_learned_of_a_model_that_is_counted_exactly() {
        let measures = Measures::new(Encoding::O200k);
        measures.learn("openai", "gpt-4o", 10, 20);
        assert!(measures.unstored().is_empty());
        measures.learn("openai", "gpt-4", 10, 20);
        measures.learn("openai", "gpt-4", 10, 0);
        measures.learn("groq", "llama", 10, 20);
        let new = measures.unstored();
        assert_eq!(new["openai"]["gpt-4"].answers, 1);
        assert_eq!(new["groq"]["llama"].answers, 1);
    }

    #[tokio::test]
    async fn long_messages_are_counted_like_short_ones() {
        let measure = Measures::new(Encoding::O200k).plain();
        let text = "नमस्ते دنیا ".repeat(4_000);
        let alone = measure.count_message("user", &text);
        let messages = vec![("user", text.clone()), ("assistant", "hello".to_owned())];
        let last = measure.count_message("assistant", "hello");
        let all = measure.count_messages(messages).await;
        assert_eq!((all.tokens, all.is_estimated), (alone + last, false));
        assert_eq!(measure.count(&text), measure.count_aside(text).await.tokens);
    }
}
