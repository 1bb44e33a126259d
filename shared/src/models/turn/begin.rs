//! Beginning turns.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::json;
use crate::{
    database::{Connection, Result},
    events::{self, ConversationSummary, Event, MessageSummary},
    ids::{ConversationId, MessageId, ProjectId, UserId},
    models::{
        event,
        generation::{self, Attempts},
        message::{self, Content, Role},
    },
};

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
    /// Whether tools may be called for the answer.
    pub with_tools: bool,
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
    /// See [`crate::models::context_stamp`].
    pub stamp: i64,
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
    /// That the conversation was begun, where it was.
    told_begun: Option<event::New>,
    /// That the question was written. What it follows is not known yet.
    told_asked: event::New,
}

#[derive(Clone, Copy, FromRow)]
struct Placed {
    generation: Uuid,
    parent: Option<Uuid>,
    project: Option<Uuid>,
    asked_at: DateTime<Utc>,
    stamp: i64,
}

static SQL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH turn AS (
            SELECT t.* FROM json_to_recordset($1::json) AS t(
                       conversation uuid, is_new boolean, begun json, \"user\" uuid, content jsonb, token_count int,
                       model text, provider text, with_tools boolean, instance uuid, attempts jsonb, at timestamptz,
                       size_bytes int, question uuid, answer uuid, generation uuid, told_begun jsonb, told_asked jsonb)
             WHERE set_config('synchronous_commit', 'off', true) = 'off'
               AND {untold}
        ), held AS (
            SELECT c.id, c.project_id, c.current_message_id, c.last_message_at
              FROM turn t JOIN conversations c ON c.id = t.conversation AND c.user_id = t.\"user\"
             WHERE c.deleted_at IS NULL AND c.archived_at IS NULL
               -- An answer with tools is not followed before its end. What is not seen yet may be one.
               AND coalesce((SELECT NOT (m.status = 'streaming' AND m.finish_reason IS NOT DISTINCT FROM '{with_tools}')
                               FROM messages m WHERE m.id = c.current_message_id), c.current_message_id IS NULL)
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
                    created_at, status, model, provider, finish_reason)
            SELECT question, conversation, \"user\", parent, 'user', content, size_bytes, token_count, false, 1,
                   asked_at, 'completed', NULL, NULL, NULL
              FROM placed
             UNION ALL
            SELECT answer, conversation, \"user\", question, 'assistant', '[]', 0, 0, false, 1,
                   asked_at + interval '1 microsecond', 'streaming', model, provider,
                   CASE WHEN with_tools THEN '{with_tools}' END
              FROM placed
            RETURNING 1
        ), recorded AS (
            INSERT INTO events (id, user_id, kind, subject, data, created_at)
            SELECT (told_begun ->> 'id')::uuid, \"user\", told_begun ->> 'kind', told_begun ->> 'subject',
                   told_begun -> 'data', at
              FROM placed WHERE is_new
             UNION ALL
            SELECT (told_asked ->> 'id')::uuid, \"user\", told_asked ->> 'kind', told_asked ->> 'subject',
                   (told_asked -> 'data') || jsonb_build_object('parentId', parent), asked_at
              FROM placed
        ), making AS (
            INSERT INTO generations
                   (message_id, id, conversation_id, user_id, instance, lease_until, text, begun_bytes, attempts,
                    started_at)
            SELECT answer, generation, conversation, \"user\", instance, {lease}, '', 0, attempts, at
              -- The lease begins when the messages are there, which may take a while.
              FROM placed, (SELECT count(*) FROM said) AS said
        )
        SELECT p.generation, p.parent, p.project, p.asked_at, coalesce(s.stamp, 0) AS stamp
          FROM placed p LEFT JOIN context_stamps s ON s.conversation_id = p.conversation",
        lease = generation::LEASE_UNTIL,
        with_tools = message::WITH_TOOLS,
        untold = events::nobody_hears_of_turns("t.\"user\""),
    )
});

/// Begins turns, each in a conversation of its own. None for those that must be begun by themselves.
///
/// What is written survives the end of this program, and that of the database's server only once something that is
/// written later does: nobody may be told before that. See [`super::flush`].
///
/// # Errors
/// As the database fails; then none was begun.
pub async fn begin(db: &mut Connection, turns: &[NewTurn]) -> Result<Vec<Option<Begun>>> {
    let mut seen: HashSet<ConversationId> = HashSet::new();
    let beginnings: Vec<Option<Beginning<'_>>> = turns
        .iter()
        .map(|turn| {
            let is_first = seen.insert(turn.conversation);
            is_first.then(|| turn.beginning())
        })
        .collect();
    let placed: Vec<Placed> = sqlx::query_as(AssertSqlSafe(SQL.as_str()))
        .bind(json(beginnings.iter().flatten()))
        .fetch_all(db)
        .await?;
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
        let question = MessageId::new();
        let asked = self.question(question, None, self.at);
        let asked = Event::MessageCreated(MessageSummary::from(&asked));
        Beginning {
            turn: self,
            is_new: self.begun.is_some(),
            size_bytes: self.content.size_bytes(),
            question,
            answer: MessageId::new(),
            generation: Uuid::new_v4(),
            told_begun: self.begun.as_ref().map(|_| self.told_begun()),
            told_asked: events::prepare(&asked, self.at),
        }
    }

    /// The question, as it is written.
    fn question(
        &self,
        id: MessageId,
        parent: Option<MessageId>,
        at: DateTime<Utc>,
    ) -> message::Model {
        let new = message::New {
            parent,
            role: Role::User,
            content: self.content.clone(),
            token_count: self.token_count,
            client_id: None,
        };
        message::written((self.conversation, self.user), id, new, at)
    }

    /// What is told of the conversation, before anything is said in it.
    fn told_begun(&self) -> event::New {
        let begun = Event::ConversationCreated(ConversationSummary {
            conversation_id: self.conversation,
            project_id: None,
            title: None,
            tags: Vec::new(),
            pinned: false,
            archived: false,
            version: 1,
        });
        events::prepare(&begun, self.at)
    }
}

impl Beginning<'_> {
    /// The rows, as they were written.
    fn written(&self, placed: Placed) -> Begun {
        let (turn, parent) = (self.turn, placed.parent.map(MessageId));
        let question = turn.question(self.question, parent, placed.asked_at);
        let place = (turn.conversation, turn.user);
        let at = placed.asked_at + TimeDelta::microseconds(1);
        let mut answer =
            message::written(place, self.answer, message::New::answer(self.question), at);
        answer.status = message::Status::Streaming;
        answer.finish_reason = turn.with_tools.then(|| message::WITH_TOOLS.to_owned());
        answer.model = Some(turn.model.clone());
        answer.provider = Some(turn.provider.clone());
        Begun {
            question,
            answer,
            generation: self.generation,
            project: placed.project.map(ProjectId),
            stamp: placed.stamp,
        }
    }
}
