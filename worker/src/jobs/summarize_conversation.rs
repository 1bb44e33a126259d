//! Telling in short what was said in a conversation before.

use std::fmt::Write as _;

use serde_json::json;
use shared::{
    catalogue::Model,
    clients::chat::{Said, Speaker},
    context::{CUT_MARK, count, framed_summary},
    database::{Result, Tx},
    ids::{ConversationId, MessageId},
    jobs::SummarizeConversation,
    models::{
        context_stamp, conversation,
        message::{self, Climbed, Role, Step},
        summary,
        usage::{Kind, Purpose},
    },
};

use super::{LIMIT_REACHED, Outcome, Run};
use crate::{
    context::JobContext,
    writing::{Writer, choose},
};

/// Most tokens of messages that one call summarises, and what is read of each.
const CALL_TOKENS: u32 = 8_000;
const MESSAGE_TOKENS: u32 = 2_000;
/// Most calls of a run. What is left then is asked for again after the next answer.
const CALLS: usize = 8;

/// Why nothing is kept of what was written.
const CHANGED: &str = "the conversation has changed meanwhile";

/// What is summarised, as it was when the run began.
struct Way {
    conversation: ConversationId,
    /// Where it ends.
    leaf: MessageId,
    stamp: i64,
    climbed: Climbed,
}

/// How far the summary has come.
struct Progress {
    text: Option<String>,
    /// Messages that it tells of.
    messages: i64,
    anchor: MessageId,
}

impl Run for SummarizeConversation {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let found = conversation::find_for_any_user(&ctx.db, self.conversation).await?;
        let Some(conversation) = found else {
            return Ok(Outcome::Discard("the conversation was deleted"));
        };
        if ctx.reached_limit(conversation.user_id).await?.is_some() {
            return Ok(Outcome::Discard(LIMIT_REACHED));
        }
        let way = Way {
            conversation: conversation.id,
            leaf: self.anchor,
            // Before anything else is read: what changes later is noticed in the end.
            stamp: context_stamp::find(&ctx.db, conversation.id).await?,
            climbed: message::climb(&ctx.db, conversation.id, self.anchor, 1).await?,
        };
        let climbed = &way.climbed;
        let is_there = climbed.steps.first().map(|step| step.id) == Some(self.anchor);
        if !is_there || climbed.is_streaming {
            return Ok(Outcome::Discard("what was to be summarised has changed"));
        }
        let (mut progress, new) = match climbed.anchor {
            Some((0, _)) => return Ok(Outcome::Discard("it is summarised already")),
            Some((place, anchor)) => {
                let Some(before) = summary::find(&ctx.db, conversation.id, anchor).await? else {
                    return Ok(Outcome::Discard(CHANGED));
                };
                let progress = Progress {
                    text: Some(before.text),
                    messages: before.message_count,
                    anchor,
                };
                (progress, &climbed.steps[..place])
            }
            None => {
                let progress = Progress {
                    text: None,
                    messages: 0,
                    anchor: self.anchor,
                };
                (progress, &climbed.steps[..])
            }
        };
        let Some(model) = model(ctx, &conversation, new).await? else {
            return Ok(Outcome::Discard("no model can be asked"));
        };
        let purpose = Purpose {
            user: Some(conversation.user_id),
            project: conversation.project_id,
            conversation: Some(conversation.id),
            message: None,
            attachment: None,
        };
        let writer = Writer::new(ctx, Kind::Summary, purpose);
        let steps: Vec<Step> = new.iter().rev().copied().collect();
        let room = CALL_TOKENS.min(model.most_context() / 2);
        for (number, part) in parts(&steps, room).into_iter().take(CALLS).enumerate() {
            let material = material(ctx, &conversation, progress.text.as_deref(), part).await?;
            let said = vec![
                Said::text(Speaker::System, &ctx.writing.summary_prompt),
                Said::text(Speaker::User, material),
            ];
            let written = match writer.write(&model, said, self.most_tokens).await {
                Ok(written) => written.replace('\0', ""),
                // What is there is a summary, too, and was paid for.
                Err(_) if number > 0 => break,
                Err(failure) => return Err(failure.into()),
            };
            let text = count::cut(
                ctx.writing.encoding,
                written.trim().to_owned(),
                self.most_tokens,
            )
            .await;
            let Some(last) = part.last().filter(|_| !text.is_empty()) else {
                break;
            };
            progress = Progress {
                text: Some(text),
                messages: progress.messages + i64::try_from(part.len()).unwrap_or_default(),
                anchor: last.id,
            };
        }
        let is_new = new.iter().any(|step| step.id == progress.anchor);
        let Some(text) = progress.text.filter(|_| is_new) else {
            return Ok(Outcome::Discard("the model wrote nothing"));
        };
        let framed = framed_summary(&text);
        let counted = count::count_message(ctx.writing.encoding, Role::System, framed).await;
        let row = summary::Model {
            conversation_id: conversation.id,
            anchor_id: progress.anchor,
            text,
            token_count: i32::try_from(counted.tokens).unwrap_or(i32::MAX),
            message_count: progress.messages,
            model: model.id,
            made_at: ctx.clock.now(),
        };
        keep(ctx, &way, row).await
    }
}

