//! Where an answer is given: a conversation, one that is begun, and the project of either; and what follows from that for
//! what the model is told.

use shared::{
    catalogue::Model,
    context::Limits,
    models::{conversation, message, project},
    tokens::Measure,
};

use super::{
    route::Choice,
    turn::{Target, Turn},
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Result},
};

/// Where an answer is given.
pub(super) struct Place {
    /// None where the conversation is begun with it.
    pub(super) conversation: Option<conversation::Model>,
    pub(super) project: Option<project::Model>,
}

/// Finds where the answer is given, and whether the caller may ask there.
///
/// # Errors
/// [`Error::NotFound`], and as the database fails.
pub(super) async fn place(app: &App, caller: &Caller, target: &Target) -> Result<Place> {
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

/// Messages of a conversation after which nobody names it any more, if nobody could so far.
const NAMED_WITHIN: i64 = 4;

/// How an answer is made there.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// What the model is told first.
    pub(super) system: Option<String>,
    /// How much goes along with the question.
    pub(super) limits: Limits,
    /// How the model counts.
    pub(super) measure: Measure,
    /// Whether a model shall name the conversation.
    pub(super) wants_title: bool,
}

/// Finds how the answer is made.
pub(super) fn setting(app: &App, turn: &Turn, place: &Place, choice: &Choice) -> Setting {
    let of_request = match &turn.target {
        Target::New { system_prompt, .. } => system_prompt.clone(),
        _ => None,
    };
    let conversation = place.conversation.as_ref();
    let may_be_named = conversation.is_none_or(|conversation| {
        conversation.title.is_none()
            && !conversation.title_by_user
            && conversation.message_count <= NAMED_WITHIN
    });
    Setting {
        system: of_request.or_else(|| instructions(app, place)),
        limits: limits(app, conversation, Some(choice), turn.options.max_tokens),
        measure: choice.measure(app),
        wants_title: app.config.chat.auto_title && may_be_named,
    }
}

/// What models are told first, where the request says nothing: by the conversation, its project, or the deployment.
pub(super) fn instructions(app: &App, place: &Place) -> Option<String> {
    let of_conversation = place
        .conversation
        .as_ref()
        .and_then(|conversation| conversation.system_prompt.clone());
    let of_project = || place.project.as_ref()?.instructions.clone();
    of_conversation
        .or_else(of_project)
        .or_else(|| app.config.chat.default_system_prompt.clone())
}

/// How much goes along with a question: what the conversation, the model or the deployment says, and no more than the model
/// takes beside its answer, which may have `longest` tokens if the request says so.
pub(super) fn limits(
    app: &App,
    conversation: Option<&conversation::Model>,
    choice: Option<&Choice>,
    longest: Option<u32>,
) -> Limits {
    let config = &app.config.chat;
    let model = match choice {
        Some(Choice::Model(model, _)) => Some(model),
        Some(Choice::Echo) | None => None,
    };
    let of_conversation = |number: Option<i32>| number.map(i32::unsigned_abs);
    let tokens = conversation.and_then(|row| of_conversation(row.context_max_tokens));
    let messages = conversation.and_then(|row| of_conversation(row.context_max_messages));
    let tokens = tokens
        .or(model.and_then(|model| model.context_max_tokens))
        .unwrap_or(config.context_max_tokens);
    Limits {
        tokens: tokens.min(model.map_or(u32::MAX, |model| most_sent(model, longest))),
        messages: messages.unwrap_or(config.context_max_messages),
        recent: config.context_keep_recent,
    }
}

/// Most tokens that a model can be sent beside its answer, which may have `longest` tokens if the request says so.
pub(super) fn most_sent(model: &Model, longest: Option<u32>) -> u32 {
    let answer = longest.unwrap_or(0).min(model.max_output_tokens);
    model
        .most_context()
        .min(model.context_tokens.saturating_sub(answer))
}
