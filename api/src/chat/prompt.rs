//! What a model is shown: instructions, the branch as far as there is room, and the question with its attachments.

use std::{panic::AssertUnwindSafe, time::Instant};

use futures::FutureExt as _;
use shared::{
    clients::chat::{Part, Said, Speaker},
    context::{
        Branch, CUT_MARK, Counted, Earlier, Limits, Piece, Plan, Size, Told, count, framed_summary,
    },
    database::{self, Result},
    ids::{ConversationId, UserId},
    models::{
        context_stamp,
        message::{self, AnswerContext, MissingAttachment, Role},
    },
    tokens::{Encoding, Measure},
};

use super::{
    assemble::{Assembly, Wanted, assemble},
    shown::{BETWEEN, Pictures, Shown, show_question},
    tools,
};
use crate::app::App;

/// Least tokens of the texts of a question's attachments, however long the question is.
const LEAST_FOR_TEXTS: u32 = 1_000;
/// Tokens of a message that is cut besides those of its text: its role, the mark, and a few, as tokens grow together.
const BESIDE_CUT: u32 = 16;
/// What a model is told to go on with an answer of its own.
const GO_ON: &str =
    "Continue your last answer exactly where it ends. Do not repeat any of it, and do not comment.";

/// Why an attachment is missing where nothing could be looked up.
const NOT_LOOKED_AT: &str = "it could not be looked at";

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
    /// The stamp of the conversation when it was asked.
    pub(super) stamp: i64,
    /// How much goes along.
    pub(super) limits: Limits,
    /// How the model counts.
    pub(super) measure: Measure,
    /// Whether the model has tools.
    pub(super) with_tools: bool,
    /// Tokens of what it is told of them, as they are stored.
    pub(super) tool_tokens: u32,
    /// Tokens that are left to what they will say, as they are stored.
    pub(super) reserved: u32,
}

/// What a model is shown.
#[derive(Debug, Clone)]
pub(super) struct Prompted {
    pub(super) said: Vec<Said>,
    pub(super) context: AnswerContext,
    /// Tokens of all of it, as they are stored.
    pub(super) stored_tokens: u32,
    /// What is left of it for the next question; none where it could not be put together.
    pub(super) left: Option<Left>,
}

/// What is left for the next question.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) branch: Branch,
    /// How many of its messages, the newest, were sent.
    pub(super) reached: usize,
    /// Whether all of it is what it will be.
    pub(super) is_settled: bool,
}

/// Puts together what a model is shown. What goes wrong with that fails no answer: then the question goes by itself, and the
/// context says that it is an estimate.
///
/// # Errors
/// Where the database is away.
pub(super) async fn prompt(app: &App, asked: &Asked) -> Result<Prompted> {
    let putting = AssertUnwindSafe(Box::pin(put_together(app, asked))).catch_unwind();
    let error = match putting.await {
        Ok(Ok(prompted)) => return Ok(prompted),
        Ok(Err(error @ database::Error::Unavailable(_))) => return Err(error),
        Ok(Err(error)) => format!("{:#}", anyhow::Error::new(error)),
        Err(_) => "it panicked".to_owned(),
    };
    Ok(alone(asked, &error))
}

