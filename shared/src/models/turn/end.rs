//! Ending turns.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::{ActiveEnum as _, Iterable as _};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::json;
use crate::{
    config::{TierLimits, UsageLimits},
    database::{Connection, Result},
    events,
    ids::{ConversationId, MessageId, UserId},
    models::{
        event,
        message::{self, Content, Ended, Rating},
        usage, usage_month,
        user::Tier,
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
    /// What users may use in a month; those of one process are alike.
    pub limits: UsageLimits,
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
    /// The month that it counts in, and what its user uses there with all turns that end at the same time.
    month: NaiveDate,
    spent_tokens: i64,
    spent_microusd: i64,
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

#[derive(Serialize)]
struct Limited {
    tier: Tier,
    #[serde(flatten)]
    limits: TierLimits,
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

/// Of each turn in this order, like whoever ends one by itself: the generation, its conversation, its message, and last what
/// its user uses in the month. Only that is waited for, and not for long, as all the others wait, too; then they are ended one by
/// one.
const ENDED: &str = "
        WITH ended AS (
            SELECT e.* FROM json_to_recordset($1::json) AS e(
                generation uuid, message uuid, content jsonb, size_bytes int, token_count int, counted int, status text,
                finish_reason text, error jsonb, figures jsonb, provider text, at timestamptz, told jsonb, month date,
                spent_tokens bigint, spent_microusd bigint)
             WHERE set_config('lock_timeout', '100ms', true) IS NOT NULL
        ), held AS MATERIALIZED (
            SELECT e.*, g.conversation_id AS conversation, g.user_id AS \"user\"
              FROM ended e
              JOIN generations g ON g.id = e.generation
              JOIN conversations c ON c.id = g.conversation_id
              JOIN messages m ON m.id = g.message_id";
const THERE: &str = "
             WHERE c.deleted_at IS NULL AND ";
const LOCKED: &str = "
               FOR UPDATE OF g, c, m SKIP LOCKED";

/// Where there are limits: what is used this month, which the database counts up in the same statement. As its row is held, a
/// limit that comes near or is reached is found by one who ends such a turn by itself, and tells of it. Rows are held in the
/// order in which they are counted up.
const MONTHS: &str = "
              JOIN users o ON o.id = g.user_id
              JOIN json_to_recordset($3::json) AS l(tier text, tokens bigint, cost_microusd bigint) ON l.tier = o.tier
              JOIN usage_months u ON u.user_id = g.user_id AND u.month = e.month";
/// The same rule as that of `usage_month::tell`.
const UNCROSSED: &str = "
               AND (u.tokens + e.spent_tokens
                    >= CASE WHEN u.reached_tokens_limit >= l.tokens THEN NULL
                            WHEN u.near_tokens_limit >= l.tokens THEN l.tokens
                            ELSE l.tokens - l.tokens / 5 END) IS NOT TRUE
               AND (u.cost_microusd + e.spent_microusd
                    >= CASE WHEN u.reached_cost_limit >= l.cost_microusd THEN NULL
                            WHEN u.near_cost_limit >= l.cost_microusd THEN l.cost_microusd
                            ELSE l.cost_microusd - l.cost_microusd / 5 END) IS NOT TRUE";
const LOCKED_WITH_MONTHS: &str = "
             ORDER BY g.user_id, e.month
               FOR UPDATE OF g, c, m SKIP LOCKED FOR UPDATE OF u";

const WRITTEN: &str = "
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
            SELECT (told ->> 'id')::uuid, \"user\", told ->> 'kind', told ->> 'subject',
                   CASE WHEN deleted_at IS NULL THEN told -> 'data'
                        -- As withdrawn: it was deleted while it was made.
                        ELSE jsonb_build_object('messageId', told #> '{data,messageId}',
                                                'conversationId', told #> '{data,conversationId}',
                                                'parentId', told #> '{data,parentId}', 'withdrawn', true) END, at
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

static ENDING: LazyLock<Endings> = LazyLock::new(|| Endings::of(false));
static LIMITED_ENDING: LazyLock<Endings> = LazyLock::new(|| Endings::of(true));

/// The statement that ends turns, and the same with jobs that follow.
struct Endings {
    alone: String,
    with_jobs: String,
}

impl Endings {
    fn of(is_limited: bool) -> Self {
        let untold = events::nobody_hears_of_turns("g.user_id");
        let (held, jobs) = if is_limited {
            let held = format!("{ENDED}{MONTHS}{THERE}{untold}{UNCROSSED}{LOCKED_WITH_MONTHS}");
            (held, "$4")
        } else {
            (format!("{ENDED}{THERE}{untold}{LOCKED}"), "$3")
        };
        let condition = ", said s WHERE s.generation = j.generation";
        let insertion = queue::insertion(jobs, "generation uuid,", condition);
        Self {
            alone: format!("{held}{WRITTEN}{TOLD}"),
            with_jobs: format!("{held}{WRITTEN}, asked AS ({insertion}){TOLD}"),
        }
    }
}

/// Ends turns, each in a conversation of its own, and writes what they cost into the ledger. None for those that must be
/// ended by themselves, or have ended.
///
/// # Errors
/// As the database fails; then none was ended.
pub async fn end(db: &mut Connection, turns: &[EndedTurn]) -> Result<Vec<Option<message::Model>>> {
    let limits = turns.first().map(|turn| turn.limits).unwrap_or_default();
    let mut seen: HashSet<ConversationId> = HashSet::new();
    let spent = spent(turns);
    let endings: Vec<Option<Ending<'_>>> = turns
        .iter()
        .map(|turn| {
            let month = turn.month()?;
            let is_first = seen.insert(turn.answer.conversation_id);
            let spent = spent.get(&turn.answer.user_id).copied();
            is_first.then(|| turn.ending(month, spent.unwrap_or_default()))
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
    let sql = if limits.is_none() {
        &*ENDING
    } else {
        &*LIMITED_ENDING
    };
    // Few turns ask for any.
    let sql = if jobs.is_empty() {
        &sql.alone
    } else {
        &sql.with_jobs
    };
    let mut ending = sqlx::query_as(AssertSqlSafe(sql.as_str()));
    ending = ending.bind(endings_json).bind(ledger);
    if !limits.is_none() {
        let tiers = Tier::iter().map(|tier| Limited {
            tier,
            limits: limits.of(tier),
        });
        ending = ending.bind(json(tiers));
    }
    if !jobs.is_empty() {
        ending = ending.bind(json(jobs.into_iter()));
    }
    let changed: Vec<Changed> = ending.fetch_all(db).await?;
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

/// Tokens and millionths of a US dollar that each user uses by these turns.
fn spent(turns: &[EndedTurn]) -> HashMap<UserId, (i64, i64)> {
    let mut spent: HashMap<UserId, (i64, i64)> = HashMap::new();
    for turn in turns {
        let (tokens, cost) = spent.entry(turn.answer.user_id).or_default();
        for row in &turn.ledger {
            *tokens += row.input_tokens + row.output_tokens;
            *cost += row.cost_microusd.unwrap_or_default();
        }
    }
    spent
}

impl EndedTurn {
    /// The month that it counts in; none where there are two, and it is ended by itself.
    fn month(&self) -> Option<NaiveDate> {
        let mut months = self
            .ledger
            .iter()
            .map(|row| usage_month::month_of(row.created_at));
        let first = months
            .next()
            .unwrap_or_else(|| usage_month::month_of(self.at));
        months.all(|month| month == first).then_some(first)
    }

    fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        self.jobs.iter().map(|job| Asked {
            generation: self.generation,
            job,
        })
    }

    fn ending(&self, month: NaiveDate, (spent_tokens, spent_microusd): (i64, i64)) -> Ending<'_> {
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
            month,
            spent_tokens,
            spent_microusd,
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
