//! Which models there are, who has them, and what they cost.
//!
//! The table in this folder is built in; a file of the operator's (`MODELS_FILE`) overrides it. Prices are those of the
//! providers' pages, read on the day of its version. Where a provider's price depends on the hour or on the length of a
//! question, there is none: such an answer is `unpriced` rather than guessed.

mod embedding;
mod price;
mod quirks;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use jiff::tz::TimeZone;
use serde::Deserialize;
use url::Url;

pub use self::{
    embedding::EmbeddingModel,
    price::{AudioPrice, Price},
    quirks::{Extra, Quirks},
};

/// The table that is built in.
const BUILT_IN: &str = include_str!("models.json");
/// The model of a development machine without any provider: it says what was said.
pub const ECHO: &str = "echo";
/// What `/api/health` shows beside the providers: no provider may have such a name.
pub const OTHER_SERVICES: [&str; 3] = ["database", "redis", "storage"];
/// Longest id of a model, in bytes.
pub const ID_MAX: usize = 128;
/// Letters of two names that may differ for them to be near.
const NEAR: usize = 3;
/// Most near names that are told.
const NEAR_NAMES: usize = 3;

/// All models and providers; the first model that can be asked is the one for those who name none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Catalogue {
    /// The day on which it was made, or what its operator calls it.
    pub version: String,
    /// Who can be asked.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Models, best first.
    #[serde(default)]
    pub models: Vec<Model>,
    /// Models that make vectors of texts.
    #[serde(default)]
    pub embedding_models: Vec<EmbeddingModel>,
    /// Whether what is built in is there too, after this and where this does not name it.
    #[serde(default = "yes")]
    pub built_in: bool,
}

/// Somebody who speaks `OpenAI`'s protocol.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Small letters, digits, `-` and `_`. Its variables begin with it: `GROQ_API_KEYS` are those of `groq`.
    pub name: String,
    /// For people.
    pub title: String,
    /// What its paths are appended to, unless its variable says otherwise.
    pub base_url: Url,
    /// How it differs from `OpenAI`.
    #[serde(default)]
    pub quirks: Quirks,
    /// Most requests that one of its keys may make in a day.
    #[serde(default)]
    pub daily_requests_per_key: Option<u64>,
    /// Where its days end, by the names of the IANA time zone database; UTC unless told otherwise.
    #[serde(default)]
    pub reset_zone: Option<String>,
    /// Whether it wants no key, like a server of one's own.
    #[serde(default)]
    pub keyless: bool,
    /// Those of its models that write down what is said, as far as their prices are known.
    #[serde(default)]
    pub transcription: Vec<AudioModel>,
}

/// A model that writes down what is said.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AudioModel {
    /// As its provider calls it.
    pub model: String,
    /// What it costs; nobody knows where there is none.
    #[serde(default)]
    pub price: Option<AudioPrice>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// Its name here.
    pub id: String,
    /// For people.
    pub name: String,
    /// Most tokens of a question and its answer.
    pub context_tokens: u32,
    /// Most tokens of an answer.
    pub max_output_tokens: u32,
    /// Most tokens of what goes along with a question; none for what the deployment says.
    #[serde(default)]
    pub context_max_tokens: Option<u32>,
    /// Whether pictures can be shown to it.
    #[serde(default)]
    pub sees_pictures: bool,
    /// Who has it, in the order in which they are asked.
    pub routes: Vec<Route>,
}

/// A provider that has a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The provider's name.
    pub provider: String,
    /// Its own name of the model.
    pub model: String,
    /// What it costs; nobody knows where there is none.
    #[serde(default)]
    pub price: Option<Price>,
}

impl Model {
    /// Most tokens of a question with all that goes along: what is left beside the longest answer, or three quarters where
    /// an answer may be as long as all.
    pub fn most_context(&self) -> u32 {
        let answer = self.max_output_tokens.min(self.context_tokens / 4);
        self.context_tokens - answer
    }
}

