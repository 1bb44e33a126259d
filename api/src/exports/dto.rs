//! Bodies of exports.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::{ConversationId, ExportId, JobId, MessageId},
    models::export::{self, Format, Status},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    jobs::dto::Job,
    moment::Moment,
    page::Limit,
    text::{Id, Param},
};

/// Which messages of the tree are exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Branch::parse -> Rule)]
pub(super) enum Branch {
    /// Those of the branch that is shown.
    #[default]
    Current,
    /// Those of all branches.
    All,
    /// Those of the branch that ends with this message.
    Of(MessageId),
}

impl Branch {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "current" => Ok(Self::Current),
            "all" => Ok(Self::All),
            id => id
                .parse()
                .map(Self::Of)
                .map_err(|_| Rule::new("must be current, all or the id of a message")),
        }
    }
}

/// What to make of a conversation.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateExport {
    /// What kind of file is made.
    #[schema(value_type = Format, example = "markdown")]
    pub(super) format: Param<Format>,
    /// Only messages from this time on.
    #[deserr(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub(super) from: Option<Moment>,
    /// Only messages before this time.
    #[deserr(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub(super) to: Option<Moment>,
    /// Adds the text that was read in attachments (200,000 characters of each at most; not in CSV), and shows pictures
    /// in PDF, DOCX and HTML, each where it is mentioned first. Otherwise attachments are only listed.
    #[deserr(default)]
    #[schema(default = false)]
    pub(super) include_attachments: bool,
    /// `current` (the branch that is shown), `all` (every message, in order of time), or the id of the message with
    /// which a branch ends.
    #[deserr(default)]
    #[schema(value_type = String, required = false, default = "current", example = "current")]
    pub(super) branch: Branch,
}

/// A file made of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Export {
    id: ExportId,
    conversation_id: ConversationId,
    /// The job that makes it.
    job_id: JobId,
    format: Format,
    /// Only messages from this time on.
    from: Option<DateTime<Utc>>,
    /// Only messages before this time.
    to: Option<DateTime<Utc>>,
    include_attachments: bool,
    /// `all`, or the id of the message with which the branch ends; null if the conversation was empty.
    #[schema(example = "all")]
    branch: Option<String>,
    status: Status,
    #[schema(example = "Plans 2026-11-28.md")]
    file_name: String,
    #[schema(example = "text/markdown; charset=utf-8")]
    media_type: &'static str,
    /// Null until there is a file.
    #[schema(minimum = 0, example = 48213)]
    size_bytes: Option<i64>,
    /// In lower-case hex; null until there is a file.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: Option<String>,
    /// How many messages are in the file; null until there is one.
    #[schema(minimum = 0, example = 120)]
    message_count: Option<i64>,
    /// The file, without credentials, for an hour; null until there is one.
    #[schema(
        format = "uri",
        example = "https://api.example.com/api/v1/exports/019aa5c1-7d3a-7c62-9f0b-5e1d2a3b4c5d/content?exp=1795255200&sig=6f1c"
    )]
    url: Option<String>,
    /// When `url` ends; the export then has a new one.
    url_expires_at: Option<DateTime<Utc>>,
    /// When the export is deleted, seven days after its end; null until then.
    expires_at: Option<DateTime<Utc>>,
    /// Why no file could be made, for people.
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl Export {
    /// Puts an export together.
    pub(super) fn new(row: export::Model, url: Option<(String, DateTime<Utc>)>) -> Self {
        let export::Model {
            id,
            user_id: _,
            conversation_id,
            job_id,
            format,
            since,
            until,
            include_attachments,
            whole_tree,
            leaf_id,
            status,
            error,
            file_name,
            storage_key: _,
            size_bytes,
            sha256,
            message_count,
            created_at,
            finished_at,
            expires_at,
        } = row;
        let branch = if whole_tree {
            Some("all".to_owned())
        } else {
            leaf_id.map(|id| id.to_string())
        };
        let (url, url_expires_at) = url.unzip();
        Self {
            id,
            conversation_id,
            job_id,
            format,
            from: since,
            to: until,
            include_attachments,
            branch,
            status,
            file_name,
            media_type: format.media_type(),
            size_bytes,
            sha256: sha256.map(hex::encode),
            message_count,
            url,
            url_expires_at,
            expires_at,
            error,
            created_at,
            finished_at,
        }
    }
}

/// A new export.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedExport {
    pub(super) export: Export,
    /// The job that makes it.
    pub(super) job: Job,
}

/// Which exports are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListExports {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// Only exports of this conversation.
    #[deserr(default)]
    #[param(value_type = Option<ConversationId>)]
    pub(super) conversation_id: Option<Id<ConversationId>>,
    /// Only exports with this status.
    #[deserr(default)]
    #[param(value_type = Option<Status>)]
    pub(super) status: Option<Param<Status>>,
}
