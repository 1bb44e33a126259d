//! Finding what was said: full-text search over titles and messages of a user, newest first.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, FromQueryResult, Statement, TransactionTrait,
    Value,
};
use uuid::Uuid;

use crate::{
    database::Result,
    ids::{ConversationId, MessageId, ProjectId, UserId},
};

/// Marks the beginning and the end of a found word in a snippet. Of the private use area of Unicode, as texts hold
/// everything else.
pub const MARKS: [char; 2] = ['\u{e000}', '\u{e001}'];
/// What `search_words` in the migrations takes for spaces between words, and what stands for it while Postgres makes a
/// snippet.
const SEPARATORS: [(char, char); 6] = [
    ('<', '\u{e002}'),
    ('>', '\u{e003}'),
    ('/', '\u{e004}'),
    ('\\', '\u{e005}'),
    ('@', '\u{e006}'),
    ('|', '\u{e007}'),
];

/// The same words as they are written, or by their English stems. `$2` is the text of the query.
const QUERY: &str = "(websearch_to_tsquery('pg_catalog.english', $2) || websearch_to_tsquery('pg_catalog.simple', $2))";

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Words; `"a phrase"`, `or` and `-without` as in `websearch_to_tsquery`.
    pub text: String,
    /// Only in conversations of a project.
    pub project: Option<ProjectId>,
    /// Only what was said then or later.
    pub from: Option<DateTime<Utc>>,
    /// Only what was said before.
    pub to: Option<DateTime<Utc>>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Hit {
    /// Where.
    pub conversation_id: ConversationId,
    /// For people.
    pub title: Option<String>,
    /// Where that is filed.
    pub project_id: Option<ProjectId>,
    /// The message; none where the title was found.
    pub message_id: Option<MessageId>,
    /// Who said it.
    pub role: Option<String>,
    /// What is around the words, which stand between [`MARKS`].
    pub snippet: String,
    /// When it was said; of a title, when something was said there last.
    pub at: DateTime<Utc>,
    /// Of the message or the conversation.
    pub id: Uuid,
}

/// Finds titles and messages of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn search(
    db: &DatabaseConnection,
    user: UserId,
    search: &Search,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: u64,
) -> Result<Vec<Hit>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let text = search
        .text
        .replace(SEPARATORS.map(|(separator, _)| separator), " ");
    let longest = text.split_whitespace().max_by_key(|word| word.len());
    let word = longest.unwrap_or_default().trim_matches(['"', '-']);
    let mut values: Vec<Value> = vec![user.into(), text.as_str().into(), limit.into(), word.into()];
    let mut conditions = String::new();
    let mut restrict = |condition: &str, new: Vec<Value>| {
        let mut condition = condition.to_owned();
        for value in new {
            values.push(value);
            condition = condition.replacen('?', &format!("${}", values.len()), 1);
        }
        conditions.push_str(" AND ");
        conditions.push_str(&condition);
    };
    if let Some(project) = search.project {
        restrict("c.project_id = ?", vec![project.into()]);
    }
    if let Some(from) = search.from {
        restrict("@at >= ?", vec![from.into()]);
    }
    if let Some(to) = search.to {
        restrict("@at < ?", vec![to.into()]);
    }
    if let Some((at, id)) = before {
        restrict("(@at, @id) < (?, ?)", vec![at.into(), id.into()]);
    }
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql(&conditions), values);

    // Whether it is cheaper to walk the user's messages or to look the words up depends on the words: a plan that is
    // kept for all of them is wrong for many.
    let tx = db.begin().await?;
    tx.execute_unprepared("SET LOCAL plan_cache_mode = force_custom_plan")
        .await?;
    let mut hits = Hit::find_by_statement(statement).all(&tx).await?;
    tx.commit().await?;
    for hit in &mut hits {
        hit.snippet = restore(&hit.snippet);
    }
    Ok(hits)
}

/// Snippets are made of the rows that are shown only, and of 4,000 characters around the longest word.
fn sql(conditions: &str) -> String {
    let of = |at: &str, id: &str| conditions.replace("@at", at).replace("@id", id);
    let (in_messages, in_titles) = (
        of("m.created_at", "m.id"),
        of("coalesce(c.last_message_at, c.created_at)", "c.id"),
    );
    let [start, stop] = MARKS;
    let (separators, stand_ins): (String, String) = SEPARATORS.into_iter().unzip();
    // What has no counterpart is taken out: a text must not bring marks of its own.
    let reserved = format!("{separators}{start}{stop}{stand_ins}");
    format!(
        "WITH hits AS (
            (SELECT m.conversation_id, m.id AS message_id, m.created_at AS at, m.id
               FROM messages m JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
              WHERE m.user_id = $1 AND m.deleted_at IS NULL AND m.search @@ {QUERY} {in_messages}
              ORDER BY m.created_at DESC, m.id DESC LIMIT $3)
            UNION ALL
            (SELECT c.id, NULL, coalesce(c.last_message_at, c.created_at), c.id
               FROM conversations c
              WHERE c.user_id = $1 AND c.deleted_at IS NULL AND c.search @@ {QUERY} {in_titles}
              ORDER BY coalesce(c.last_message_at, c.created_at) DESC, c.id DESC LIMIT $3)
            ORDER BY at DESC, id DESC LIMIT $3
        ), texts AS (
            SELECT h.*, c.title, c.project_id, m.role,
                   CASE WHEN m.id IS NULL THEN c.title ELSE left(message_text(m.content), 200000) END AS body
              FROM hits h JOIN conversations c ON c.id = h.conversation_id LEFT JOIN messages m ON m.id = h.message_id
        )
        SELECT conversation_id, title, project_id, message_id, role, at, id,
               ts_headline('pg_catalog.english',
                   translate(substr(body, greatest(1, strpos(lower(body), lower($4)) - 200), 4000), '{reserved}', '{stand_ins}'),
                   {QUERY}, 'StartSel={start}, StopSel={stop}, MaxWords=40, MinWords=15, ShortWord=0') AS snippet
          FROM texts ORDER BY at DESC, id DESC"
    )
}

/// Puts back what stood in for separators.
fn restore(snippet: &str) -> String {
    snippet
        .chars()
        .map(|c| {
            let separator = SEPARATORS.iter().find(|(_, stand_in)| *stand_in == c);
            separator.map_or(c, |(separator, _)| *separator)
        })
        .collect()
}