async fn put_together(app: &App, asked: &Asked) -> Result<Prompted> {
    let (question, limits) = (&asked.question, asked.limits);
    let encoding = app.tokens.fallback();
    let mut counting = Counting {
        encoding,
        is_estimated: false,
    };
    let system = match &asked.system {
        Some(system) => Some(counting.message(Role::System, system).await),
        None => None,
    };
    let mut needed = count::of_stored(question.token_count).saturating_add(asked.tool_tokens);
    if let Some(begun) = &asked.begun {
        let onward = counting
            .message(Role::Assistant, begun)
            .await
            .saturating_add(counting.message(Role::User, GO_ON).await);
        needed = needed.saturating_add(onward);
    }
    let room = asked
        .measure
        .stored_of(limits.tokens)
        .saturating_sub(needed);
    let room = room
        .saturating_sub(system.unwrap_or_default())
        .saturating_sub(asked.reserved)
        .max(LEAST_FOR_TEXTS);
    let attachments = question.content.attachments();
    let mut pictures = asked.sees_pictures.then(|| Pictures::new(asked.measure));
    let shown = show_question(app, asked.user, &attachments, pictures.as_mut(), room).await?;
    // While they were waited for, much may have changed.
    let stamp = match attachments[..] {
        [] => asked.stamp,
        _ => context_stamp::find(&app.db, asked.conversation).await?,
    };
    needed = needed.saturating_add(shown.tokens);
    let mut missing = shown.missing.clone();
    missing.dedup_by_key(|one: &mut MissingAttachment| one.attachment_id);

    let began = Instant::now();
    let wanted = Wanted {
        user: asked.user,
        conversation: asked.conversation,
        leaf: question.parent_id,
        stamp,
        limits,
        measure: asked.measure,
        system,
        question: Some(needed),
        with_tools: asked.with_tools,
        reserved: asked.reserved,
    };
    let mut assembly = assemble(app, &wanted, pictures.as_mut()).await?;
    let mut said = Vec::with_capacity(assembly.plan.pieces.len() + 2);
    let mut shown = Some(shown);
    for piece in assembly.plan.pieces.clone() {
        match piece {
            Piece::System => {
                let system = asked.system.as_deref().unwrap_or_default();
                said.push(Said::text(Speaker::System, system));
            }
            Piece::Summary(size) => {
                if let Some(told) = &assembly.branch.summary {
                    let text = summary_text(encoding, told, size).await;
                    said.push(Said::text(Speaker::System, text));
                }
            }
            Piece::Earlier(place, size) => {
                said.push(earlier(encoding, &mut assembly, place, size).await);
            }
            Piece::Question => {
                let shown = shown.take().unwrap_or_default();
                let text = joined(question.content.text(), &shown.texts);
                said.push(words(question.role, text, shown.pictures));
            }
        }
    }
    if let Some(begun) = &asked.begun {
        said.push(Said::text(Speaker::Assistant, begun));
        said.push(Said::text(Speaker::User, GO_ON));
    }
    let context = AnswerContext {
        missing,
        estimated: counting.is_estimated,
        ..context(&assembly, asked.measure, limits, 1)
    };
    log(asked, &context, assembly.is_cached, began);
    Ok(Prompted {
        said,
        context,
        stored_tokens: assembly.plan.tokens,
        left: Some(Left {
            reached: assembly.reached(),
            branch: assembly.branch,
            is_settled: assembly.is_settled,
        }),
    })
}

fn log(asked: &Asked, context: &AnswerContext, is_cached: bool, began: Instant) {
    tracing::info!(
        conversationId = %asked.conversation,
        messagesIncluded = context.included,
        totalMessages = context.total,
        totalTokens = context.tokens,
        isCached = is_cached,
        tookMicros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "context prepared"
    );
}

/// The question alone, without its attachments, and with its tokens by the length of its text.
pub(super) fn alone(asked: &Asked, error: &str) -> Prompted {
    tracing::error!(conversationId = %asked.conversation, error, "a context could not be put together");
    let began = Instant::now();
    let mut said = Vec::new();
    let mut tokens = asked.tool_tokens;
    let mut say = |by: Speaker, text: &str| {
        tokens = tokens.saturating_add(count::estimate(text));
        said.push(Said::text(by, text));
    };
    if let Some(system) = &asked.system {
        say(Speaker::System, system);
    }
    say(Speaker::User, &asked.question.content.text());
    if let Some(begun) = &asked.begun {
        say(Speaker::Assistant, begun);
        say(Speaker::User, GO_ON);
    }
    let limit = asked.limits.tokens;
    // Their names are not known either.
    let attachments = asked.question.content.attachments();
    let missing = attachments.into_iter().map(|id| MissingAttachment {
        attachment_id: id,
        file_name: String::new(),
        reason: NOT_LOOKED_AT.to_owned(),
    });
    let context = AnswerContext {
        tokens,
        limit,
        included: 1,
        total: 1,
        warning: AnswerContext::warning(tokens, limit),
        exceeded: tokens > limit,
        estimated: true,
        missing: missing.collect(),
        ..AnswerContext::default()
    };
    log(asked, &context, false, began);
    Prompted {
        said,
        context,
        stored_tokens: tokens,
        left: None,
    }
}

