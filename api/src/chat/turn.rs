//! Beginning an answer: what is asked is checked and stored, and then a task of its own makes the answer.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use shared::{
    database::Origin,
    ids::{AttachmentId, ConversationId, MessageId, ProjectId},
    models::message::{self, Role},
    providers::Picked,
    tools::Tool,
};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    answer::{Making, Options},
    dto::{MESSAGE_MAX, Started},
    events::{Reader, listen},
    place::{Place, Setting, place, setting},
    prompt, quick, relay,
    route::{self, Choice},
    store::{Stored, Written, store, write},
    told::{At, Listener},
    tools::dto::ToolsWanted,
    tries::Tries,
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Result},
    messages::send_message::Parent,
    middleware::RequestId,
    usage::admit,
};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) target: Target,
    /// The model that is asked for.
    pub(super) model: Option<String>,
    pub(super) options: Options,
    /// Tools that the model may call.
    pub(super) tools: ToolsWanted,
    /// The client's own id of the message.
    pub(super) client_id: Option<String>,
    /// Whether the client hears the answer word by word.
    pub(super) is_streamed: bool,
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

/// Begins an answer. A client that goes away meanwhile leaves none half begun.
pub(super) async fn begin(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    turn: Turn,
) -> Result<Begun> {
    let (owned, caller, request) = (app.clone(), *caller, request.clone());
    let beginning = async move {
        let began = Instant::now();
        let asking = Asking {
            app: &owned,
            caller: &caller,
            request: &request,
            began,
        };
        Box::pin(asking.begin(turn)).await
    };
    let begun = app.tasks.spawn(beginning.in_current_span()).await;
    begun.map_err(anyhow::Error::from)?
}

/// The key that was picked before; none where nobody needs one.
struct Early(Option<Picked>);

/// Who asks.
#[derive(Clone, Copy)]
struct Asking<'a> {
    app: &'a App,
    caller: &'a Caller,
    request: &'a RequestId,
    /// Since when.
    began: Instant,
}

