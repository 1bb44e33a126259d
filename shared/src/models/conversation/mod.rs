//! Conversations of a user with models.

mod filing;
mod for_jobs;
mod purging;
mod title;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, QueryOrder, QuerySelect, Value, entity::prelude::*,
    sea_query::Order,
};

pub use self::{
    filing::{announce, leave_project},
    for_jobs::{find_for_any_user, hold_for_any_user, language_for_any_user, project_for_any_user},
    purging::{delete_next_of_user, purge, purge_again, purge_messages, withdraw_events},
    title::set_title_by_model,
};
use crate::{
    database::{Error, Refusal, Result, Tx},
    events::{self, ConversationSummary, DeletedConversation, Event},
    ids::{ConversationId, MessageId, ProjectId, UserId},
};

/// By what lists are ordered: when something was last said, or when it was begun.
const ACTIVITY: &str = "coalesce(last_message_at, created_at)";

/// A row of `conversations`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "conversations")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ConversationId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it is filed.
    pub project_id: Option<ProjectId>,
    /// For people; none until somebody or something names it.
    pub title: Option<String>,
    /// What the model is told first.
    pub system_prompt: Option<String>,
    /// The model that answers, unless a message asks for another one.
    pub model: Option<String>,
    /// Languages that it is held in, by the names of [`crate::language::Language`] (`eng`, `eng+hin`).
    pub language: Option<String>,
    /// For people; each once, in alphabetical order.
    pub tags: Vec<String>,
    /// When it was pinned.
    pub pinned_at: Option<DateTime<Utc>>,
    /// When it was archived: then it is only read.
    pub archived_at: Option<DateTime<Utc>>,
    /// End of the branch that is shown.
    pub current_message_id: Option<MessageId>,
    /// The newest message.
    pub last_message_id: Option<MessageId>,
    /// When it was written.
    pub last_message_at: Option<DateTime<Utc>>,
    /// Messages of all branches.
    pub message_count: i64,
    /// Tokens of all branches.
    pub token_count: i64,
    /// When it was deleted; a job removes what is left.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Grows with every change, also with every message.
    pub version: i32,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Most tokens of what goes along with a question; none for what the model or the deployment says.
    pub context_max_tokens: Option<i32>,
    /// Most messages that go along; none for what the deployment says.
    pub context_max_messages: Option<i32>,
    /// Whether its user has named it, or taken its name away: then no model names it.
    pub title_by_user: bool,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a user sets of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it is filed; the caller has checked that it is the user's.
    pub project: Option<ProjectId>,
    /// For people.
    pub title: Option<String>,
    /// What the model is told first.
    pub system_prompt: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
    /// Languages that it is held in.
    pub language: Option<String>,
    /// For people; each once, in alphabetical order.
    pub tags: Vec<String>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Whether it is archived.
    pub archived: bool,
    /// End of the branch that is shown; the caller has checked that it is a message of the conversation.
    pub current_message: Option<MessageId>,
    /// Most tokens of what goes along with a question.
    pub context_max_tokens: Option<u32>,
    /// Most messages that go along, the question included.
    pub context_max_messages: Option<u32>,
}

/// Which conversations are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those of a project.
    pub project: Option<ProjectId>,
    /// Only archived ones, or only others.
    pub archived: Option<bool>,
    /// Only pinned ones, or only others.
    pub pinned: Option<bool>,
    /// Only those with a tag.
    pub tag: Option<String>,
}

/// Begins a conversation.
///
/// # Errors
/// As the database fails.
pub async fn create(
    tx: &mut Tx,
    user: UserId,
    settings: Settings,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = ActiveModel {
        id: Set(ConversationId::new()),
        user_id: Set(user),
        project_id: Set(settings.project),
        title_by_user: Set(settings.title.is_some()),
        title: Set(settings.title),
        system_prompt: Set(settings.system_prompt),
        model: Set(settings.model),
        language: Set(settings.language),
        tags: Set(settings.tags),
        pinned_at: Set(settings.pinned.then_some(now)),
        archived_at: Set(settings.archived.then_some(now)),
        current_message_id: Set(None),
        last_message_id: Set(None),
        last_message_at: Set(None),
        message_count: Set(0),
        token_count: Set(0),
        deleted_at: Set(None),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
        context_max_tokens: Set(stored(settings.context_max_tokens)),
        context_max_messages: Set(stored(settings.context_max_messages)),
    };
    let row = row.insert(tx.orm()).await?;
    let event = Event::ConversationCreated(ConversationSummary::from(&row));
    events::emit(tx, user, &event, now).await?;
    Ok(row)
}

/// A number as it is stored.
fn stored(number: Option<u32>) -> Option<i32> {
    number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))
}

fn of_user(user: UserId) -> Select<Entity> {
    Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::DeletedAt.is_null())
}

/// Gets a conversation of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: ConversationId) -> Result<Model> {
    of_user(user)
        .filter(Column::Id.eq(id))
        .one(db)
        .await?
        .ok_or(Error::NotFound("conversation"))
}

/// Gets a conversation of `user`, which nobody else changes until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted.
pub async fn get_for_update(tx: &mut Tx, user: UserId, id: ConversationId) -> Result<Model> {
    of_user(user)
        .filter(Column::Id.eq(id))
        .lock_exclusive()
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("conversation"))
}

