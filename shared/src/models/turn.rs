//! Turns of many users, written together: one statement begins any number of them, and one ends them.
//!
//! A turn that needs more than that is left out, and nothing of it is written: where an endpoint may want its events, or
//! somebody else holds its conversation. It is then written by itself, as [`message::begin_answer`] and
//! [`message::end_answer`] do it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};
use serde::Serialize;
use uuid::Uuid;

use super::{
    generation::{self, Attempts},
    message::{self, Content, Ended, Rating, Role},
    usage,
};
use crate::{
    database::Result,
    ids::{ConversationId, MessageId, ProjectId, UserId},
};

/// Most bytes of a text that is written with others: indexing a long one takes time, for which they would wait.
pub const MOST_BYTES: usize = 16 * 1024;

/// A turn to begin: a question in words, and the answer to it.
#[derive(Debug, Clone, Serialize)]
pub struct NewTurn {
    /// Where it is said.
    pub conversation: ConversationId,
    /// The conversation, if it is begun with it.
    pub begun: Option<NewConversation>,
    /// Whose conversation it is.
    pub user: UserId,
    /// What is asked.
    pub content: Content,
    /// Tokens of role and content of the question, and 4 for the message.
    pub token_count: u32,
    /// The model that answers.
    pub model: String,
    /// Who has the model.
    pub provider: String,
    /// Who makes the answer.
    pub instance: Uuid,
    /// What is asked for it first.
    pub attempts: Attempts,
    /// When it is asked.
    pub at: DateTime<Utc>,
}

/// A conversation that is begun with a turn, in no project.
#[derive(Debug, Clone, Serialize)]
pub struct NewConversation {
    /// What the model is told first.
    pub system_prompt: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
}

/// A turn that was begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The question.
    pub question: message::Model,
    /// The answer.
    pub answer: message::Model,
    /// The making of the answer.
    pub generation: Uuid,
    /// Where the conversation is filed.
    pub project: Option<ProjectId>,
}

#[derive(Serialize)]
struct Beginning<'a> {
    #[serde(flatten)]
    turn: &'a NewTurn,
    is_new: bool,
    size_bytes: usize,
    question: MessageId,
    answer: MessageId,
    generation: Uuid,
}

#[derive(Clone, Copy, FromQueryResult)]
struct Placed {
    generation: Uuid,
    parent: Option<MessageId>,
    project: Option<ProjectId>,
    asked_at: DateTime<Utc>,
}