impl Asking<'_> {
    async fn begin(self, turn: Turn) -> Result<Begun> {
        let Self {
            app,
            caller,
            request,
            ..
        } = self;
        check_length(&turn.target)?;
        // A server of tools may be waited for, so this comes before anything is held; what is wrong with them is told later.
        let tools = turn.tools.find(app).await;
        let place = place(app, caller, &turn.target).await;
        let choice = place.as_ref().ok().map(|place| {
            let of_conversation = place.conversation.as_ref();
            let of_conversation =
                of_conversation.and_then(|conversation| conversation.model.as_deref());
            route::choose(app, turn.model.as_deref().or(of_conversation))
        });
        let token_count = match &turn.target {
            Target::New { text, .. } | Target::Reworded { text, .. } if place.is_ok() => {
                let tokens = &app.tokens;
                tokens
                    .count_message(Role::User.as_str(), text.clone())
                    .await
            }
            _ => 0,
        };
        // Picked at most once: whoever takes turns must not be passed over.
        let mut first = None;
        if let (Ok(place), Some(Ok(choice))) = (&place, &choice)
            && let Ok(tools) = &tools
            && let Some(new) = quick::turn(app, caller, &turn, token_count, place, choice)
            && request.repeatable.is_none()
        {
            admit(app, &app.db, caller.user).await?;
            let picked = choice.pick(app).await?;
            match quick::begin(app, new, choice, picked.as_ref()).await {
                Ok(Some(begun)) => {
                    let stored = Stored {
                        first: picked,
                        ..begun
                    };
                    let setting = setting(app, &turn, place, choice);
                    let begun = self.make(choice.clone(), &turn, tools.clone(), stored, setting);
                    // Whoever waits for the whole answer is told of nothing before its end is stored, and this with it.
                    if turn.is_streamed {
                        app.chat.flush(begun.started.message_id).await?;
                    }
                    return Ok(begun);
                }
                Ok(None) => first = Some(Early(picked)),
                Err(error) => {
                    if let Some(picked) = picked {
                        app.providers.unused(&picked).await;
                    }
                    return Err(error);
                }
            }
        }
        let begun = self.begin_alone(&turn, place, choice, token_count, tools, &mut first);
        let begun = begun.await;
        if let Some(Early(Some(picked))) = first {
            app.providers.unused(&picked).await;
        }
        begun
    }

    /// Begins an answer in a transaction of its own. `first` is the key that is picked already, and is taken if it is used.
    async fn begin_alone(
        self,
        turn: &Turn,
        place: Result<Place>,
        choice: Option<Result<Choice>>,
        token_count: u32,
        tools: Result<Vec<Arc<Tool>>>,
        first: &mut Option<Early>,
    ) -> Result<Begun> {
        let Self {
            app,
            caller,
            request,
            ..
        } = self;
        // A repetition is answered like the first request, whatever has gone since: so this comes before what is refused.
        let mut tx = match app.begin(caller, request).await {
            Err(Error::Repeated(answer)) => return resume(app, caller, &answer).await,
            tx => tx?,
        };
        let (place, choice) = (place?, choice.transpose()?);
        let choice = choice.expect("there is one wherever there is a place");
        let setting = setting(app, turn, &place, &choice);
        let asked = match write(app, caller, &mut tx, turn, token_count, place, &choice).await? {
            Written::Known(row) => {
                tx.answer(StatusCode::OK, &Known::of(&row, 0)).await?;
                return follow(app, caller, *row, At::default());
            }
            Written::Begun(written) => *written,
        };
        let tools = tools?;
        let first = if let Some(Early(first)) = first.take() {
            first
        } else {
            admit(app, tx.orm(), caller.user).await?;
            choice.pick(app).await?
        };
        let stored = store(app, caller, tx, asked, &choice, first).await?;
        Ok(self.make(choice, turn, tools, stored, setting))
    }

    /// Has an answer made.
    fn make(
        self,
        choice: Choice,
        turn: &Turn,
        tools: Vec<Arc<Tool>>,
        stored: Stored,
        setting: Setting,
    ) -> Begun {
        let Self {
            app,
            caller,
            request,
            began,
        } = self;
        let Stored { row, .. } = stored;
        let started = Started::from(&row);
        let text = stored.begun.clone().unwrap_or_default();
        let id = stored.generation;
        let (speaker, stopped) = app.chat.live().begin(row.id, id, text);
        let at = At::from(speaker.len());
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
                question: stored.question,
                begun: stored.begun,
                system: setting.system,
                sees_pictures: choice.sees_pictures(),
                stamp: stored.stamp,
                limits: setting.limits,
                measure: setting.measure,
                with_tools: !tools.is_empty(),
                tool_tokens: 0,
                reserved: 0,
            },
            choice,
            options: turn.options,
            project: stored.project,
            stopped,
            began,
            context: message::AnswerContext::default(),
            left: None,
            wants_title: setting.wants_title,
            tools,
            exchange: Vec::new(),
            open: None,
            tools_time: Duration::ZERO,
            is_doubtful: false,
            tries: Tries {
                first: stored.first,
                is_noted: stored.is_noted,
                ..Tries::new(app, row.id, id, speaker)
            },
            row,
        };
        app.chat.make(making.run());
        Begun { reader, started }
    }
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

/// What is kept of an answer for a repetition of its request.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    message_id: MessageId,
    /// Where its events begin.
    at: usize,
}

impl Known {
    pub(super) fn of(row: &message::Model, at: usize) -> Self {
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

/// Reads an answer from a place on, wherever it is made.
pub(super) fn follow(
    app: &App,
    caller: &Caller,
    row: message::Model,
    at: impl Into<At>,
) -> Result<Begun> {
    let (id, started) = (row.id, Started::from(&row));
    if row.role != Role::Assistant {
        return Err(Error::NotFound("answer"));
    }
    let listener = listen(app, caller.user, row, at.into());
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
