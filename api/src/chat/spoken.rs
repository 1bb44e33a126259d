//! Turns of conversations for those who do not speak the language of `/api/v1`.

use std::sync::Arc;

use shared::{
    ids::{ConversationId, MessageId},
    models::message,
};

use super::{
    answer::Options,
    dto,
    events::Reader,
    failure::stopped,
    told::Heard,
    tools::dto::ToolsWanted,
    turn::{Target, Turn, begin},
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Result},
    messages::send_message::Parent,
    middleware::RequestId,
};

/// Something that is said in a conversation, and answered there.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// What.
    pub(crate) text: String,
    /// What the model is told first; none for what the conversation says.
    pub(crate) system_prompt: Option<String>,
    /// Who answers; none for the conversation's.
    pub(crate) model: Option<String>,
    /// How free the answer is.
    pub(crate) temperature: Option<f64>,
    /// Most tokens of the answer.
    pub(crate) max_tokens: Option<u32>,
    /// Whether the answer is heard word by word.
    pub(crate) is_streamed: bool,
}

/// Somebody who follows the answer, which is made to its end in any case.
pub(crate) struct Following {
    /// The answer.
    pub(crate) id: MessageId,
    /// Where it is.
    pub(crate) conversation: ConversationId,
    /// Who answers.
    pub(crate) model: String,
    reader: Reader,
}

/// What comes next.
pub(crate) enum Next {
    /// More words.
    Words(String),
    /// Nothing for a while.
    Silence,
    /// The end.
    End(Arc<message::Model>),
    /// It cannot be followed any more.
    Lost(Error),
}

/// Says something, and has it answered.
///
/// # Errors
/// As `POST /api/v1/chat/completions`.
pub(crate) async fn speak(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    spoken: Spoken,
) -> Result<Following> {
    let turn = Turn {
        target: Target::New {
            conversation: Some(spoken.conversation),
            parent: Parent::Current,
            project: None,
            system_prompt: spoken.system_prompt,
            text: spoken.text,
            attachments: Vec::new(),
        },
        model: spoken.model,
        options: Options {
            temperature: spoken.temperature,
            max_tokens: spoken.max_tokens,
        },
        tools: ToolsWanted::Nothing,
        client_id: None,
        is_streamed: spoken.is_streamed,
    };
    let begun = begin(app, caller, request, turn).await?;
    Ok(Following {
        id: begun.started.message_id,
        conversation: begun.started.conversation_id,
        model: begun.started.model.unwrap_or_default(),
        reader: begun.reader,
    })
}

impl Following {
    /// Waits for more.
    pub(crate) async fn next(&mut self) -> Next {
        let silence = self.reader.app.config.chat.keep_alive;
        loop {
            match tokio::time::timeout(silence, self.reader.hear()).await {
                Err(_) => return Next::Silence,
                Ok(Heard::More(pieces)) => {
                    let words = pieces.into_iter().map(|(text, _)| text);
                    return Next::Words(words.collect());
                }
                Ok(Heard::Tool(_)) => {}
                Ok(Heard::End(row)) => return Next::End(row),
                Ok(Heard::Gone) => {
                    if let Err(error) = self.reader.find_again().await {
                        return Next::Lost(error);
                    }
                }
            }
        }
    }
}

/// Why an answer was not made to its end; none where it was. What its user has stopped elsewhere is no whole answer either.
pub(crate) fn failure_of(row: &message::Model) -> Option<message::Failure> {
    match row.status {
        message::Status::Failed | message::Status::Interrupted => Some(dto::failure(row)),
        message::Status::Cancelled => Some(stopped()),
        message::Status::Streaming | message::Status::Completed => None,
    }
}
