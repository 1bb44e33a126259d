//! Turns of many users, written together: one statement begins any number of them, and one ends them.
//!
//! Its events are written too, but nobody is told of them. So a turn that needs more than that is left out, and nothing of it
//! is written: where an endpoint may want its events, a limit of usage may have to be told of, or somebody else holds its
//! conversation. It is then written by itself, as [`super::message::begin_answer`] and [`super::message::end_answer`] do it.

mod begin;
mod end;

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;

pub use self::{
    begin::{Begun, NewConversation, NewTurn, begin},
    end::{EndedTurn, end},
};
use crate::{
    database::{Connection, Result},
    ids::MessageId,
};

/// Most bytes of a text that is written with others: indexing a long one takes time, for which they would wait.
pub const MOST_BYTES: usize = 16 * 1024;

/// Waits until everything that was committed so far would survive the end of the database's server, and tells which of
/// these messages are there then.
///
/// # Errors
/// As the database fails.
pub async fn flush(db: &mut Connection, messages: &[MessageId]) -> Result<Vec<bool>> {
    // The least that is written to the log, so that the commit waits for it and for all before it. The server may have ended
    // meanwhile, and have forgotten them.
    const SQL: &str = "
        SELECT id FROM messages
         WHERE id = ANY($1) AND (SELECT pg_logical_emit_message(true, 'baatcheet', '') IS NOT NULL)";
    let ids: Vec<Uuid> = messages.iter().map(|id| id.0).collect();
    let kept: Vec<Uuid> = sqlx::query_scalar(SQL).bind(ids).fetch_all(db).await?;
    let kept: HashSet<Uuid> = kept.into_iter().collect();
    Ok(messages.iter().map(|id| kept.contains(&id.0)).collect())
}

fn json<T: Serialize>(rows: impl Iterator<Item = T>) -> String {
    let rows: Vec<T> = rows.collect();
    serde_json::to_string(&rows).expect("rows are plain data")
}
