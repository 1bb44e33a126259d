//! Bodies of conversations.

use std::{collections::BTreeSet, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use shared::{
    ids::{ConversationId, MessageId, ProjectId},
    language,
    models::conversation::{self, Filter, Settings},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    error::Error,
    extract::{Fields, Rule},
    given::Given,
    page::Limit,
    text::{Change, Id, Languages, Line, Prose, refuse},
};

/// Longest system prompt, in characters: some 8,000 tokens.
const SYSTEM_PROMPT_MAX: usize = 32_000;
/// Most tags of a conversation.
const TAGS_MAX: usize = 20;

type Title = Line<1, 200>;
type ModelName = Line<1, 128>;

/// Tags, each once, in alphabetical order.
#[derive(Debug, Default)]
pub(super) struct Tags(Vec<String>);

impl Deserr<Fields> for Tags {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        let tags = Vec::<Line<1, 50>>::deserialize_from_value(value, location)?;
        let tags: BTreeSet<String> = tags.into_iter().map(|tag| tag.0).collect();
        if tags.len() > TAGS_MAX {
            let rule = Rule::new(format!("must have at most {TAGS_MAX} tags"));
            return Err(refuse(rule, location));
        }
        Ok(Self(tags.into_iter().collect()))
    }
}

/// Least and most tokens of what goes along with a question, whatever the model.
const CONTEXT_TOKENS: RangeInclusive<u32> = 100..=1_000_000;
/// Least and most messages that go along.
const CONTEXT_MESSAGES: RangeInclusive<u32> = 1..=500;

/// Tokens of what goes along with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(u32) = ContextTokens::parse -> Rule)]
pub(super) struct ContextTokens(u32);

impl ContextTokens {
    fn parse(number: u32) -> Result<Self, Rule> {
        within(number, &CONTEXT_TOKENS).map(Self)
    }
}

/// Messages that go along with a question, it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(u32) = ContextMessages::parse -> Rule)]
pub(super) struct ContextMessages(u32);

impl ContextMessages {
    fn parse(number: u32) -> Result<Self, Rule> {
        within(number, &CONTEXT_MESSAGES).map(Self)
    }
}

fn within(number: u32, range: &RangeInclusive<u32>) -> Result<u32, Rule> {
    if range.contains(&number) {
        Ok(number)
    } else {
        let (least, most) = (range.start(), range.end());
        Err(Rule::new(format!("must be {least} to {most}")))
    }
}

/// A new conversation.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateConversation {
    /// What it is called in lists.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, example = "Plans for the summer")]
    title: Option<Title>,
    /// The project to which it belongs.
    #[deserr(default)]
    #[schema(value_type = Option<ProjectId>)]
    pub(super) project_id: Option<Id<ProjectId>>,
    /// The instructions given to the model; null for those of the project.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 32_000)]
    system_prompt: Option<Prose<SYSTEM_PROMPT_MAX>>,
    /// The model that answers, unless a message asks for another.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    model: Option<ModelName>,
    /// The languages of the conversation: ISO 639-1 or 639-3 codes, joined by `+`. Files sent to it are read in them
    /// first.
    #[deserr(default)]
    #[schema(value_type = Option<String>, example = "ur")]
    language: Option<Languages>,
    /// Words to file and find it by.
    #[deserr(default)]
    #[schema(value_type = Vec<String>, max_items = 20, example = json!(["work"]))]
    tags: Tags,
    #[deserr(default)]
    #[schema(default = false)]
    pinned: bool,
}

impl From<CreateConversation> for Settings {
    fn from(input: CreateConversation) -> Self {
        Self {
            project: input.project_id.map(|id| id.0),
            title: input.title.map(|text| text.0),
            system_prompt: input.system_prompt.map(|text| text.0),
            model: input.model.map(|text| text.0),
            language: input.language.map(|languages| languages.join()),
            tags: input.tags.0,
            pinned: input.pinned,
            archived: false,
            ..Self::default()
        }
    }
}

/// Changes to a conversation: a field that is left out keeps its value; null clears it where it may be missing.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdateConversation {
    /// What it is called in lists.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, example = "Trips of the summer")]
    title: Change<Title>,
    /// The project to which it belongs.
    #[deserr(default)]
    #[schema(value_type = Option<ProjectId>)]
    pub(super) project_id: Change<Id<ProjectId>>,
    /// The instructions given to the model.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 32_000)]
    system_prompt: Change<Prose<SYSTEM_PROMPT_MAX>>,
    /// The model that answers.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    model: Change<ModelName>,
    /// The languages of the conversation: ISO 639-1 or 639-3 codes, joined by `+`.
    #[deserr(default)]
    #[schema(value_type = Option<String>, example = "en+hi")]
    language: Change<Languages>,
    /// The complete new list of tags.
    #[deserr(default)]
    #[schema(value_type = Vec<String>, required = false, max_items = 20)]
    tags: Given<Tags>,
    #[deserr(default)]
    #[schema(value_type = bool, required = false)]
    pinned: Given<bool>,
    #[deserr(default)]
    #[schema(value_type = bool, required = false)]
    archived: Given<bool>,
    /// A message of the branch to show. The branch continues from it to the newest message below it.
    #[deserr(default)]
    #[schema(value_type = MessageId, required = false)]
    pub(super) current_message_id: Given<Id<MessageId>>,
    /// Most tokens of what goes along with a question: at most what the model takes beside its answer. Null for what the
    /// model or the deployment says.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 100, maximum = 1_000_000)]
    context_max_tokens: Change<ContextTokens>,
    /// Most messages that go along with a question, it included. Null for what the deployment says.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 500)]
    context_max_messages: Change<ContextMessages>,
}