/// Checks that files may be sent to a conversation of `user`, and keeps it from being deleted until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted; [`Refusal::ConversationArchived`].
pub async fn hold(tx: &mut Tx, user: UserId, id: ConversationId) -> Result<()> {
    let archived: Option<Option<DateTime<Utc>>> = of_user(user)
        .select_only()
        .column(Column::ArchivedAt)
        .filter(Column::Id.eq(id))
        .lock_shared()
        .into_tuple()
        .one(tx.orm())
        .await?;
    match archived {
        None => Err(Error::NotFound("conversation")),
        Some(Some(_)) => Err(Refusal::ConversationArchived.into()),
        Some(None) => Ok(()),
    }
}

/// Gets a conversation of `user`, and keeps it from being deleted until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted.
pub async fn get_and_hold(tx: &mut Tx, user: UserId, id: ConversationId) -> Result<Model> {
    of_user(user)
        .filter(Column::Id.eq(id))
        .lock_shared()
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("conversation"))
}

/// Lists conversations of `user`, the ones with the latest message first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    filter: &Filter,
    before: Option<(DateTime<Utc>, ConversationId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = of_user(user);
    if let Some(project) = filter.project {
        query = query.filter(Column::ProjectId.eq(project));
    }
    query = match filter.archived {
        Some(true) => query.filter(Column::ArchivedAt.is_not_null()),
        Some(false) => query.filter(Column::ArchivedAt.is_null()),
        None => query,
    };
    query = match filter.pinned {
        Some(true) => query.filter(Column::PinnedAt.is_not_null()),
        Some(false) => query.filter(Column::PinnedAt.is_null()),
        None => query,
    };
    if let Some(tag) = &filter.tag {
        query = query.filter(Expr::cust_with_values("$1 = ANY(tags)", [tag.clone()]));
    }
    if let Some((at, id)) = before {
        query = query.filter(Expr::cust_with_values(
            format!("({ACTIVITY}, id) < ($1, $2)"),
            [at.into(), Value::from(id)],
        ));
    }
    Ok(query
        .order_by(Expr::cust(ACTIVITY), Order::Desc)
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(db)
        .await?)
}

impl Model {
    /// By what lists are ordered.
    pub fn active_at(&self) -> DateTime<Utc> {
        self.last_message_at.unwrap_or(self.created_at)
    }

    /// What its user has set.
    pub fn settings(&self) -> Settings {
        Settings {
            project: self.project_id,
            title: self.title.clone(),
            system_prompt: self.system_prompt.clone(),
            model: self.model.clone(),
            language: self.language.clone(),
            tags: self.tags.clone(),
            pinned: self.pinned_at.is_some(),
            archived: self.archived_at.is_some(),
            current_message: self.current_message_id,
            context_max_tokens: self.context_max_tokens.map(i32::unsigned_abs),
            context_max_messages: self.context_max_messages.map(i32::unsigned_abs),
        }
    }

    /// Changes what the user sets. Where nothing differs, nothing happens.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change(self, tx: &mut Tx, settings: Settings, now: DateTime<Utc>) -> Result<Self> {
        if settings == self.settings() {
            return Ok(self);
        }
        let user = self.user_id;
        let newly_archived = settings.archived && self.archived_at.is_none();
        let since =
            |wanted: bool, before: Option<DateTime<Utc>>| wanted.then(|| before.unwrap_or(now));
        let pinned_at = since(settings.pinned, self.pinned_at);
        let archived_at = since(settings.archived, self.archived_at);
        let version = self.version + 1;
        let title_by_user = self.title_by_user || settings.title != self.title;
        let mut row: ActiveModel = self.into();
        row.project_id = Set(settings.project);
        row.title = Set(settings.title);
        row.title_by_user = Set(title_by_user);
        row.system_prompt = Set(settings.system_prompt);
        row.model = Set(settings.model);
        row.language = Set(settings.language);
        row.tags = Set(settings.tags);
        row.pinned_at = Set(pinned_at);
        row.archived_at = Set(archived_at);
        row.current_message_id = Set(settings.current_message);
        row.context_max_tokens = Set(stored(settings.context_max_tokens));
        row.context_max_messages = Set(stored(settings.context_max_messages));
        row.version = Set(version);
        row.updated_at = Set(now);
        let row = row.update(tx.orm()).await?;
        tx.invalidate(tx.keys().context(row.id));
        let summary = ConversationSummary::from(&row);
        let event = if newly_archived {
            Event::ConversationArchived(summary)
        } else {
            Event::ConversationUpdated(summary)
        };
        events::emit(tx, user, &event, now).await?;
        Ok(row)
    }

    /// Deletes it: nobody sees it any more, its events tell ids only, and a job removes it with everything under it.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn delete(self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        let (id, user) = (self.id, self.user_id);
        let event = Event::ConversationDeleted(DeletedConversation {
            conversation_id: id,
            project_id: self.project_id,
        });
        let mut row: ActiveModel = self.into();
        row.deleted_at = Set(Some(now));
        row.update(tx.orm()).await?;
        tx.invalidate(tx.keys().context(id));
        purging::begin(tx, user, id).await?;
        events::emit(tx, user, &event, now).await
    }
}
