//! Where an answer is given: a conversation, one that is begun, and the project of either.

use shared::models::{conversation, message, project};

use super::turn::Target;
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

/// What the model is told first: by the request, the conversation, its project, or the deployment.
pub(super) fn system_prompt(app: &App, target: &Target, place: &Place) -> Option<String> {
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