impl UpdateConversation {
    /// What is set after the change, but for the current message.
    ///
    /// # Errors
    /// When nothing is changed.
    pub(super) fn apply(self, before: Settings) -> Result<Settings, Error> {
        let keeps = [
            self.title.is_keep(),
            self.project_id.is_keep(),
            self.system_prompt.is_keep(),
            self.model.is_keep(),
            self.language.is_keep(),
            self.tags.0.is_none(),
            self.pinned.0.is_none(),
            self.archived.0.is_none(),
            self.current_message_id.0.is_none(),
            self.context_max_tokens.is_keep(),
            self.context_max_messages.is_keep(),
        ];
        if keeps.into_iter().all(|keeps| keeps) {
            return Err(Error::field("", "must have at least one field"));
        }
        Ok(Settings {
            project: self.project_id.apply(before.project, |id| id.0),
            title: self.title.apply(before.title, |text| text.0),
            system_prompt: self
                .system_prompt
                .apply(before.system_prompt, |text| text.0),
            model: self.model.apply(before.model, |text| text.0),
            language: self.language.apply(before.language, |names| names.join()),
            tags: self.tags.0.map_or(before.tags, |tags| tags.0),
            pinned: self.pinned.0.unwrap_or(before.pinned),
            archived: self.archived.0.unwrap_or(before.archived),
            current_message: before.current_message,
            context_max_tokens: self
                .context_max_tokens
                .apply(before.context_max_tokens, |number| number.0),
            context_max_messages: self
                .context_max_messages
                .apply(before.context_max_messages, |number| number.0),
        })
    }
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conversation {
    id: ConversationId,
    /// Null until it has been given one.
    title: Option<String>,
    project_id: Option<ProjectId>,
    /// The instructions given to the model; null for those of the project.
    system_prompt: Option<String>,
    /// The model that answers; null for the default of the deployment.
    model: Option<String>,
    /// The languages of the conversation, as ISO 639-1 codes joined by `+`; null if unknown.
    #[schema(example = "ur")]
    language: Option<String>,
    #[schema(example = json!(["work"]))]
    tags: Vec<String>,
    pinned: bool,
    pinned_at: Option<DateTime<Utc>>,
    /// An archived conversation is read-only.
    archived: bool,
    archived_at: Option<DateTime<Utc>>,
    /// The last message of the branch that is shown.
    current_message_id: Option<MessageId>,
    /// The newest message.
    last_message_id: Option<MessageId>,
    last_message_at: Option<DateTime<Utc>>,
    /// Counted over all branches.
    message_count: i64,
    /// Counted over all branches.
    token_count: i64,
    /// Most tokens of what goes along with a question; null for what the model or the deployment says.
    #[schema(example = 8_000)]
    context_max_tokens: Option<i32>,
    /// Most messages that go along with a question; null for what the deployment says.
    #[schema(example = 50)]
    context_max_messages: Option<i32>,
    /// Incremented by every change and every message; also the `ETag`.
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<conversation::Model> for Conversation {
    fn from(row: conversation::Model) -> Self {
        let conversation::Model {
            id,
            user_id: _,
            project_id,
            title,
            system_prompt,
            model,
            language,
            tags,
            pinned_at,
            archived_at,
            current_message_id,
            last_message_id,
            last_message_at,
            message_count,
            token_count,
            deleted_at: _,
            version,
            created_at,
            updated_at,
            context_max_tokens,
            context_max_messages,
            title_by_user: _,
        } = row;
        Self {
            id,
            title,
            project_id,
            system_prompt,
            model,
            language: language.as_deref().and_then(language::codes_of),
            tags,
            pinned: pinned_at.is_some(),
            pinned_at,
            archived: archived_at.is_some(),
            archived_at,
            current_message_id,
            last_message_id,
            last_message_at,
            message_count,
            token_count,
            context_max_tokens,
            context_max_messages,
            version,
            created_at,
            updated_at,
        }
    }
}

/// Which of two kinds are listed, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Which::parse -> Rule)]
pub(super) struct Which(Option<bool>);

impl Which {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "true" => Ok(Self(Some(true))),
            "false" => Ok(Self(Some(false))),
            "all" => Ok(Self(None)),
            _ => Err(Rule::new("must be true, false or all")),
        }
    }

    fn unarchived() -> Self {
        Self(Some(false))
    }

    fn all() -> Self {
        Self(None)
    }
}

/// Which conversations are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListConversations {
    /// Only conversations of this project.
    #[deserr(default)]
    #[param(value_type = Option<ProjectId>)]
    project_id: Option<Id<ProjectId>>,
    /// `true`, `false` or `all`.
    #[deserr(default = Which::unarchived())]
    #[param(value_type = Option<String>, default = "false", pattern = "^(true|false|all)$")]
    archived: Which,
    /// `true`, `false` or `all`.
    #[deserr(default = Which::all())]
    #[param(value_type = Option<String>, default = "all", pattern = "^(true|false|all)$")]
    pinned: Which,
    /// Only conversations with this tag.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, max_length = 50)]
    tag: Option<Line<1, 50>>,
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}

impl ListConversations {
    /// What it asks for.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            project: self.project_id.map(|id| id.0),
            archived: self.archived.0,
            pinned: self.pinned.0,
            tag: self.tag.as_ref().map(|tag| tag.0.clone()),
        }
    }
}
