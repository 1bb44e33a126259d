//! Calls of tools for earlier answers, and what came of them, as a model is shown them again.

use shared::{
    clients::chat::{Part, Said, Speaker, ToolCall},
    context::{OfTools, Size},
    models::message,
    tokens::Encoding,
};

use super::super::prompt::sized;

/// A message with calls, or of a tool; of the latter as much as is sent.
pub(in crate::chat) async fn said(encoding: Encoding, one: &OfTools, size: Size) -> Said {
    let mut said = Said {
        by: Speaker::Assistant,
        parts: Vec::with_capacity(one.content.0.len()),
    };
    for part in &one.content.0 {
        let part = match part {
            message::Part::Text { text } => Part::Text(text.clone()),
            // Neither of them shows one.
            message::Part::Attachment { .. } => continue,
            message::Part::ToolCall {
                call_id,
                name,
                arguments,
            } => Part::Call(ToolCall {
                id: call_id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
                // Providers want it back within a turn only.
                extra: None,
            }),
            message::Part::ToolResult {
                call_id, output, ..
            } => {
                said.by = Speaker::Tool;
                Part::Result {
                    call_id: call_id.clone(),
                    text: sized(encoding, output.clone(), size).await,
                }
            }
        };
        said.parts.push(part);
    }
    said
}
