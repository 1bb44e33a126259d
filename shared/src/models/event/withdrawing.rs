//! Taking out of events what their user has deleted since: their ids stay, and that is what later tries of deliveries send.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};
use uuid::Uuid;

use crate::{
    database::{Result, Tx},
    ids::UserId,
};

/// Takes out of up to `limit` events of `user` what was said of a conversation and of all that belongs to it. Tells out of how
/// many; zero when there are no more.
///
/// # Errors
/// As the database fails.
pub async fn withdraw_all(tx: &mut Tx, user: UserId, subject: Uuid, limit: u64) -> Result<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = vec![user.into(), vec![subject.to_string()].into(), limit.into()];
    run(tx, "", "LIMIT $3", values).await
}

/// Takes out of events of `user` what was said of an attachment or a message. They are about one of `subjects`, and few.
///
/// # Errors
/// As the database fails.
pub async fn withdraw(tx: &mut Tx, user: UserId, subjects: &[Uuid], of: Uuid) -> Result<()> {
    let subjects: Vec<String> = subjects.iter().map(Uuid::to_string).collect();
    let condition = "AND coalesce(e.data ->> 'attachmentId', e.data ->> 'messageId') = $3";
    let values = vec![user.into(), subjects.into(), of.to_string().into()];
    run(tx, condition, "", values).await?;
    Ok(())
}

/// Rows are locked in the order of their index, so that two that do so hardly wait for each other. They still may, where one
/// transaction does so several times: then Postgres ends one of them, which is made again. What tells that something was deleted
/// says nothing else.
async fn run(tx: &mut Tx, condition: &str, limit: &str, values: Vec<Value>) -> Result<u64> {
    let sql = format!(
        "WITH said AS (
            SELECT e.id FROM events e
             WHERE e.user_id = $1 AND e.subject = ANY($2) AND (e.data -> 'withdrawn') IS NULL
               AND e.kind NOT IN ('conversation.deleted', 'attachment.deleted') {condition}
             ORDER BY e.subject, coalesce(e.data ->> 'attachmentId', e.data ->> 'messageId') {limit}
               FOR NO KEY UPDATE)
         UPDATE events e
            SET data = (SELECT coalesce(jsonb_object_agg(f.key, f.value), '{{}}'::jsonb) || '{{\"withdrawn\": true}}'::jsonb
                          FROM jsonb_each(e.data) f
                         WHERE f.key LIKE '%Id' AND jsonb_typeof(f.value) IN ('string', 'null'))
           FROM said s WHERE e.id = s.id"
    );
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(tx.orm().execute_raw(statement).await?.rows_affected())
}
