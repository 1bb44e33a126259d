//! Messages of a question: what may be said, and by whom.

use serde_json::Value;

use super::fault::{Fault, Result};

/// Who speaks.
const ROLES: [&str; 5] = ["developer", "system", "user", "assistant", "tool"];
/// How a picture is told.
pub(super) const PICTURE: &str = "an http(s) URL, or a data: URL of an image";

/// What was found in messages.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Roles and texts, for counting.
    pub(super) texts: Vec<(&'static str, String)>,
    /// The first picture, as a parameter.
    pub(super) picture: Option<String>,
    /// Whether there is more than texts, of which nobody knows what providers count.
    pub(super) has_more: bool,
}

/// Reads messages.
///
/// # Errors
/// As one of them is wrong.
pub(super) fn read(messages: &[Value]) -> Result<Said> {
    if messages.is_empty() {
        let message = "Invalid 'messages': expected an array with at least one message.";
        return Err(Fault::invalid("messages", message).into());
    }
    let mut said = Said::default();
    for (index, message) in messages.iter().enumerate() {
        said.read(message, &format!("messages[{index}]"))?;
    }
    Ok(said)
}

/// The texts of a content, which is nothing else.
pub(super) fn plain_text(message: &Value) -> Option<String> {
    match &message["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
            Some(texts?.join("\n"))
        }
        _ => None,
    }
}

impl Said {
    fn read(&mut self, message: &Value, at: &str) -> Result<()> {
        if !message.is_object() {
            return Err(wrong(at, "an object").into());
        }
        let role = message["role"].as_str().unwrap_or_default();
        let Some(role) = ROLES.into_iter().find(|known| *known == role) else {
            let wanted = format!("one of {}", ROLES.join(", "));
            return Err(wrong(&format!("{at}.role"), &wanted).into());
        };
        let mut text = String::new();
        let has_calls = self.read_calls(message, role, at, &mut text)?;
        let content = format!("{at}.content");
        match &message["content"] {
            Value::String(said) => text.push_str(said),
            Value::Array(parts) if parts.is_empty() => {
                return Err(wrong(&content, "at least one part").into());
            }
            Value::Array(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    self.read_part(part, role, &format!("{content}[{index}]"), &mut text)?;
                }
            }
            // It only asks for calls, or says why not.
            Value::Null if has_calls || message["refusal"].is_string() => {}
            _ => return Err(wrong(&content, "a string or an array of parts").into()),
        }
        if role == "tool" && !message["tool_call_id"].is_string() {
            return Err(Fault::missing(format!("{at}.tool_call_id")).into());
        }
        self.has_more |= role == "tool" || message["name"].is_string();
        self.texts.push((role, text));
        Ok(())
    }

    /// Reads what an assistant wants to be called; tells whether there is something.
    fn read_calls(
        &mut self,
        message: &Value,
        role: &str,
        at: &str,
        text: &mut String,
    ) -> Result<bool> {
        let at = format!("{at}.tool_calls");
        let calls = match &message["tool_calls"] {
            Value::Null => return Ok(false),
            Value::Array(calls) if role == "assistant" => calls,
            _ => return Err(wrong(&at, "an array, and that in messages of an assistant").into()),
        };
        for (index, call) in calls.iter().enumerate() {
            let function = &call["function"];
            let parts = [&call["id"], &function["name"], &function["arguments"]];
            if !parts.iter().all(|part| part.is_string()) {
                let wanted = "a call with an id, and a function with name and arguments";
                return Err(wrong(&format!("{at}[{index}]"), wanted).into());
            }
            for part in &parts[1..] {
                text.push_str(part.as_str().unwrap_or_default());
                text.push('\n');
            }
        }
        self.has_more |= !calls.is_empty();
        Ok(!calls.is_empty())
    }

    fn read_part(&mut self, part: &Value, role: &str, at: &str, text: &mut String) -> Result<()> {
        let field = |name: &str| format!("{at}.{name}");
        let more = match part["type"].as_str().unwrap_or_default() {
            "text" => part["text"]
                .as_str()
                .ok_or_else(|| wrong(&field("text"), "a string"))?,
            "refusal" if role == "assistant" => part["refusal"]
                .as_str()
                .ok_or_else(|| wrong(&field("refusal"), "a string"))?,
            "image_url" if role == "user" => {
                let url = part["image_url"]["url"].as_str().unwrap_or_default();
                let is_url = ["https://", "http://", "data:image/"]
                    .iter()
                    .any(|start| url.starts_with(start));
                if !is_url {
                    return Err(wrong(&field("image_url.url"), PICTURE).into());
                }
                self.picture.get_or_insert_with(|| at.to_owned());
                self.has_more = true;
                return Ok(());
            }
            kind @ ("input_audio" | "file" | "image_url") => {
                let message = format!("Content of type '{kind}' is not supported here.");
                return Err(Fault::unsupported(field("type"), message).into());
            }
            _ => return Err(wrong(&field("type"), "text or image_url").into()),
        };
        text.push_str(more);
        text.push('\n');
        Ok(())
    }
}

/// A parameter is not what is expected.
pub(super) fn wrong(param: &str, wanted: &str) -> Fault {
    let message = format!("Invalid value for '{param}': expected {wanted}.");
    Fault::invalid(param, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openai::fault::Error;

    #[test]
    fn all_that_clients_say_is_taken() {
        let said = read(&[
            json!({ "role": "developer", "content": "Be brief." }),
            json!({ "role": "user", "content": [{ "type": "text", "text": "What is it?" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==", "detail": "low" } }] }),
            json!({ "role": "assistant", "content": null, "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "look", "arguments": "{}" } }] }),
            json!({ "role": "tool", "tool_call_id": "a", "content": [{ "type": "text", "text": "A cat." }] }),
            json!({ "role": "assistant", "content": "A cat.", "tool_calls": null }),
        ])
        .unwrap();
        assert_eq!(said.texts.len(), 5);
        assert_eq!(said.texts[0], ("developer", "Be brief.".to_owned()));
        assert_eq!(said.picture.as_deref(), Some("messages[1].content[1]"));
        assert!(said.has_more);
        let plain = read(&[json!({ "role": "user", "content": "Hi" })]).unwrap();
        assert!(!plain.has_more && plain.picture.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (message, param) in [
            (json!("Hi"), "messages[0]"),
            (json!({ "content": "Hi" }), "messages[0].role"),
            (
                json!({ "role": "function", "content": "Hi" }),
                "messages[0].role",
            ),
            (json!({ "role": "user" }), "messages[0].content"),
            (
                json!({ "role": "user", "content": [] }),
                "messages[0].content",
            ),
            (
                json!({ "role": "assistant", "content": null }),
                "messages[0].content",
            ),
            (
                json!({ "role": "tool", "content": "x" }),
                "messages[0].tool_call_id",
            ),
            (
                json!({ "role": "user", "content": [{ "type": "input_audio", "input_audio": {} }] }),
                "messages[0].content[0].type",
            ),
            (
                json!({ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "file:///etc" } }] }),
                "messages[0].content[0].image_url.url",
            ),
            (
                json!({ "role": "user", "content": "x", "tool_calls": [] }),
                "messages[0].tool_calls",
            ),
            (
                json!({ "role": "assistant", "tool_calls": [{ "id": "a" }] }),
                "messages[0].tool_calls[0]",
            ),
        ] {
            let Err(Error::Fault(fault)) = read(std::slice::from_ref(&message)) else {
                panic!("{message} is taken");
            };
            assert_eq!(fault.body()["error"]["param"], param, "{message}");
        }
        assert!(read(&[]).is_err());
    }
}
