//! Beginning an answer: what is asked is checked and stored, and then a task of its own makes the answer.

use axum::http::StatusCode;
use shared::{
    database::{self, Origin, Refusal},
    ids::{AttachmentId, ConversationId, MessageId, ProjectId},
    models::{
        attachment, conversation, generation,
        message::{self, Asked, Content, New, NewAnswer, Part, Role},
        project,
    },
    tokens,
};
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    answer::{Making, Options},
    dto::{MESSAGE_MAX, Started},
    events::{Reader, listen},
    live::Listener,
    prompt, relay,
    route::{self, Choice},
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Result},
    messages::send_message::{Parent, find_parent},
    middleware::RequestId,
    write::Write,
};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) target: Target,
    /// The model that is asked for.
    pub(super) model: Option<String>,
    pub(super) options: Options,
    /// The client's own id of the message.
    pub(super) client_id: Option<String>,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Target {
    /// A new message, in a conversation or in one that is begun with it.
    New {
        conversation: Option<ConversationId>,
        parent: Parent,
        project: Option<ProjectId>,
        system_prompt: Option<String>,
        text: String,
        attachments: Vec<AttachmentId>,
    },
    /// Another wording of a message.
    Reworded {
        message: MessageId,
        text: String,
        attachments: Option<Vec<AttachmentId>>,
    },
    /// A message, or what an answer answers, anew.
    Anew(MessageId),
    /// An answer that was cut short.
    Onward(MessageId),
}

/// An answer that was begun, now or by the same request before.
pub(super) struct Begun {
    pub(super) reader: Reader,
    pub(super) started: Started,
}

/// Where an answer is given.
struct Place {
    /// None where the conversation is begun with it.
    conversation: Option<conversation::Model>,
    project: Option<project::Model>,
}

/// Begins an answer. A client that goes away meanwhile leaves none half begun.
pub(super) async fn begin(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    turn: Turn,
) -> Result<Begun> {
    let (owned, caller, request) = (app.clone(), *caller, request.clone());
    let beginning = async move { begin_now(&owned, &caller, &request, turn).await };
    let begun = app.tasks.spawn(beginning.in_current_span()).await;
    begun.map_err(anyhow::Error::from)?
}

async fn begin_now(app: &App, caller: &Caller, request: &RequestId, turn: Turn) -> Result<Begun> {
    let began = Instant::now();
    check_length(&turn.target)?;
    let place = place(app, caller, &turn.target).await;
    let choice = place.as_ref().ok().map(|place| {
        let of_conversation = place.conversation.as_ref();
        let of_conversation =
            of_conversation.and_then(|conversation| conversation.model.as_deref());
        route::choose(app, turn.model.as_deref().or(of_conversation))
    });
    let token_count = match &turn.target {
        Target::New { text, .. } | Target::Reworded { text, .. } if place.is_ok() => {
            tokens::count_message(Role::User.as_str(), text.clone()).await
        }
        _ => 0,
    };
    // A repetition is answered like the first request, whatever has gone since: so this comes before what is refused.
    let mut tx = match app.begin(caller, request).await {
        Err(Error::Repeated(answer)) => return resume(app, caller, &answer).await,
        tx => tx?,
    };
    let (place, choice) = (place?, choice.transpose()?);
    let choice = choice.expect("there is one wherever there is a place");
    let system = system_prompt(app, &turn.target, &place);
    let asked = match write(app, caller, &mut tx, &turn, token_count, place, &choice).await? {
        Written::Known(row) => {
            tx.answer(StatusCode::OK, &Known::of(&row, 0)).await?;
            return follow(app, caller, *row, 0);
        }
        Written::Begun(written) => *written,
    };
    let WrittenAnswer {
        question,
        row,
        begun,
        project,
    } = asked;
    let mut first = choice.pick(app).await?;
    // Whoever waits for attachments asks nobody yet, and later with another key.
    let is_noted = question.content.attachments().is_empty();
    let input = u32::try_from(question.token_count).unwrap_or_default();
    let attempt = choice.attempt(app, first.as_ref(), input);
    if !is_noted && let Some(picked) = first.take() {
        app.providers.unused(&picked).await;
    }
    let text = begun.clone().unwrap_or_default();
    let new = generation::New {
        message: row.id,
        id: Uuid::new_v4(),
        conversation: row.conversation_id,
        user: caller.user,
        instance: app.chat.instance(),
        text: text.clone(),
        attempts: is_noted.then_some(attempt).into_iter().collect(),
    };
    let id = new.id;
    let known = Known::of(&row, text.len());
    let stored = async {
        generation::begin(&mut tx, new, app.clock.now()).await?;
        tx.answer(StatusCode::OK, &known).await
    };
    if let Err(error) = stored.await {
        if let Some(picked) = &first {
            app.providers.unused(picked).await;
        }
        return Err(error);
    }

    let started = Started::from(&row);
    let (speaker, stopped) = app.chat.live().begin(row.id, id, text);
    let at = speaker.len();
    let reader = reader(app, caller, row.id, speaker.listener(at));
    let telling = relay::tell(app.clone(), row.id, id, speaker.listener(at));
    app.tasks.spawn(telling);
    let making = Making {
        app: app.clone(),
        origin: Origin {
            user: Some(caller.user),
            request_id: Some(request.id.clone()),
            traceparent: request.traceparent.clone(),
        },
        asked: prompt::Asked {
            user: caller.user,
            conversation: row.conversation_id,
            question,
            begun,
            system,
            sees_pictures: choice.sees_pictures(),
        },
        choice,
        options: turn.options,
        row,
        project,
        speaker,
        stopped,
        began,
        attempts: Vec::new(),
        context: message::AnswerContext::default(),
        asking: None,
        id,
        first,
        is_noted,
        using: None,
        thoughts: String::new(),
    };
    app.chat.make(making.run());
    Ok(Begun { reader, started })
}

