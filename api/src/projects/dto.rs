//! Bodies of projects.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::ProjectId,
    models::project::{self, Texts},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    error::Error,
    extract::Fields,
    given::Given,
    page::Limit,
    text::{Change, Line, Prose},
};

/// Longest instructions, in characters: some 8,000 tokens.
pub(crate) const INSTRUCTIONS_MAX: usize = 32_000;

/// A new project.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateProject {
    /// A name to recognize it by.
    #[schema(value_type = String, min_length = 1, max_length = 100, example = "Thesis")]
    name: Line<1, 100>,
    /// What it is for, in your own words.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    description: Option<Prose<1000>>,
    /// The system prompt of those of its conversations that have none of their own.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 32_000, example = "Answer in Urdu.")]
    instructions: Option<Prose<INSTRUCTIONS_MAX>>,
}

impl From<CreateProject> for Texts {
    fn from(input: CreateProject) -> Self {
        Self {
            name: input.name.0,
            description: input.description.map(|text| text.0),
            instructions: input.instructions.map(|text| text.0),
        }
    }
}

/// Changes to a project: a field that is left out keeps its value; null clears it where it may be missing.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdateProject {
    /// A name to recognize it by.
    #[deserr(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100, example = "Book")]
    name: Given<Line<1, 100>>,
    /// What it is for, in your own words.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    description: Change<Prose<1000>>,
    /// The system prompt of those of its conversations that have none of their own.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 32_000)]
    instructions: Change<Prose<INSTRUCTIONS_MAX>>,
}

impl UpdateProject {
    /// What the project says after the change.
    ///
    /// # Errors
    /// When nothing is changed.
    pub(super) fn apply(self, row: &project::Model) -> Result<Texts, Error> {
        if self.name.0.is_none() && self.description.is_keep() && self.instructions.is_keep() {
            return Err(Error::field("", "must have at least one field"));
        }
        Ok(Texts {
            name: self.name.0.map_or_else(|| row.name.clone(), |name| name.0),
            description: self
                .description
                .apply(row.description.clone(), |text| text.0),
            instructions: self
                .instructions
                .apply(row.instructions.clone(), |text| text.0),
        })
    }
}

/// A folder of conversations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    id: ProjectId,
    /// A name to recognize it by.
    #[schema(example = "Thesis")]
    name: String,
    /// What it is for, in your own words.
    description: Option<String>,
    /// The system prompt of those of its conversations that have none of their own.
    instructions: Option<String>,
    /// Incremented by every change; also the `ETag`.
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<project::Model> for Project {
    fn from(row: project::Model) -> Self {
        let project::Model {
            id,
            user_id: _,
            name,
            description,
            instructions,
            version,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            name,
            description,
            instructions,
            version,
            created_at,
            updated_at,
        }
    }
}

/// Which projects are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListProjects {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}