/// Stores the summary and ends the job, if this run still owns it and what is summarised is what it was.
async fn keep(ctx: &JobContext, way: &Way, row: summary::Model) -> anyhow::Result<Outcome> {
    let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
    // Whoever changes the conversation holds its row until that is done.
    let is_there = conversation::hold_for_any_user(&mut tx, way.conversation).await?;
    if !is_there || !way.is_unchanged(&tx).await? {
        return tx.done(Some(json!({ "discarded": CHANGED }))).await;
    }
    let messages = row.message_count;
    summary::keep(&mut tx, row).await?;
    tx.done(Some(json!({ "messages": messages }))).await
}

impl Way {
    /// Whether it is the same as before, in a transaction that holds the conversation.
    async fn is_unchanged(&self, tx: &Tx) -> Result<bool> {
        if context_stamp::find(tx.orm(), self.conversation).await? == self.stamp {
            return Ok(true);
        }
        // An attachment, or another branch: neither is in the summary. What was gone on with has more tokens.
        let climbed = message::climb(tx.orm(), self.conversation, self.leaf, 1).await?;
        Ok(climbed == self.climbed)
    }
}

/// The model that summarises: the operator's choice, or the one that answered last, or that of the conversation.
async fn model(
    ctx: &JobContext,
    conversation: &conversation::Model,
    new: &[Step],
) -> anyhow::Result<Option<Model>> {
    // An answer, or a question and the answer above it.
    let last: Vec<MessageId> = new.iter().take(2).map(|step| step.id).collect();
    let rows = message::find_said(&ctx.db, conversation.id, &last).await?;
    let answered = last
        .iter()
        .find_map(|id| rows.get(id).and_then(|row| row.model.as_deref()));
    let wanted = [
        ctx.writing.summary_model.as_deref(),
        answered,
        conversation.model.as_deref(),
    ];
    Ok(choose(ctx, &wanted))
}

/// Parts of at most so many tokens; a message that is longer alone is one.
fn parts(steps: &[Step], room: u32) -> Vec<&[Step]> {
    let mut parts = Vec::new();
    let (mut begin, mut used) = (0, 0);
    for (place, step) in steps.iter().enumerate() {
        let tokens = count::of_stored(step.token_count).min(MESSAGE_TOKENS);
        if place > begin && used + tokens > room {
            parts.push(&steps[begin..place]);
            (begin, used) = (place, 0);
        }
        used += tokens;
    }
    if begin < steps.len() {
        parts.push(&steps[begin..]);
    }
    parts
}

/// What the model is to summarise.
async fn material(
    ctx: &JobContext,
    conversation: &conversation::Model,
    before: Option<&str>,
    part: &[Step],
) -> anyhow::Result<String> {
    let ids: Vec<MessageId> = part.iter().map(|step| step.id).collect();
    let rows = message::find_said(&ctx.db, conversation.id, &ids).await?;
    let mut material = String::new();
    if let Some(before) = before {
        material = format!("[Summary of what came before]\n{before}\n\n");
    }
    for row in ids.iter().filter_map(|id| rows.get(id)) {
        let mut text = row.content.text();
        if count::of_stored(row.token_count) > MESSAGE_TOKENS {
            text = count::cut(ctx.writing.encoding, text, MESSAGE_TOKENS).await;
            text.push_str(CUT_MARK);
        }
        let shown = row.content.attachments().len();
        let by = match row.role {
            Role::System => "System",
            Role::User => "User",
            Role::Assistant => "Assistant",
            Role::Tool => "Tool",
        };
        let with = match shown {
            0 => String::new(),
            number => format!(", with {number} attached"),
        };
        _ = write!(material, "[{by}{with}]\n{text}\n\n");
    }
    Ok(material)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_summarised_in_parts_that_fit() {
        let steps: Vec<Step> = [10, 10, 10, 9_000, 10]
            .into_iter()
            .map(|token_count| Step {
                id: MessageId::new(),
                token_count,
            })
            .collect();
        let lengths = |room: u32| -> Vec<usize> {
            let parts = parts(&steps, room);
            assert_eq!(parts.concat(), steps);
            parts.iter().map(|part| part.len()).collect()
        };
        assert_eq!(lengths(8_000), [5]);
        assert_eq!(lengths(2_020), [3, 2]);
        assert_eq!(lengths(25), [2, 1, 1, 1]);
        assert_eq!(lengths(0), [1, 1, 1, 1, 1]);
        assert!(parts(&[], 10).is_empty());
    }
}
