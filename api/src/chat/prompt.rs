//! What a model is shown: instructions, the branch as far as there is room, and the question with its attachments.

use shared::{
    clients::chat::{Part, Said, Speaker},
    database::Result,
    ids::{ConversationId, MessageId, UserId},
    models::message::{self, AnswerContext, MissingAttachment, Role},
};

use super::shown::{Pictures, Shown, Texts, show};
use crate::app::App;

/// Least tokens of the texts of a question's attachments, however long the question is.
const LEAST_FOR_TEXTS: u32 = 1_000;
/// Most tokens of the texts of an earlier message's attachments.
const MOST_FOR_EARLIER: u32 = 2_000;
/// What a model is told to go on with an answer of its own.
const GO_ON: &str =
    "Continue your last answer exactly where it ends. Do not repeat any of it, and do not comment.";

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Whose conversation it is.
    pub(super) user: UserId,
    /// Where it is asked.
    pub(super) conversation: ConversationId,
    /// The question.
    pub(super) question: message::Model,
    /// What was said of the answer before, if it goes on.
    pub(super) begun: Option<String>,
    /// What the model is told first.
    pub(super) system: Option<String>,
    /// Whether the model can be shown pictures.
    pub(super) sees_pictures: bool,
}

/// What a model is shown.
#[derive(Debug, Clone)]
pub(super) struct Prompted {
    pub(super) said: Vec<Said>,
    pub(super) context: AnswerContext,
}

/// Puts together what a model is shown. The question is never cut; texts of its attachments, then earlier messages, the
/// newest first, are sent along as far as there is room.
///
/// # Errors
/// As the database fails.
pub(super) async fn prompt(app: &App, asked: &Asked) -> Result<Prompted> {
    let limit = app.config.chat.context_max_tokens;
    let most = app.config.chat.context_max_messages;
    let tokens = &app.tokens;
    let mut used = 0;
    let mut first = Vec::new();
    if let Some(system) = &asked.system {
        used += tokens
            .count_message(Role::System.as_str(), system.clone())
            .await;
        first.push(Said::text(Speaker::System, system));
    }
    let question = &asked.question;
    used += u32::try_from(question.token_count).unwrap_or_default();
    if let Some(begun) = &asked.begun {
        used += tokens
            .count_message(Role::Assistant.as_str(), begun.clone())
            .await;
        used += tokens
            .count_message(Role::User.as_str(), GO_ON.to_owned())
            .await;
    }
    let room = limit.saturating_sub(used).max(LEAST_FOR_TEXTS);
    let attachments = question.content.attachments();
    let mut pictures = asked.sees_pictures.then(Pictures::default);
    let wanted = Texts::Awaited(room);
    let shown = show(app, asked.user, &attachments, pictures.as_mut(), wanted).await?;
    used += shown.tokens;
    let mut missing = shown.missing.clone();
    let mut last = vec![said(question, shown)];

    let earlier = earlier(app, asked.conversation, question.parent_id, most - 1).await?;
    let total = 1 + u32::try_from(earlier.len()).unwrap_or(u32::MAX);
    let mut included = 1;
    for row in &earlier {
        let tokens = u32::try_from(row.token_count).unwrap_or_default();
        let Some(room) = limit.checked_sub(used + tokens) else {
            break;
        };
        let room = room.min(MOST_FOR_EARLIER);
        let ids = row.content.attachments();
        let wanted = Texts::Present(room);
        let shown = show(app, asked.user, &ids, pictures.as_mut(), wanted).await?;
        used += tokens + shown.tokens;
        included += 1;
        last.push(said(row, shown));
    }
    last.reverse();
    if let Some(begun) = &asked.begun {
        last.push(Said::text(Speaker::Assistant, begun));
        last.push(Said::text(Speaker::User, GO_ON));
    }
    first.extend(last);
    missing.dedup_by_key(|one: &mut MissingAttachment| one.attachment_id);
    Ok(Prompted {
        said: first,
        context: AnswerContext {
            tokens: used,
            limit,
            included,
            total,
            missing,
        },
    })
}

/// Messages of the branch before the question, newest first. Answers of which nothing was said, and what tools said, say
/// nothing to a model.
async fn earlier(
    app: &App,
    conversation: ConversationId,
    parent: Option<MessageId>,
    most: u32,
) -> Result<Vec<message::Model>> {
    let Some(parent) = parent.filter(|_| most > 0) else {
        return Ok(Vec::new());
    };
    // The parent may be a deleted message, which the list steps over.
    let listed = message::list_branch(&app.db, conversation, parent, None, most.into()).await?;
    let mut rows = listed.rows;
    rows.retain(|row| !row.content.0.is_empty() && row.role != Role::Tool);
    Ok(rows)
}

fn said(row: &message::Model, shown: Shown) -> Said {
    let by = match row.role {
        Role::System => Speaker::System,
        Role::Assistant => Speaker::Assistant,
        Role::User | Role::Tool => Speaker::User,
    };
    let mut text = row.content.text();
    for piece in shown.texts {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&piece);
    }
    let mut parts = Vec::with_capacity(1 + shown.pictures.len());
    if !text.is_empty() || shown.pictures.is_empty() {
        parts.push(Part::Text(text));
    }
    parts.extend(shown.pictures.into_iter().map(Part::Picture));
    Said { by, parts }
}