/// Begins turns, each in a conversation of its own. None for those that must be begun by themselves.
///
/// What is written survives the end of this program, and that of the database's server only once something that is
/// written later does: nobody may be told before that. See [`flush`].
///
/// # Errors
/// As the database fails; then none was begun.
pub async fn begin(db: &impl ConnectionTrait, turns: &[NewTurn]) -> Result<Vec<Option<Begun>>> {
    let sql = format!(
        "WITH turn AS (
            SELECT t.* FROM json_to_recordset($1::json) AS t(
                       conversation uuid, is_new boolean, begun json, \"user\" uuid, content jsonb, token_count int,
                       model text, provider text, instance uuid, attempts jsonb, at timestamptz, size_bytes int,
                       question uuid, answer uuid, generation uuid)
             WHERE set_config('synchronous_commit', 'off', true) = 'off'
               AND NOT EXISTS (SELECT FROM webhooks w WHERE w.user_id = t.\"user\" AND w.is_active)
        ), held AS (
            SELECT c.id, c.project_id, c.current_message_id, c.last_message_at
              FROM turn t JOIN conversations c ON c.id = t.conversation AND c.user_id = t.\"user\"
             WHERE c.deleted_at IS NULL AND c.archived_at IS NULL
               FOR NO KEY UPDATE OF c SKIP LOCKED
        ), placed AS MATERIALIZED (
            SELECT t.*, h.current_message_id AS parent, h.project_id AS project,
                   greatest(t.at, h.last_message_at + interval '1 microsecond') AS asked_at
              FROM turn t LEFT JOIN held h ON h.id = t.conversation
             WHERE t.is_new OR h.id IS NOT NULL
        ), begun AS (
            INSERT INTO conversations
                   (id, user_id, system_prompt, model, tags, current_message_id, last_message_id, last_message_at,
                    message_count, token_count, version, created_at, updated_at)
            SELECT conversation, \"user\", begun ->> 'system_prompt', begun ->> 'model', '{{}}', answer, answer,
                   asked_at + interval '1 microsecond', 2, token_count, 2, at, at
              FROM placed WHERE is_new
        ), known AS (
            UPDATE conversations c
               SET current_message_id = p.answer, last_message_id = p.answer,
                   last_message_at = p.asked_at + interval '1 microsecond', message_count = c.message_count + 2,
                   token_count = c.token_count + p.token_count, version = c.version + 1, updated_at = p.at
              FROM placed p WHERE c.id = p.conversation AND NOT p.is_new
        ), said AS (
            INSERT INTO messages
                   (id, conversation_id, user_id, parent_id, role, content, size_bytes, token_count, is_gone, version,
                    created_at, status, model, provider)
            SELECT question, conversation, \"user\", parent, 'user', content, size_bytes, token_count, false, 1,
                   asked_at, 'completed', NULL, NULL
              FROM placed
             UNION ALL
            SELECT answer, conversation, \"user\", question, 'assistant', '[]', 0, 0, false, 1,
                   asked_at + interval '1 microsecond', 'streaming', model, provider
              FROM placed
            RETURNING 1
        ), making AS (
            INSERT INTO generations
                   (message_id, id, conversation_id, user_id, instance, lease_until, text, begun_bytes, attempts,
                    started_at)
            SELECT answer, generation, conversation, \"user\", instance, {lease}, '', 0, attempts, at
              -- The lease begins when the messages are there, which may take a while.
              FROM placed, (SELECT count(*) FROM said) AS said
        )
        SELECT generation, parent, project, asked_at FROM placed",
        lease = generation::LEASE_UNTIL,
    );
    let mut seen: HashSet<ConversationId> = HashSet::new();
    let beginnings: Vec<Option<Beginning<'_>>> = turns
        .iter()
        .map(|turn| {
            let is_first = seen.insert(turn.conversation);
            is_first.then(|| turn.beginning())
        })
        .collect();
    let values = [json(beginnings.iter().flatten()).into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let placed = Placed::find_by_statement(statement).all(db).await?;
    let mut placed: HashMap<Uuid, Placed> = placed
        .into_iter()
        .map(|placed| (placed.generation, placed))
        .collect();
    Ok(beginnings
        .iter()
        .map(|beginning| {
            let beginning = beginning.as_ref()?;
            let placed = placed.remove(&beginning.generation)?;
            Some(beginning.written(placed))
        })
        .collect())
}

impl NewTurn {
    fn beginning(&self) -> Beginning<'_> {
        Beginning {
            turn: self,
            is_new: self.begun.is_some(),
            size_bytes: self.content.size_bytes(),
            question: MessageId::new(),
            answer: MessageId::new(),
            generation: Uuid::new_v4(),
        }
    }
}

impl Beginning<'_> {
    /// The rows, as they were written.
    fn written(&self, placed: Placed) -> Begun {
        let turn = self.turn;
        let new = message::New {
            parent: placed.parent,
            role: Role::User,
            content: turn.content.clone(),
            token_count: turn.token_count,
            client_id: None,
        };
        let place = (turn.conversation, turn.user);
        let question = message::written(place, self.question, new, placed.asked_at);
        let at = placed.asked_at + TimeDelta::microseconds(1);
        let mut answer =
            message::written(place, self.answer, message::New::answer(self.question), at);
        answer.status = message::Status::Streaming;
        answer.model = Some(turn.model.clone());
        answer.provider = Some(turn.provider.clone());
        Begun {
            question,
            answer,
            generation: self.generation,
            project: placed.project,
        }
    }
}

#[derive(FromQueryResult)]
struct Kept {
    id: MessageId,
}

