//! Naming a conversation.

use serde_json::json;
use shared::{
    clients::chat::{Said, Speaker},
    database::Error,
    jobs::TitleConversation,
    models::{
        conversation, message,
        usage::{Kind, Purpose},
    },
};

use super::{LIMIT_REACHED, Outcome, Run};
use crate::{
    context::JobContext,
    writing::{Writer, choose},
};

/// What is read of the question, and of the answer, in characters.
const READ: usize = 2_000;
/// Most tokens of what the model writes.
const MOST_TOKENS: u32 = 100;
/// Longest title, in characters.
const LONGEST: usize = 80;

impl Run for TitleConversation {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let found = conversation::find_for_any_user(&ctx.db, self.conversation).await?;
        let untitled = found.filter(|row| row.title.is_none() && !row.title_by_user);
        let Some(conversation) = untitled else {
            return Ok(Outcome::Discard("it has a title, or was deleted"));
        };
        let answer = message::find_for_any_user(&ctx.db, self.answer).await?;
        let Some(answer) = answer.filter(|row| row.deleted_at.is_none()) else {
            return Ok(Outcome::Discard("the answer was deleted"));
        };
        // What was asked of tools, and what they said, is no question.
        let question = message::get_question(&ctx.db, conversation.user_id, &answer).await;
        let question = match question {
            Ok(question) => Some(question),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if ctx.reached_limit(conversation.user_id).await?.is_some() {
            return Ok(Outcome::Discard(LIMIT_REACHED));
        }
        let wanted = [
            ctx.writing.title_model.as_deref(),
            answer.model.as_deref(),
            conversation.model.as_deref(),
        ];
        let Some(model) = choose(ctx, &wanted) else {
            return Ok(Outcome::Discard("no model can be asked"));
        };
        let asked = question.map(|row| row.content.text()).unwrap_or_default();
        let material = format!(
            "[User]\n{}\n\n[Assistant]\n{}",
            beginning(&asked),
            beginning(&answer.content.text())
        );
        let said = vec![
            Said::text(Speaker::System, &ctx.writing.title_prompt),
            Said::text(Speaker::User, material),
        ];
        let purpose = Purpose {
            user: Some(conversation.user_id),
            project: conversation.project_id,
            conversation: Some(conversation.id),
            message: None,
            attachment: None,
        };
        let writer = Writer::new(ctx, Kind::Title, purpose);
        let written = writer.write(&model, said, MOST_TOKENS).await?;
        let Some(title) = title_of(&written) else {
            return Ok(Outcome::Discard("the model wrote no title"));
        };

        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        let now = ctx.clock.now();
        let is_set =
            conversation::set_title_by_model(&mut tx, self.conversation, title, now).await?;
        tx.done(Some(json!({ "isSet": is_set }))).await
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(READ).collect()
}

/// The title in what a model wrote: its first line, without what models put around titles.
fn title_of(written: &str) -> Option<String> {
    let is_around = |c: char| c.is_whitespace() || "\"'`*#_“”„‘’«»".contains(c);
    let mut lines = written.lines().map(|line| line.trim_matches(is_around));
    let line = lines.find(|line| !line.is_empty())?;
    let line = line.strip_prefix("Title:").unwrap_or(line);
    let line = line
        .trim_matches(is_around)
        .trim_end_matches(['.', '।', '۔', '。'])
        .trim_matches(is_around);
    let title: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    let title = title.trim().to_owned();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_a_line_without_what_is_around_it() {
        for (written, title) in [
            ("Salt and water", Some("Salt and water")),
            (
                "\n  **\"Salt and water.\"**\nIt is about the sea.",
                Some("Salt and water"),
            ),
            ("# Title: Salt", Some("Salt")),
            ("नमक और पानी।", Some("नमक और पानी")),
            ("“نمک اور پانی۔”", Some("نمک اور پانی")),
            ("a\u{0}b\tc", Some("abc")),
            ("", None),
            (" \n\"\"\n", None),
            ("...", None),
        ] {
            assert_eq!(title_of(written).as_deref(), title, "{written:?}");
        }
        assert_eq!(title_of(&"क".repeat(500)).unwrap().chars().count(), LONGEST);
    }
}