/// Counts, and remembers whether it was an estimate.
struct Counting {
    encoding: Encoding,
    is_estimated: bool,
}

impl Counting {
    async fn message(&mut self, role: Role, text: &str) -> u32 {
        let Counted {
            tokens,
            is_estimated,
        } = count::count_message(self.encoding, role, text.to_owned()).await;
        self.is_estimated |= is_estimated;
        tokens
    }
}

/// What is told of what is sent, `questions` of which are not in the branch.
pub(super) fn context(
    assembly: &Assembly,
    measure: Measure,
    limits: Limits,
    questions: u32,
) -> AnswerContext {
    let Assembly {
        branch,
        places,
        plan,
        ..
    } = assembly;
    let Plan {
        pieces,
        tokens,
        is_exceeded,
        ..
    } = plan;
    let is_message =
        |piece: &&Piece| matches!(piece, Piece::Earlier(place, _) if places[*place].tool.is_none());
    let is_cut = |piece: &&Piece| matches!(piece, Piece::Earlier(_, Size::Cut(_)));
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let tokens = measure.of_stored(*tokens);
    AnswerContext {
        tokens,
        limit: limits.tokens,
        included: questions.saturating_add(number(pieces.iter().filter(is_message).count())),
        total: questions.saturating_add(branch.total),
        summarized: pieces.iter().any(|one| matches!(one, Piece::Summary(_))),
        warning: AnswerContext::warning(tokens, limits.tokens),
        cut: number(pieces.iter().filter(is_cut).count()),
        // What is only left free for tools is no more than the limit.
        exceeded: *is_exceeded && tokens > limits.tokens,
        estimated: false,
        missing: Vec::new(),
    }
}

/// A summary, as it is sent.
pub(super) async fn summary_text(encoding: Encoding, told: &Told, size: Size) -> String {
    sized(encoding, framed_summary(&told.text), size).await
}

/// The text of an earlier message, as it is sent.
pub(super) async fn earlier_text(
    encoding: Encoding,
    one: &Earlier,
    shown: &Shown,
    size: Size,
) -> String {
    sized(encoding, joined(one.text.clone(), &shown.texts), size).await
}

async fn earlier(encoding: Encoding, assembly: &mut Assembly, place: usize, size: Size) -> Said {
    let at = assembly.places[place];
    let one = &assembly.branch.earlier[at.message];
    if let Some(tool) = at.tool {
        return tools::earlier::said(encoding, &one.tools[tool], size).await;
    }
    let shown = assembly.shown.get_mut(at.message);
    let shown = shown.map(std::mem::take).unwrap_or_default();
    let text = earlier_text(encoding, one, &shown, size).await;
    // Of a message that is cut nobody knows whether its pictures have room.
    let pictures = match size {
        Size::Whole => shown.pictures,
        Size::Cut(_) => Vec::new(),
    };
    words(one.role, text, pictures)
}

/// A text, or as much of it as is sent.
pub(super) async fn sized(encoding: Encoding, text: String, size: Size) -> String {
    match size {
        Size::Whole => text,
        Size::Cut(tokens) => {
            let mut text = count::cut(encoding, text, tokens.saturating_sub(BESIDE_CUT)).await;
            text.push_str(CUT_MARK);
            text
        }
    }
}

/// What was said, and then the texts of what was shown.
fn joined(mut text: String, texts: &[String]) -> String {
    for piece in texts {
        if !text.is_empty() {
            text.push_str(BETWEEN);
        }
        text.push_str(piece);
    }
    text
}

fn words(role: Role, text: String, pictures: Vec<String>) -> Said {
    let by = match role {
        Role::System => Speaker::System,
        Role::Assistant => Speaker::Assistant,
        Role::User | Role::Tool => Speaker::User,
    };
    let mut parts = Vec::with_capacity(1 + pictures.len());
    if !text.is_empty() || pictures.is_empty() {
        parts.push(Part::Text(text));
    }
    parts.extend(pictures.into_iter().map(Part::Picture));
    Said { by, parts }
}
