//! Storing an ordinary question together with those of others: words, and nothing that another transaction must know of.

use shared::{
    ids::ConversationId,
    models::{
        generation::Attempts,
        turn::{MOST_BYTES, NewConversation, NewTurn},
    },
    providers::Picked,
};

use super::{
    place::Place,
    route::Choice,
    store::{Stored, content},
    turn::{Target, Turn},
};
use crate::{app::App, caller::Caller, error::Result, messages::send_message::Parent};

/// What is stored of a question, if it is an ordinary one.
pub(super) fn turn(
    app: &App,
    caller: &Caller,
    turn: &Turn,
    token_count: u32,
    place: &Place,
    choice: &Choice,
) -> Option<NewTurn> {
    let Target::New {
        parent: Parent::Current,
        project: None,
        system_prompt,
        text,
        attachments,
        ..
    } = &turn.target
    else {
        return None;
    };
    let known = place.conversation.as_ref();
    let is_archived = known.is_some_and(|conversation| conversation.archived_at.is_some());
    if turn.client_id.is_some() || !attachments.is_empty() || text.len() > MOST_BYTES || is_archived
    {
        return None;
    }
    let begun = place.conversation.is_none().then(|| NewConversation {
        system_prompt: system_prompt.clone(),
        model: turn.model.clone(),
    });
    Some(NewTurn {
        conversation: known.map_or_else(ConversationId::new, |conversation| conversation.id),
        begun,
        user: caller.user,
        content: content(text, &[]),
        token_count,
        model: choice.id().to_owned(),
        provider: choice.first_provider().to_owned(),
        with_tools: turn.tools.may_be_called(app),
        instance: app.chat.instance(),
        attempts: Attempts::default(),
        at: app.clock.now(),
    })
}

/// Stores the question, which is asked with the `first` key. Nothing where it must be stored by itself.
///
/// # Errors
/// Where the database is away.
pub(super) async fn begin(
    app: &App,
    new: NewTurn,
    choice: &Choice,
    first: Option<&Picked>,
) -> Result<Option<Stored>> {
    let new = NewTurn {
        attempts: Attempts(vec![choice.attempt(app, first, new.token_count)]),
        ..new
    };
    match app.chat.begin(new).await {
        Ok(begun) => Ok(begun.map(|begun| Stored {
            question: begun.question,
            row: begun.answer,
            begun: None,
            project: begun.project,
            generation: begun.generation,
            stamp: begun.stamp,
            first: None,
            is_noted: true,
        })),
        Err(error) if error.is_away() => Err(error.into()),
        // It tells better what is wrong when it is stored by itself.
        Err(error) => {
            tracing::debug!(error = %error, "a question is stored by itself");
            Ok(None)
        }
    }
}
