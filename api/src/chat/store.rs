//! Storing a question, and that its answer is being made, in a transaction of their own.

use axum::http::StatusCode;
use shared::{
    database::{self, Refusal},
    ids::{AttachmentId, ProjectId},
    models::{
        attachment, context_stamp, conversation, generation,
        message::{self, Asked, Content, New, NewAnswer, Part, Role},
        project,
    },
    providers::Picked,
};
use uuid::Uuid;

use super::{
    place::Place,
    route::Choice,
    turn::{Known, Target, Turn},
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Result},
    messages::send_message::find_parent,
    write::Write,
};

/// What was found or stored.
pub(super) enum Written {
    /// The answer to the same message, which was sent before.
    Known(Box<message::Model>),
    /// An answer that is to be made.
    Begun(Box<WrittenAnswer>),
}

pub(super) struct WrittenAnswer {
    question: message::Model,
    row: message::Model,
    /// What was said before.
    begun: Option<String>,
    project: Option<ProjectId>,
}

/// Stores the question and the beginning of the answer.
///
/// # Errors
/// Where it may not be asked, and as the database fails.
pub(super) async fn write(
    app: &App,
    caller: &Caller,
    tx: &mut Write,
    turn: &Turn,
    token_count: u32,
    place: Place,
    choice: &Choice,
) -> Result<Written> {
    let now = app.clock.now();
    let answer = NewAnswer {
        model: choice.id().to_owned(),
        provider: Some(choice.first_provider().to_owned()),
        with_tools: turn.tools.may_be_called(app),
    };
    let mut new_question = None;
    match &turn.target {
        Target::New {
            text, attachments, ..
        } => new_question = Some(content(text, attachments)),
        Target::Reworded {
            message,
            text,
            attachments,
        } => {
            let row = message::get(tx.orm(), caller.user, *message).await?;
            if row.role != Role::User {
                return Err(Refusal::MessageNotEditable.into());
            }
            let attachments = attachments
                .clone()
                .unwrap_or_else(|| row.content.attachments());
            if text.trim().is_empty() && attachments.is_empty() {
                return Err(Error::field("/message", "must not be empty"));
            }
            new_question = Some(content(text, &attachments));
        }
        Target::Anew(_) | Target::Onward(_) => {}
    }
    let begun_before = place
        .conversation
        .as_ref()
        .map(|conversation| conversation.id);
    let mut known = None;
    if let (Some(client_id), Some(content)) = (&turn.client_id, &new_question) {
        message::hold_client_id(tx, caller.user, client_id).await?;
        known = message::find_sent(tx.orm(), caller.user, begun_before, client_id).await?;
        if let Some(row) = &known {
            if row.content != *content || row.deleted_at.is_some() {
                return Err(Refusal::ClientIdReused.into());
            }
            let answer = message::find_answer(tx.orm(), row.conversation_id, row.id).await?;
            // One that failed before a word was said is tried again.
            let has_failed = |answer: &message::Model| {
                let status = answer.status;
                matches!(
                    status,
                    message::Status::Failed | message::Status::Interrupted
                ) && answer.content.0.is_empty()
            };
            if let Some(answer) = answer.filter(|answer| !has_failed(answer)) {
                return Ok(Written::Known(Box::new(answer)));
            }
        }
    }
    let conversation = match (
        begun_before.or(known.as_ref().map(|row| row.conversation_id)),
        &turn.target,
    ) {
        (Some(id), _) => conversation::get_for_update(tx, caller.user, id).await?,
        (None, target) => begin_conversation(tx, caller, turn, target, now).await?,
    };
    let project = conversation.project_id;
    if let Some(content) = new_question.filter(|_| known.is_none()) {
        let parent = match &turn.target {
            Target::New { parent, .. } => find_parent(tx, &conversation, *parent).await?,
            Target::Reworded { message, .. } => {
                message::get(tx.orm(), caller.user, *message)
                    .await?
                    .parent_id
            }
            Target::Anew(_) | Target::Onward(_) => None,
        };
        if let Some(parent) = parent {
            message::check_followed(tx, conversation.id, parent).await?;
        }
        let shown = content.attachments();
        if !shown.is_empty() {
            let unusable = attachment::find_unusable(tx, caller.user, conversation.id, &shown);
            if !unusable.await?.is_empty() {
                return Err(Error::NotFound("attachment"));
            }
        }
        let new = New {
            parent,
            role: Role::User,
            content,
            token_count,
            client_id: turn.client_id.clone(),
        };
        let begun = message::begin_answer(tx, conversation, Asked::New(new), answer, now).await?;
        let (question, row) = begun;
        let question = question.expect("it is new");
        return Ok(begin_with(question, row, None, project));
    }
    if let Target::Onward(id) = &turn.target {
        let row = message::get(tx.orm(), caller.user, *id).await?;
        let question = question_of(tx, caller, &row).await?;
        let begun = row.content.text();
        let row = message::begin_again(tx, &conversation, row, answer).await?;
        return Ok(begin_with(question, row, Some(begun), project));
    }
    let question = match (known, &turn.target) {
        (Some(row), _) => row,
        (None, Target::Anew(id)) => {
            let row = message::get(tx.orm(), caller.user, *id).await?;
            question_of(tx, caller, &row).await?
        }
        (None, _) => unreachable!("a new question was stored above"),
    };
    let asked = Asked::Known(question.id);
    let (_, row) = message::begin_answer(tx, conversation, asked, answer, now).await?;
    Ok(begin_with(question, row, None, project))
}

