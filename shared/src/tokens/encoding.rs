//! Encodings: which models have which, and counting in them.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
};

use bpe_openai::byte_pair_encoding::BytePairEncoding;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Counted, PER_MESSAGE, counting, estimate, told};

/// From this many bytes on, counting takes milliseconds and has a thread of its own.
const LARGE_BYTES: usize = 32 * 1024;

/// Models of `OpenAI` by their names (tiktoken's map of 0.13; a test compares it with that of `tiktoken-rs`).
pub(super) const NAMES: &[(&str, Encoding)] = &[
    ("o1", Encoding::O200k),
    ("o3", Encoding::O200k),
    ("o4-mini", Encoding::O200k),
    ("gpt-5", Encoding::O200k),
    ("gpt-4.1", Encoding::O200k),
    ("gpt-4o", Encoding::O200k),
    ("gpt-4", Encoding::Cl100k),
    ("gpt-3.5-turbo", Encoding::Cl100k),
    ("gpt-3.5", Encoding::Cl100k),
    ("gpt-35-turbo", Encoding::Cl100k),
    ("davinci-002", Encoding::Cl100k),
    ("babbage-002", Encoding::Cl100k),
    ("text-embedding-ada-002", Encoding::Cl100k),
    ("text-embedding-3-small", Encoding::Cl100k),
    ("text-embedding-3-large", Encoding::Cl100k),
];

/// Families of models by how their names begin.
pub(super) const FAMILIES: &[(&str, Encoding)] = &[
    ("o1-", Encoding::O200k),
    ("o3-", Encoding::O200k),
    ("o4-mini-", Encoding::O200k),
    ("gpt-5-", Encoding::O200k),
    ("gpt-5.", Encoding::O200k),
    ("gpt-4.5-", Encoding::O200k),
    ("gpt-4.1-", Encoding::O200k),
    ("chatgpt-4o-", Encoding::O200k),
    ("gpt-4o-", Encoding::O200k),
    ("gpt-4-", Encoding::Cl100k),
    ("gpt-3.5-turbo-", Encoding::Cl100k),
    ("gpt-35-turbo-", Encoding::Cl100k),
    // Of words it has the same tokens; only its marks are others.
    ("gpt-oss-", Encoding::O200k),
    ("codex-mini", Encoding::O200k),
];

/// How texts are made into tokens.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[schema(as = TokenEncoding)]
pub enum Encoding {
    /// Of GPT-4o and what came after it.
    #[serde(rename = "o200k_base")]
    O200k,
    /// Of GPT-4 and GPT-3.5. For Hindi it takes some three times as many tokens.
    #[serde(rename = "cl100k_base")]
    Cl100k,
}

impl Encoding {
    /// As it is called everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k_base",
            Self::Cl100k => "cl100k_base",
        }
    }

    /// The encoding of a model, by the name that its provider has for it; none where that is not known for sure.
    pub fn of_model(model: &str) -> Option<Self> {
        let name = model.strip_prefix("openai/").unwrap_or(model);
        // One that somebody has tuned: `ft:gpt-4o-mini:somebody::id`.
        let name = name.strip_prefix("ft:").unwrap_or(name);
        // What follows tells whose it is, or how it is served: `gpt-oss-20b:free`.
        let name = name.split(':').next().unwrap_or(name);
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let family = || FAMILIES.iter().find(|(start, _)| name.starts_with(*start));
        known.or_else(family).map(|(_, encoding)| *encoding)
    }

    /// Tokens of a text. The time it takes grows with its length only, whatever it says.
    pub fn count(self, text: &str) -> usize {
        let tokens = counting::count(self, text);
        if !self.is_ready() {
            self.ready().store(true, Ordering::Relaxed);
        }
        tokens
    }

    /// A beginning of a text that has about `most` tokens, and never more. It takes about as long as counting that much.
    pub fn cut(self, text: &str, most: usize) -> &str {
        let mut fewer = most;
        loop {
            let cut = &text[..counting::cut(self, text, fewer)];
            // Where a text ends, white space may fall into other pieces than before a word.
            let tokens = self.count(cut);
            if tokens <= most {
                return cut;
            }
            fewer = fewer.saturating_sub(tokens - most);
        }
    }

    /// Tokens of a text, which may be long.
    pub async fn count_text(self, text: String) -> Counted {
        let bytes = text.len();
        self.aside(bytes, move || self.count(&text) as u64).await
    }

    /// Tokens of a message: those of its role and its text, and 4 for the message.
    pub async fn count_message(self, role: &'static str, text: String) -> Counted {
        let bytes = text.len();
        self.aside(bytes, move || self.of_message(role, &text))
            .await
    }

    /// The same, of a text that is short or on a thread where nobody waits.
    pub(super) fn of_message(self, role: &str, text: &str) -> u64 {
        (self.count(role) + self.count(text)) as u64 + u64::from(PER_MESSAGE)
    }

    /// Counts so many bytes, on a thread of its own where that takes a while. What cannot be counted is estimated: no answer
    /// may fail for it, nor whoever ends the answers of others.
    pub(super) async fn aside(
        self,
        bytes: usize,
        count: impl FnOnce() -> u64 + Send + 'static,
    ) -> Counted {
        // The tables of an encoding are some 40 MB, and are made in a tenth of a second when they are needed first.
        let counted = if bytes < LARGE_BYTES && self.is_ready() {
            panic::catch_unwind(AssertUnwindSafe(count)).ok()
        } else {
            tokio::task::spawn_blocking(count).await.ok()
        };
        if counted.is_none() {
            // What panicked has told it.
            tracing::error!(bytes, "tokens could not be counted, and are estimated");
        }
        Counted {
            tokens: counted.map_or(estimate(bytes), told),
            is_estimated: counted.is_none(),
        }
    }

    /// Whether its tables are there.
    fn is_ready(self) -> bool {
        self.ready().load(Ordering::Relaxed)
    }

    fn ready(self) -> &'static AtomicBool {
        static O200K: AtomicBool = AtomicBool::new(false);
        static CL100K: AtomicBool = AtomicBool::new(false);
        match self {
            Self::O200k => &O200K,
            Self::Cl100k => &CL100K,
        }
    }

    /// Its tables, which are made when they are needed first.
    pub(super) fn tables(self) -> &'static BytePairEncoding {
        match self {
            Self::O200k => &bpe_openai::o200k_base().bpe,
            Self::Cl100k => &bpe_openai::cl100k_base().bpe,
        }
    }
}