/// Waits until everything that was committed so far would survive the end of the database's server, and tells which of
/// these messages are there then.
///
/// # Errors
/// As the database fails.
pub async fn flush(db: &impl ConnectionTrait, messages: &[MessageId]) -> Result<Vec<bool>> {
    // The least that is written to the log, so that the commit waits for it and for all before it. The server may have ended
    // meanwhile, and have forgotten them.
    const SQL: &str = "
        SELECT id FROM messages
         WHERE id = ANY($1) AND (SELECT pg_logical_emit_message(true, 'baatcheet', '') IS NOT NULL)";
    let ids: Vec<Uuid> = messages.iter().map(|id| id.0).collect();
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [ids.into()]);
    let kept = Kept::find_by_statement(statement).all(db).await?;
    let kept: HashSet<MessageId> = kept.into_iter().map(|kept| kept.id).collect();
    Ok(messages.iter().map(|id| kept.contains(id)).collect())
}

/// A turn to end.
#[derive(Debug, Clone)]
pub struct EndedTurn {
    /// The making of the answer.
    pub generation: Uuid,
    /// The answer, as it was when it was begun.
    pub answer: message::Model,
    /// How it ended.
    pub ended: Ended,
    /// What it cost.
    pub ledger: Vec<usage::Model>,
    /// When it ended.
    pub at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Ending<'a> {
    generation: Uuid,
    message: MessageId,
    content: Content,
    size_bytes: usize,
    token_count: u32,
    /// What of it the conversation has counted.
    counted: i32,
    status: message::Status,
    finish_reason: Option<&'a str>,
    error: Option<&'a message::Failure>,
    figures: Option<&'a message::Figures>,
    provider: Option<&'a str>,
    at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Entry<'a> {
    generation: Uuid,
    #[serde(flatten)]
    row: &'a usage::Model,
}

/// What others may have changed of an answer meanwhile.
#[derive(FromQueryResult)]
struct Changed {
    generation: Uuid,
    version: i32,
    rating: Option<Rating>,
    rating_reason: Option<String>,
    deleted_at: Option<DateTime<Utc>>,
}