fn begin_with(
    question: message::Model,
    row: message::Model,
    begun: Option<String>,
    project: Option<ProjectId>,
) -> Written {
    Written::Begun(Box::new(WrittenAnswer {
        question,
        row,
        begun,
        project,
    }))
}

pub(super) fn content(text: &str, attachments: &[AttachmentId]) -> Content {
    let text = (!text.is_empty()).then(|| Part::Text {
        text: text.to_owned(),
    });
    let attachments = attachments
        .iter()
        .map(|id| Part::Attachment { attachment_id: *id });
    Content(text.into_iter().chain(attachments).collect())
}

async fn begin_conversation(
    tx: &mut Write,
    caller: &Caller,
    turn: &Turn,
    target: &Target,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<conversation::Model> {
    let Target::New {
        project,
        system_prompt,
        ..
    } = target
    else {
        unreachable!("every other message has a conversation");
    };
    if let Some(project) = project {
        project::hold(tx, caller.user, *project).await?;
    }
    let settings = conversation::Settings {
        project: *project,
        system_prompt: system_prompt.clone(),
        model: turn.model.clone(),
        ..conversation::Settings::default()
    };
    Ok(conversation::create(tx, caller.user, settings, now).await?)
}

/// The message that is answered: itself, or the one above an answer.
async fn question_of(
    tx: &mut Write,
    caller: &Caller,
    row: &message::Model,
) -> Result<message::Model> {
    let question = match (row.role, row.parent_id) {
        (Role::User, _) => return Ok(row.clone()),
        (Role::Assistant, Some(_)) => message::get_question(tx.orm(), caller.user, row).await,
        _ => return Err(Refusal::MessageNotAnswerable.into()),
    };
    match question {
        Ok(question) if question.role == Role::User => Ok(question),
        Ok(_) | Err(database::Error::NotFound(_)) => Err(Refusal::MessageNotAnswerable.into()),
        Err(error) => Err(error.into()),
    }
}

/// An answer that is stored as one that is being made.
pub(super) struct Stored {
    pub(super) question: message::Model,
    pub(super) row: message::Model,
    /// What was said of it before.
    pub(super) begun: Option<String>,
    pub(super) project: Option<ProjectId>,
    /// This making of it.
    pub(super) generation: Uuid,
    /// The stamp of the conversation when it was begun.
    pub(super) stamp: i64,
    /// The key that is used first, if it is picked already.
    pub(super) first: Option<Picked>,
    /// Whether the first attempt is stored with it.
    pub(super) is_noted: bool,
}

/// Stores that the answer is being made, which is asked for with the `first` key.
///
/// # Errors
/// As the database fails.
pub(super) async fn store(
    app: &App,
    caller: &Caller,
    mut tx: Write,
    asked: WrittenAnswer,
    choice: &Choice,
    mut first: Option<Picked>,
) -> Result<Stored> {
    let WrittenAnswer {
        question,
        row,
        begun,
        project,
    } = asked;
    // Whoever waits for attachments asks nobody yet, and later with another key.
    let is_noted = question.content.attachments().is_empty();
    let input = u32::try_from(question.token_count).unwrap_or_default();
    let attempt = choice.attempt(app, first.as_ref(), input);
    if !is_noted && let Some(picked) = first.take() {
        app.providers.unused(&picked).await;
    }
    let new = generation::New {
        message: row.id,
        id: Uuid::new_v4(),
        conversation: row.conversation_id,
        user: caller.user,
        instance: app.chat.instance(),
        text: begun.clone().unwrap_or_default(),
        attempts: is_noted.then_some(attempt).into_iter().collect(),
    };
    let generation = new.id;
    let known = Known::of(&row, new.text.len());
    let stored = async {
        generation::begin(&mut tx, new, app.clock.now()).await?;
        let stamp = context_stamp::find(tx.orm(), row.conversation_id).await?;
        tx.answer(StatusCode::OK, &known).await?;
        Ok::<i64, Error>(stamp)
    };
    let stamp = match stored.await {
        Ok(stamp) => stamp,
        Err(error) => {
            if let Some(picked) = &first {
                app.providers.unused(picked).await;
            }
            return Err(error);
        }
    };
    Ok(Stored {
        question,
        row,
        begun,
        project,
        generation,
        stamp,
        first,
        is_noted,
    })
}
