//! What was said in a conversation up to a message, in short. A summary is of the way from the beginning to its anchor, so
//! each branch has its own, and those that share the way share it.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, IntoActiveModel as _, Statement, entity::prelude::*,
    sea_query::OnConflict,
};

use super::context_stamp;
use crate::{
    database::{Result, Tx},
    ids::{ConversationId, MessageId},
};

/// A row of `summaries`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "summaries")]
pub struct Model {
    /// Where it was said.
    #[sea_orm(primary_key, auto_increment = false)]
    pub conversation_id: ConversationId,
    /// The newest message that it tells of.
    #[sea_orm(primary_key, auto_increment = false)]
    pub anchor_id: MessageId,
    /// What was said.
    pub text: String,
    /// Tokens of it as it is sent, with its frame and 4 for the message.
    pub token_count: i32,
    /// Messages that it tells of.
    pub message_count: i64,
    /// The model that made it.
    pub model: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Finds the summary that ends with a message; whose conversation it is was checked before.
///
/// # Errors
/// As the database fails.
pub async fn find(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    anchor: MessageId,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        .filter(Column::AnchorId.eq(anchor))
        .one(db)
        .await?)
}

/// Keeps a summary, unless there is one with the same anchor.
///
/// # Errors
/// As the database fails.
pub async fn keep(tx: &mut Tx, row: Model) -> Result<()> {
    let conversation = row.conversation_id;
    let is_there = OnConflict::columns([Column::ConversationId, Column::AnchorId])
        .do_nothing()
        .to_owned();
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(is_there)
        .exec_without_returning(tx.orm())
        .await?;
    context_stamp::touch(tx, conversation).await
}

/// Removes the summaries that tell of a message, as it is not what it was any more: those that end with it or with a message
/// below it. Where it is deleted, a trigger does so.
///
/// # Errors
/// As the database fails.
pub(super) async fn forget(
    tx: &mut Tx,
    conversation: ConversationId,
    message: MessageId,
) -> Result<()> {
    const SQL: &str = "SELECT forget_summaries($1, $2)";
    let values = [conversation.into(), message.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    tx.invalidate(tx.keys().context(conversation));
    Ok(())
}
