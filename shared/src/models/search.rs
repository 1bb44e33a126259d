//! Finding what was said: full-text search over titles and messages of a user, newest first.

use std::sync::LazyLock;

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
const SEPARATORS: [(char, char); 7] = [
    ('<', '\u{e002}'),
    ('>', '\u{e003}'),
    ('/', '\u{e004}'),
    ('\\', '\u{e005}'),
    ('@', '\u{e006}'),
    ('|', '\u{e007}'),
    ('.', '\u{e008}'),
];

/// The query as it is written, and by English stems, which lose the most frequent words. `$2` is its text.
const WORDS: &str = "websearch_to_tsquery('pg_catalog.simple', $2)";
const STEMS: &str = "websearch_to_tsquery('pg_catalog.english', $2)";

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
    let text = search
        .text
        .replace(SEPARATORS.map(|(separator, _)| separator), " ");
    let (before_at, before_id) = before.unzip();
    let values: [Value; 9] = [
        user.into(),
        text.as_str().into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
        wanted_words(&text).into(),
        search.project.into(),
        search.from.into(),
        search.to.into(),
        before_at.into(),
        before_id.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL.as_str(), values);

    // Whether it is cheaper to walk the user's messages or to look the words up depends on the words: a plan that is
    // kept for all of them is wrong for many. Conditions without a value cost nothing in a plan of its own.
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

/// The words of a query that a text should have, without those after a minus.
fn wanted_words(query: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut is_excluded = false;
    for (index, piece) in query.split('"').enumerate() {
        let is_phrase = index % 2 == 1;
        if !(is_phrase && is_excluded) {
            let wanted = piece.split_whitespace().map(str::to_lowercase);
            let wanted =
                wanted.filter(|word| is_phrase || !(word.starts_with('-') || word == "or"));
            words.extend(wanted);
        }
        is_excluded = piece.ends_with('-');
    }
    words
}

/// Snippets are made of the rows that are shown only, and of 4,000 characters around the first of the words: at the
/// beginning of a word, or else anywhere. They begin with a whole word.
static SQL: LazyLock<String> = LazyLock::new(|| {
    // Stems lose the most frequent words. That does no harm but to what is excluded: "-the" would exclude nothing.
    let only_words =
        format!("numnode({STEMS}) < numnode({WORDS}) AND strpos({WORDS}::text, '!') > 0");
    let query = format!("CASE WHEN {only_words} THEN {WORDS} ELSE {STEMS} || {WORDS} END");
    let [start, stop] = MARKS;
    let (separators, stand_ins): (String, String) = SEPARATORS.into_iter().unzip();
    // What has no counterpart is taken out: a text must not bring marks of its own.
    let reserved = format!("{separators}{start}{stop}{stand_ins}");
    let around_words = format!("{separators}\n\t,;:!?()\"");
    let spaces = " ".repeat(around_words.len());
    let active_at = "coalesce(c.last_message_at, c.created_at)";
    format!(
        "WITH hits AS (
            (SELECT m.conversation_id, m.id AS message_id, m.created_at AS at, m.id
               FROM messages m JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
              WHERE m.user_id = $1 AND m.deleted_at IS NULL AND m.search @@ ({query})
                AND ($5::uuid IS NULL OR c.project_id = $5)
                AND ($6::timestamptz IS NULL OR m.created_at >= $6)
                AND ($7::timestamptz IS NULL OR m.created_at < $7)
                AND ($8::timestamptz IS NULL OR (m.created_at, m.id) < ($8, $9::uuid))
              ORDER BY m.created_at DESC, m.id DESC LIMIT $3)
            UNION ALL
            (SELECT c.id, NULL, {active_at}, c.id
               FROM conversations c
              WHERE c.user_id = $1 AND c.deleted_at IS NULL AND c.search @@ ({query})
                AND ($5::uuid IS NULL OR c.project_id = $5)
                AND ($6::timestamptz IS NULL OR {active_at} >= $6)
                AND ($7::timestamptz IS NULL OR {active_at} < $7)
                AND ($8::timestamptz IS NULL OR ({active_at}, c.id) < ($8, $9::uuid))
              ORDER BY {active_at} DESC, c.id DESC LIMIT $3)
            ORDER BY at DESC, id DESC LIMIT $3
        ), needles AS (
            SELECT unnest($4::text[]) AS needle
            UNION
            SELECT rtrim(stem, 'i') FROM unnest($4::text[]) word, unnest(ts_lexize('pg_catalog.english_stem', word)) stem
        ), texts AS (
            SELECT h.*, c.title, c.project_id, m.role,
                   CASE WHEN m.id IS NULL THEN c.title ELSE left(message_text(m.content), 200000) END AS body
              FROM hits h JOIN conversations c ON c.id = h.conversation_id LEFT JOIN messages m ON m.id = h.message_id
        ), found AS (
            SELECT t.*, coalesce(
                       (SELECT min(nullif(strpos(' ' || translate(lower(body), '{around_words}', '{spaces}'), ' ' || needle), 0))
                          FROM needles WHERE needle <> ''),
                       (SELECT min(nullif(strpos(lower(body), needle), 0)) FROM needles WHERE needle <> ''),
                       1) AS first
              FROM texts t
        ), excerpts AS (
            SELECT f.*, CASE WHEN first <= 200 THEN left(body, 4000)
                             ELSE regexp_replace(substr(body, first - 200, 4000), '^\\S*\\s', '') END AS excerpt
              FROM found f
        )
        SELECT conversation_id, title, project_id, message_id, role, at, id,
               ts_headline(
                   CASE WHEN numnode({STEMS}) = 0 OR {only_words} THEN 'pg_catalog.simple'::regconfig
                        ELSE 'pg_catalog.english'::regconfig END,
                   translate(excerpt, '{reserved}', '{stand_ins}'),
                   {query}, 'StartSel={start}, StopSel={stop}, MaxWords=40, MinWords=15, ShortWord=0') AS snippet
          FROM excerpts ORDER BY at DESC, id DESC"
    )
});

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_are_wanted_are_told_from_those_that_are_not() {
        for (query, words) in [
            ("Dogs OR cats", &["dogs", "cats"][..]),
            ("\"old dogs\" -cats", &["old", "dogs"]),
            ("-\"old dogs\" कुत्ते", &["कुत्ते"]),
            ("\"or not\"", &["or", "not"]),
            ("\"open", &["open"]),
            ("", &[]),
        ] {
            assert_eq!(wanted_words(query), words, "{query}");
        }
    }
}
