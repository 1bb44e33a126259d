//! Questions that are turns of a conversation.

use axum::response::Response;
use serde_json::Value;
use shared::ids::ConversationId;

use super::{
    chunks::Chunks,
    fault::{Fault, Result},
    messages::{self, plain_text},
    request::Request,
    stream, whole,
};
use crate::{
    app::App,
    caller::Caller,
    chat::spoken::{Spoken, speak},
    extract::Room,
    middleware::RequestId,
};

/// Longest instructions of one request, in characters; as at `POST /api/v1/chat/completions`.
const INSTRUCTIONS_MAX: usize = 32_000;

/// Says the last message in the conversation, and answers with what is answered there.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    conversation: ConversationId,
    mut asked: Request,
    room: Room,
) -> Result<Response> {
    let (text, system_prompt) = question(&asked.messages)?;
    let (is_stream, wants_usage) = (asked.is_stream, asked.wants_usage);
    let spoken = Spoken {
        conversation,
        text,
        system_prompt,
        temperature: asked.temperature(),
        max_tokens: asked.max_tokens(),
        is_streamed: is_stream,
        model: asked.model.take(),
    };
    // The rest may be large, and nobody looks at it any more.
    drop((asked, room));
    let following = speak(app, caller, request, spoken).await?;
    let created = app.clock.now().timestamp();
    let mut chunks = Chunks::new(following.id, created, following.model.clone())
        .of_conversation(following.conversation);
    if is_stream {
        chunks.wants_usage = wants_usage;
        stream::followed(following, chunks).await
    } else {
        whole::followed(following, &chunks).await
    }
}

/// The question, which is said last, and the instructions for its answer.
fn question(all: &[Value]) -> Result<(String, Option<String>)> {
    let said = messages::read(all)?;
    let at = all.len() - 1;
    let last = &all[at];
    let here = format!("messages[{at}]");
    if last["role"] != "user" {
        let message = "With 'conversation_id', the last message must be the user's.";
        return Err(Fault::invalid(format!("{here}.role"), message).into());
    }
    if let Some(picture) = said.picture.filter(|picture| picture.starts_with(&here)) {
        let message =
            "With 'conversation_id', pictures are not supported: upload them to the conversation.";
        return Err(Fault::unsupported(picture, message).into());
    }
    let text = plain_text(last).unwrap_or_default();
    if text.trim().is_empty() {
        let message = "With 'conversation_id', the last message must not be empty.";
        return Err(Fault::invalid(format!("{here}.content"), message).into());
    }
    let is_instruction = |message: &&Value| {
        let role = &message["role"];
        role == "system" || role == "developer"
    };
    let instructions: Vec<String> = all
        .iter()
        .filter(is_instruction)
        .filter_map(plain_text)
        .collect();
    let instructions = instructions.join("\n\n");
    if instructions.chars().count() > INSTRUCTIONS_MAX {
        let message = format!("Instructions may have at most {INSTRUCTIONS_MAX} characters.");
        return Err(Fault::invalid("messages", message).into());
    }
    let is_said = !instructions.trim().is_empty();
    Ok((text, is_said.then_some(instructions)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_message_is_the_question() {
        let (text, system) = question(&[
            json!({ "role": "system", "content": "Be brief." }),
            json!({ "role": "user", "content": "Hi" }),
            json!({ "role": "assistant", "content": "Hello." }),
            json!({ "role": "user", "content": [{ "type": "text", "text": "How are you?" }] }),
        ])
        .unwrap();
        assert_eq!(text, "How are you?");
        assert_eq!(system.as_deref(), Some("Be brief."));
        let (_, system) = question(&[json!({ "role": "user", "content": "Hi" })]).unwrap();
        assert_eq!(system, None);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let picture =
            json!([{ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } }]);
        for last in [
            json!({ "role": "assistant", "content": "Hello." }),
            json!({ "role": "user", "content": " " }),
            json!({ "role": "user", "content": picture }),
        ] {
            assert!(question(std::slice::from_ref(&last)).is_err(), "{last}");
        }
    }
}