fn check_length(target: &Target) -> Result<()> {
    let (text, has_attachments) = match target {
        Target::New {
            text, attachments, ..
        } => (text, !attachments.is_empty()),
        Target::Reworded {
            text, attachments, ..
        } => {
            // Those of the first wording are not known yet.
            let has_attachments = attachments.as_ref().is_none_or(|ids| !ids.is_empty());
            (text, has_attachments)
        }
        Target::Anew(_) | Target::Onward(_) => return Ok(()),
    };
    if text.chars().count() > MESSAGE_MAX {
        return Err(Error::TooLong {
            limit_characters: MESSAGE_MAX,
        });
    }
    if text.trim().is_empty() && !has_attachments {
        return Err(Error::field("/message", "must not be empty"));
    }
    Ok(())
}

/// Finds where the answer is given, and whether the caller may ask there.
async fn place(app: &App, caller: &Caller, target: &Target) -> Result<Place> {
    let (db, user) = (&app.db, caller.user);
    let (conversation, asked_project) = match target {
        Target::New {
            conversation: None,
            project,
            ..
        } => (None, *project),
        Target::New {
            conversation: Some(id),
            project,
            ..
        } => (Some(conversation::get(db, user, *id).await?), *project),
        Target::Reworded { message, .. } | Target::Anew(message) | Target::Onward(message) => {
            let row = message::get(db, user, *message).await?;
            let conversation = conversation::get(db, user, row.conversation_id).await?;
            (Some(conversation), None)
        }
    };
    let filed = match &conversation {
        Some(conversation) => conversation.project_id,
        None => asked_project,
    };
    if let (Some(_), Some(asked)) = (&conversation, asked_project)
        && asked_project != filed
    {
        project::get(db, user, asked).await?;
        return Err(Error::field(
            "/projectId",
            "is not the project of the conversation; it is only for a conversation that is begun",
        ));
    }
    let project = match filed {
        Some(id) => Some(project::get(db, user, id).await?),
        None => None,
    };
    Ok(Place {
        conversation,
        project,
    })
}

/// What the model is told first: by the request, the conversation, its project, or the deployment.
fn system_prompt(app: &App, target: &Target, place: &Place) -> Option<String> {
    let of_request = match target {
        Target::New { system_prompt, .. } => system_prompt.clone(),
        _ => None,
    };
    let of_conversation = || place.conversation.as_ref()?.system_prompt.clone();
    let of_project = || place.project.as_ref()?.instructions.clone();
    of_request
        .or_else(of_conversation)
        .or_else(of_project)
        .or_else(|| app.config.chat.default_system_prompt.clone())
}

/// What was found or stored.
enum Written {
    /// The answer to the same message, which was sent before.
    Known(Box<message::Model>),
    /// An answer that is to be made.
    Begun(Box<WrittenAnswer>),
}

struct WrittenAnswer {
    question: message::Model,
    row: message::Model,
    /// What was said before.
    begun: Option<String>,
    project: Option<ProjectId>,
}

/// Stores the question and the beginning of the answer.
async fn write(
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

fn content(text: &str, attachments: &[AttachmentId]) -> Content {
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
        (Role::Assistant, Some(parent)) => message::get(tx.orm(), caller.user, parent).await,
        _ => return Err(Refusal::MessageNotAnswerable.into()),
    };
    match question {
        Ok(question) if question.role == Role::User => Ok(question),
        Ok(_) | Err(database::Error::NotFound(_)) => Err(Refusal::MessageNotAnswerable.into()),
        Err(error) => Err(error.into()),
    }
}

/// What is kept of an answer for a repetition of its request.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    message_id: MessageId,
    /// Where its events begin.
    at: usize,
}

impl Known {
    fn of(row: &message::Model, at: usize) -> Self {
        Self {
            message_id: row.id,
            at,
        }
    }
}

/// Goes on with what the first request with the same `Idempotency-Key` began.
async fn resume(app: &App, caller: &Caller, answer: &Answer) -> Result<Begun> {
    let known: Known = serde_json::from_slice(answer.body()).map_err(anyhow::Error::from)?;
    let row = message::get(&app.db, caller.user, known.message_id).await?;
    follow(app, caller, row, known.at)
}

/// Reads an answer from a position on, wherever it is made.
pub(super) fn follow(app: &App, caller: &Caller, row: message::Model, at: usize) -> Result<Begun> {
    let (id, started) = (row.id, Started::from(&row));
    if row.role != Role::Assistant {
        return Err(Error::NotFound("answer"));
    }
    let listener = listen(app, caller.user, row, at);
    Ok(Begun {
        reader: reader(app, caller, id, listener),
        started,
    })
}

fn reader(app: &App, caller: &Caller, id: MessageId, listener: Listener) -> Reader {
    Reader {
        app: app.clone(),
        user: caller.user,
        id,
        listener,
    }
}
