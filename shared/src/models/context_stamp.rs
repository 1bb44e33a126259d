//! How often what goes along with a conversation's questions was changed, otherwise than by what is said next.
//!
//! A branch is told by its last message: whatever is said beside it or after it changes nothing of it. Everything else that
//! changes what a model is shown of it makes its conversation's stamp another one, in the same transaction: a message that is
//! deleted (by a trigger, whoever deletes it) or gone on with, an attachment that is read again or deleted, a summary. So a
//! cached context that has the stamp of now is true, also where Redis was not told of a change. A stamp is any number, which
//! the table makes: a database that lost its last changes does not come to the same one again by others.

use sea_orm::{ConnectionTrait, DbBackend, QuerySelect as _, Statement, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    ids::{AttachmentId, ConversationId},
};

/// A row of `context_stamps`; conversations without one have 0.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "context_stamps")]
pub struct Model {
    /// Of which conversation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub conversation_id: ConversationId,
    /// Another one after each change.
    pub stamp: i64,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The stamp of a conversation; whose it is was checked before.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, conversation: ConversationId) -> Result<i64> {
    let found: Option<i64> = Entity::find_by_id(conversation)
        .select_only()
        .column(Column::Stamp)
        .into_tuple()
        .one(db)
        .await?;
    Ok(found.unwrap_or_default())
}

/// Makes what is cached of a conversation's context out of date. It belongs to the end of a transaction: others that do the
/// same wait for it.
///
/// # Errors
/// As the database fails.
pub async fn touch(tx: &mut Tx, conversation: ConversationId) -> Result<()> {
    const SQL: &str = "
        INSERT INTO context_stamps (conversation_id) VALUES ($1)
        ON CONFLICT (conversation_id) DO UPDATE SET stamp = excluded.stamp";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [conversation.into()]);
    tx.orm().execute_raw(statement).await?;
    tx.invalidate(tx.keys().context(conversation));
    Ok(())
}

/// The same for the conversation in which an attachment is shown, if a message shows it.
///
/// # Errors
/// As the database fails.
pub async fn touch_of_attachment(tx: &mut Tx, attachment: AttachmentId) -> Result<()> {
    const SQL: &str = "
        INSERT INTO context_stamps (conversation_id)
        SELECT conversation_id FROM attachments
         WHERE id = $1 AND conversation_id IS NOT NULL AND message_id IS NOT NULL
        ON CONFLICT (conversation_id) DO UPDATE SET stamp = excluded.stamp
        RETURNING conversation_id";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [attachment.into()]);
    if let Some(row) = tx.orm().query_one_raw(statement).await? {
        let conversation: ConversationId = row.try_get("", "conversation_id")?;
        tx.invalidate(tx.keys().context(conversation));
    }
    Ok(())
}

/// Forgets the stamp of a conversation that is removed.
///
/// # Errors
/// As the database fails.
pub(super) async fn remove(tx: &mut Tx, conversation: ConversationId) -> Result<()> {
    Entity::delete_many()
        .filter(Column::ConversationId.eq(conversation))
        .exec(tx.orm())
        .await?;
    tx.invalidate(tx.keys().context(conversation));
    Ok(())
}
