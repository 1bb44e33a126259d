//! Models that make vectors of texts.

use std::collections::HashSet;

use serde::Deserialize;

use super::{ECHO, ID_MAX, Route};

/// A model that makes vectors of texts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddingModel {
    /// Its name here.
    pub id: String,
    /// For people.
    pub name: String,
    /// Most numbers of a vector.
    pub dimensions: u32,
    /// Who has it, in the order in which they are asked. All of them must have the same model: vectors of different ones
    /// cannot be compared. Prices have an `output` of 0.
    pub routes: Vec<Route>,
}

impl EmbeddingModel {
    /// What is wrong with it, where there are `providers`.
    pub(super) fn problem(&self, providers: &HashSet<&String>) -> Option<String> {
        let stranger = self
            .routes
            .iter()
            .find(|route| !providers.contains(&route.provider));
        if self.id.trim().is_empty() || self.id == ECHO || self.id.len() > ID_MAX {
            Some("is no name that a model may have".to_owned())
        } else if self.routes.is_empty() {
            Some("has no route".to_owned())
        } else if self.dimensions == 0 {
            Some("has no dimensions".to_owned())
        } else {
            stranger.map(|route| format!("has a route to {:?}, which is not there", route.provider))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;

    #[test]
    fn the_built_in_ones_are_there_and_nonsense_is_refused() {
        let table = Catalogue::built_in();
        for (id, dimensions) in [
            ("text-embedding-3-small", 1_536),
            ("text-embedding-3-large", 3_072),
            ("gemini-embedding-001", 3_072),
        ] {
            let model = table.embedding(id).unwrap();
            assert_eq!(model.dimensions, dimensions, "{id}");
            let price = model.routes[0].price.unwrap();
            assert!(price.input > 0 && price.output == 0, "{id}");
        }
        let model = |id: &str, provider: &str, dimensions: i32| {
            format!(
                r#"{{ "version": "1", "embeddingModels": [{{ "id": "{id}", "name": "x", "dimensions": {dimensions},
                      "routes": [{{ "provider": "{provider}", "model": "x" }}] }}] }}"#
            )
        };
        assert!(Catalogue::with(&model("mine", "openai", 8)).is_ok());
        for bad in [
            model("mine", "openai", 0),
            model("mine", "nobody", 8),
            model("", "openai", 8),
            model("gpt-4o", "openai", 8),
        ] {
            assert!(Catalogue::with(&bad).is_err(), "{bad}");
        }
    }
}