fn yes() -> bool {
    true
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is no such JSON.
    #[error("it is no table of models: {0}")]
    Json(#[from] serde_json::Error),
    /// Something is wrong with a model.
    #[error("model {0:?} {1}")]
    Model(String, String),
    /// Something is wrong with a provider.
    #[error("provider {0:?} {1}")]
    Provider(String, &'static str),
}

impl Catalogue {
    /// The table that is built in.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("a test reads it")
    }

    /// Reads a table of an operator's, and adds what is built in.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub fn with(json: &str) -> Result<Self, CatalogueError> {
        let mut table: Self = serde_json::from_str(json)?;
        if table.built_in {
            let built_in = Self::built_in();
            for provider in built_in.providers {
                if table.provider(&provider.name).is_none() {
                    table.providers.push(provider);
                }
            }
            for model in built_in.models {
                if table.find(&model.id).is_none() {
                    table.models.push(model);
                }
            }
            for model in built_in.embedding_models {
                if table.embedding(&model.id).is_none() && table.find(&model.id).is_none() {
                    table.embedding_models.push(model);
                }
            }
        }
        table.check()
    }

    fn parse(json: &str) -> Result<Self, CatalogueError> {
        serde_json::from_str::<Self>(json)?.check()
    }

    fn check(self) -> Result<Self, CatalogueError> {
        let mut names = HashSet::new();
        for provider in &self.providers {
            let is_name = |name: &str| {
                let is_part =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
                !name.is_empty() && name != ECHO && name.chars().all(is_part)
            };
            let problem = if !names.insert(&provider.name) {
                "is there twice"
            } else if !is_name(&provider.name) {
                "is no name that a provider may have"
            } else if OTHER_SERVICES.contains(&provider.name.as_str()) {
                "has the name of another service that /api/health shows"
            } else if provider
                .reset_zone
                .as_deref()
                .is_some_and(|zone| TimeZone::get(zone).is_err())
            {
                "has an unknown time zone"
            } else if !matches!(provider.base_url.scheme(), "http" | "https") {
                "has a base URL that is not http(s)://"
            } else {
                continue;
            };
            return Err(CatalogueError::Provider(provider.name.clone(), problem));
        }
        let mut ids = HashSet::new();
        for model in &self.models {
            let stranger = model
                .routes
                .iter()
                .find(|route| !names.contains(&route.provider));
            let problem = if !ids.insert(&model.id) {
                "is there twice".to_owned()
            } else if model.id.trim().is_empty() || model.id == ECHO || model.id.len() > ID_MAX {
                "is no name that a model may have".to_owned()
            } else if model.routes.is_empty() {
                "has no route".to_owned()
            } else if let Some(route) = stranger {
                format!("has a route to {:?}, which is not there", route.provider)
            } else if model.context_tokens == 0 || model.max_output_tokens == 0 {
                "has no room for an answer".to_owned()
            } else if model
                .context_max_tokens
                .is_some_and(|most| most == 0 || most > model.most_context())
            {
                format!(
                    "has a contextMaxTokens that is not 1 to {}",
                    model.most_context()
                )
            } else {
                continue;
            };
            return Err(CatalogueError::Model(model.id.clone(), problem));
        }
        for model in &self.embedding_models {
            if let Some(problem) = model.problem(&names) {
                return Err(CatalogueError::Model(model.id.clone(), problem));
            }
            if !ids.insert(&model.id) {
                let problem = "is there twice".to_owned();
                return Err(CatalogueError::Model(model.id.clone(), problem));
            }
        }
        Ok(self)
    }

    /// The model of a name.
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.id == id)
    }

    /// The model of a name that makes vectors of texts.
    pub fn embedding(&self, id: &str) -> Option<&EmbeddingModel> {
        self.embedding_models.iter().find(|model| model.id == id)
    }

    /// The provider of a name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// What it costs that a provider's model hears a sound; nobody knows where there is none.
    pub fn audio_price(&self, provider: &str, model: &str) -> Option<AudioPrice> {
        let mut models = self.provider(provider)?.transcription.iter();
        models.find(|known| known.model == model)?.price
    }
}

impl Provider {
    /// How its variables begin.
    pub fn variable(&self, rest: &str) -> String {
        format!("{}_{rest}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// Names that somebody may have meant by `id`, nearest first. What is longer than any of them is near to none: the time of a
/// comparison grows with its length.
pub fn near<'a>(id: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    if id.len() > ID_MAX {
        return Vec::new();
    }
    let id = id.to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|known| {
            let lower = known.to_lowercase();
            let is_part = !id.is_empty() && (lower.contains(&id) || id.contains(&lower));
            let distance = strsim::levenshtein(&id, &lower);
            (is_part || distance <= NEAR).then_some((distance, known))
        })
        .collect();
    near.sort_unstable();
    near.truncate(NEAR_NAMES);
    near.into_iter().map(|(_, known)| known).collect()
}