/// Ends turns, each in a conversation of its own, and writes what they cost into the ledger. None for those that must be
/// ended by themselves, or have ended.
///
/// # Errors
/// As the database fails; then none was ended.
pub async fn end(
    db: &impl ConnectionTrait,
    turns: &[EndedTurn],
) -> Result<Vec<Option<message::Model>>> {
    // Of each turn in this order, like whoever ends one by itself: the generation, its conversation, its message. Nothing is
    // waited for.
    const SQL: &str = "
        WITH ended AS (
            SELECT e.* FROM json_to_recordset($1::json) AS e(
                generation uuid, message uuid, content jsonb, size_bytes int, token_count int, counted int, status text,
                finish_reason text, error jsonb, figures jsonb, provider text, at timestamptz)
        ), held AS MATERIALIZED (
            SELECT e.*, g.conversation_id AS conversation
              FROM ended e
              JOIN generations g ON g.id = e.generation
              JOIN conversations c ON c.id = g.conversation_id
              JOIN messages m ON m.id = g.message_id
             WHERE c.deleted_at IS NULL
               AND NOT EXISTS (SELECT FROM webhooks w WHERE w.user_id = g.user_id AND w.is_active)
               FOR UPDATE OF g, c, m SKIP LOCKED
        ), taken AS (
            DELETE FROM generations g USING held h WHERE g.id = h.generation
        ), said AS (
            UPDATE messages m
               SET content = h.content, size_bytes = h.size_bytes, token_count = h.token_count, status = h.status,
                   finish_reason = h.finish_reason, error = h.error, figures = coalesce(h.figures, m.figures),
                   provider = coalesce(h.provider, m.provider), version = m.version + 1
              FROM held h WHERE m.id = h.message
            RETURNING h.generation, h.conversation, h.token_count - h.counted AS more, h.at,
                      m.version, m.rating, m.rating_reason, m.deleted_at
        ), counted AS (
            UPDATE conversations c
               SET token_count = c.token_count + s.more, version = c.version + 1, updated_at = s.at
              FROM said s WHERE c.id = s.conversation AND s.deleted_at IS NULL
        ), ledger AS (
            INSERT INTO usage
                   (id, user_id, project_id, conversation_id, message_id, attachment_id, kind, attempt, provider, model,
                    provider_model, key_group, outcome, error, input_tokens, cached_tokens, output_tokens,
                    reasoning_tokens, audio_ms, is_estimated, price_version, cost_microusd, latency_ms, first_token_ms,
                    created_at)
            SELECT u.id, u.user_id, u.project_id, u.conversation_id, u.message_id, u.attachment_id, u.kind, u.attempt,
                   u.provider, u.model, u.provider_model, u.key_group, u.outcome, u.error, u.input_tokens,
                   u.cached_tokens, u.output_tokens, u.reasoning_tokens, u.audio_ms, u.is_estimated, u.price_version,
                   u.cost_microusd, u.latency_ms, u.first_token_ms, u.created_at
              FROM json_to_recordset($2::json) AS u(
                       generation uuid, id uuid, user_id uuid, project_id uuid, conversation_id uuid, message_id uuid,
                       attachment_id uuid, kind text, attempt int, provider text, model text, provider_model text,
                       key_group text, outcome text, error text, input_tokens bigint, cached_tokens bigint,
                       output_tokens bigint, reasoning_tokens bigint, audio_ms bigint, is_estimated boolean,
                       price_version text, cost_microusd bigint, latency_ms int, first_token_ms int,
                       created_at timestamptz)
              JOIN held h ON h.generation = u.generation
        )
        SELECT generation, version, rating, rating_reason, deleted_at FROM said";
    let mut seen: HashSet<ConversationId> = HashSet::new();
    let endings: Vec<Option<Ending<'_>>> = turns
        .iter()
        .map(|turn| {
            let is_first = seen.insert(turn.answer.conversation_id);
            is_first.then(|| turn.ending())
        })
        .collect();
    let ledger = turns.iter().flat_map(|turn| {
        turn.ledger.iter().map(|row| Entry {
            generation: turn.generation,
            row,
        })
    });
    let values = [json(endings.iter().flatten()).into(), json(ledger).into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let changed = Changed::find_by_statement(statement).all(db).await?;
    let mut changed: HashMap<Uuid, Changed> = changed
        .into_iter()
        .map(|changed| (changed.generation, changed))
        .collect();
    Ok(turns
        .iter()
        .zip(endings)
        .map(|(turn, ending)| {
            let ending = ending?;
            let changed = changed.remove(&turn.generation)?;
            Some(turn.written(ending, changed))
        })
        .collect())
}

impl EndedTurn {
    fn ending(&self) -> Ending<'_> {
        let ended = &self.ended;
        let content = Content::of_text(ended.text.clone());
        Ending {
            generation: self.generation,
            message: self.answer.id,
            size_bytes: content.size_bytes(),
            content,
            token_count: ended.token_count,
            counted: self.answer.token_count,
            status: ended.status,
            finish_reason: ended.finish_reason.as_deref(),
            error: ended.error.as_ref(),
            figures: ended.figures.as_ref(),
            provider: ended.provider.as_deref(),
            at: self.at,
        }
    }

    /// The row, as it was written.
    fn written(&self, ending: Ending<'_>, changed: Changed) -> message::Model {
        let ended = self.ended.clone();
        let before = self.answer.clone();
        message::Model {
            size_bytes: i32::try_from(ending.size_bytes).unwrap_or(i32::MAX),
            content: ending.content,
            token_count: i32::try_from(ended.token_count).unwrap_or(i32::MAX),
            status: ended.status,
            finish_reason: ended.finish_reason,
            error: ended.error,
            figures: ended.figures.or(before.figures),
            provider: ended.provider.or(before.provider),
            version: changed.version,
            rating: changed.rating,
            rating_reason: changed.rating_reason,
            deleted_at: changed.deleted_at,
            ..self.answer.clone()
        }
    }
}

fn json<T: Serialize>(rows: impl Iterator<Item = T>) -> String {
    let rows: Vec<T> = rows.collect();
    serde_json::to_string(&rows).expect("rows are plain data")
}
