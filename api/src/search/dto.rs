//! Bodies of the search.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::{ConversationId, MessageId, ProjectId},
    models::search::{self, Hit, MARKS},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::Fields,
    moment::Moment,
    page::Limit,
    text::{Id, Line},
};

/// What is looked for.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct SearchQuery {
    /// Words that must all be found; `"a phrase"`, `or` and `-without` work as in web searches.
    #[param(value_type = String, min_length = 1, max_length = 200, example = "किताबें")]
    q: Line<1, 200>,
    /// Only conversations of this project.
    #[deserr(default)]
    #[param(value_type = Option<ProjectId>)]
    project_id: Option<Id<ProjectId>>,
    /// Only what was said at this time or later.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    from: Option<Moment>,
    /// Only what was said before this time.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    to: Option<Moment>,
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}

impl SearchQuery {
    /// What it asks for.
    pub(super) fn search(&self) -> search::Search {
        search::Search {
            text: self.q.0.clone(),
            project: self.project_id.map(|id| id.0),
            from: self.from.map(|at| at.0),
            to: self.to.map(|at| at.0),
        }
    }
}

/// What was found: a message, or a conversation by its title.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchResult {
    /// `message` or `conversation`.
    #[serde(rename = "type")]
    #[schema(example = "message", pattern = "^(message|conversation)$")]
    kind: &'static str,
    conversation_id: ConversationId,
    conversation_title: Option<String>,
    project_id: Option<ProjectId>,
    /// Null if the title was found.
    message_id: Option<MessageId>,
    /// Who said it; null if the title was found.
    role: Option<String>,
    /// HTML: escaped text with the found words in `<mark>`.
    #[schema(example = "two <mark>books</mark> &amp; a pen")]
    snippet: String,
    /// When it was said; for a title, when something was last said there.
    created_at: DateTime<Utc>,
}

impl From<Hit> for SearchResult {
    fn from(hit: Hit) -> Self {
        let Hit {
            conversation_id,
            title,
            project_id,
            message_id,
            role,
            snippet,
            at,
            id: _,
        } = hit;
        Self {
            kind: if message_id.is_some() {
                "message"
            } else {
                "conversation"
            },
            conversation_id,
            conversation_title: title,
            project_id,
            message_id,
            role,
            snippet: html(&snippet),
            created_at: at,
        }
    }
}

/// Escapes a snippet, and turns its marks into elements.
fn html(snippet: &str) -> String {
    let mut html = String::with_capacity(snippet.len() + 32);
    for c in snippet.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c if c == MARKS[0] => html.push_str("<mark>"),
            c if c == MARKS[1] => html.push_str("</mark>"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_runs_nothing_in_a_browser() {
        let [start, stop] = MARKS;
        assert_eq!(
            html(&format!(
                "<img src=x onerror='a()'> & {start}\"books\"{stop}"
            )),
            "&lt;img src=x onerror=&#39;a()&#39;&gt; &amp; <mark>&quot;books&quot;</mark>"
        );
    }

    #[test]
    fn moments_are_read_with_and_without_escapes() {
        let at = Moment::parse("2026-01-31T12:00:00+05:30").unwrap().0;
        assert_eq!(Moment::parse("2026-01-31T12:00:00 05:30").unwrap().0, at);
        assert!(Moment::parse("2026-01-31").is_err());
    }
}
