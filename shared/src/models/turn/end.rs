//! Ending turns.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use chrono::{DateTime, Utc};
use sea_orm::ActiveEnum as _;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::json;
use crate::{
    database::{Connection, Result},
    events,
    ids::{ConversationId, MessageId},
    models::{
        event,
        message::{self, Content, Ended, Rating},
        usage,
    },
    queue::{self, Wanted},
};

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
    /// Jobs that are asked for when it has ended.
    pub jobs: Vec<Wanted>,
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
    /// That it has ended.
    told: event::New,
}

#[derive(Serialize)]
struct Entry<'a> {
    generation: Uuid,
    #[serde(flatten)]
    row: &'a usage::Model,
}

#[derive(Serialize)]
struct Asked<'a> {
    generation: Uuid,
    #[serde(flatten)]
    job: &'a Wanted,
}

/// What others may have changed of an answer meanwhile.
#[derive(FromRow)]
struct Changed {
    generation: Uuid,
    version: i32,
    rating: Option<String>,
    rating_reason: Option<String>,
    deleted_at: Option<DateTime<Utc>>,
}

/// Of each turn in this order, like whoever ends one by itself: the generation, its conversation, its message. Nothing is
/// waited for.
const SQL: &str = "
        WITH ended AS (
            SELECT e.* FROM json_to_recordset($1::json) AS e(
                generation uuid, message uuid, content jsonb, size_bytes int, token_count int, counted int, status text,
                finish_reason text, error jsonb, figures jsonb, provider text, at timestamptz, told jsonb)
        ), held AS MATERIALIZED (
            SELECT e.*, g.conversation_id AS conversation, g.user_id AS \"user\"
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
            RETURNING h.generation, h.conversation, h.token_count - h.counted AS more, h.at, h.told, h.\"user\",
                      m.version, m.rating, m.rating_reason, m.deleted_at
        ), recorded AS (
            INSERT INTO events (id, user_id, kind, subject, data, created_at)
            SELECT (told ->> 'id')::uuid, \"user\", told ->> 'kind', told ->> 'subject', told -> 'data', at
              FROM said
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
        )";
/// What is told in the end.
const TOLD: &str = " SELECT generation, version, rating, rating_reason, deleted_at FROM said";

static ENDING: LazyLock<String> = LazyLock::new(|| format!("{SQL}{TOLD}"));

/// The same, and jobs that follow.
static ENDING_WITH_JOBS: LazyLock<String> = LazyLock::new(|| {
    let condition = ", said s WHERE s.generation = j.generation";
    let insertion = queue::insertion("$3", "generation uuid,", condition);
    format!("{SQL}, asked AS ({insertion}){TOLD}")
});

/// Ends turns, each in a conversation of its own, and writes what they cost into the ledger. None for those that must be
/// ended by themselves, or have ended.
///
/// # Errors
/// As the database fails; then none was ended.
pub async fn end(db: &mut Connection, turns: &[EndedTurn]) -> Result<Vec<Option<message::Model>>> {
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
    let jobs: Vec<Asked<'_>> = turns.iter().flat_map(EndedTurn::asked).collect();
    let (endings_json, ledger) = (json(endings.iter().flatten()), json(ledger));
    let changed: Vec<Changed> = if jobs.is_empty() {
        let ending = sqlx::query_as(AssertSqlSafe(ENDING.as_str()));
        ending.bind(endings_json).bind(ledger).fetch_all(db).await?
    } else {
        // Few turns ask for any.
        let ending = sqlx::query_as(AssertSqlSafe(ENDING_WITH_JOBS.as_str()));
        let ending = ending.bind(endings_json).bind(ledger);
        ending.bind(json(jobs.into_iter())).fetch_all(db).await?
    };
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
    fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        self.jobs.iter().map(|job| Asked {
            generation: self.generation,
            job,
        })
    }

    fn ending(&self) -> Ending<'_> {
        let ended = &self.ended;
        let content = Content::of_text(ended.text.clone());
        let told = events::prepare(&message::told_of(&self.row(content.clone())), self.at);
        Ending {
            generation: self.generation,
            message: self.answer.id,
            size_bytes: content.size_bytes(),
            content,
            told,
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

    /// The answer as it ended, but for what others may have changed.
    fn row(&self, content: Content) -> message::Model {
        let ended = self.ended.clone();
        let before = self.answer.clone();
        message::Model {
            size_bytes: i32::try_from(content.size_bytes()).unwrap_or(i32::MAX),
            content,
            token_count: i32::try_from(ended.token_count).unwrap_or(i32::MAX),
            status: ended.status,
            finish_reason: ended.finish_reason,
            error: ended.error,
            figures: ended.figures.or(before.figures),
            provider: ended.provider.or(before.provider),
            ..self.answer.clone()
        }
    }

    /// The row, as it was written.
    fn written(&self, ending: Ending<'_>, changed: Changed) -> message::Model {
        message::Model {
            version: changed.version,
            // Another value than these the table refuses.
            rating: changed
                .rating
                .and_then(|rating| Rating::try_from_value(&rating).ok()),
            rating_reason: changed.rating_reason,
            deleted_at: changed.deleted_at,
            ..self.row(ending.content)
        }
    }
}
