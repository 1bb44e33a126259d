//! Pictures that a question only names: whoever answers it fetches them.
//!
//! A provider may be in the operator's own network, so a URL must not lead inside it. A redirect still may: who has such a
//! provider should keep it from following any.

use futures::{StreamExt as _, stream};
use serde_json::Value;
use shared::ids::UserId;
use url::Url;

use super::{
    fault::{Fault, Result},
    messages::{PICTURE, wrong},
};
use crate::{app::App, usage::admit};

/// Most URLs of a question, with what was said before it: each is looked up.
const MOST: usize = 50;
/// How many are looked up at once.
const AT_ONCE: usize = 4;

/// Has the URLs of pictures checked like any that a user gives us, and writes them as they were judged: a provider may read
/// other forms of them otherwise.
///
/// # Errors
/// As one of them is refused, there are too many, or the user may not ask at all.
pub(super) async fn check(app: &App, user: UserId, messages: &mut [Value]) -> Result<()> {
    let links = find(messages)?;
    if links.is_empty() {
        return Ok(());
    }
    // Nothing is looked up for who is refused in any case.
    admit(app, &app.db, user).await?;
    let checking: Vec<_> = links
        .iter()
        .map(|(_, url)| app.outbound.check_url(url))
        .collect();
    let mut checked = stream::iter(checking).buffered(AT_ONCE);
    for (param, _) in &links {
        if let Some(Err(refused)) = checked.next().await {
            let message = format!("Invalid value for '{param}': {refused}.");
            return Err(Fault::invalid(param, message).into());
        }
    }
    Ok(())
}

/// The URLs, each with its parameter.
fn find(messages: &mut [Value]) -> Result<Vec<(String, Url)>> {
    let mut links = Vec::new();
    for (index, message) in messages.iter_mut().enumerate() {
        let parts = message.get_mut("content").and_then(Value::as_array_mut);
        for (part_index, part) in parts.into_iter().flatten().enumerate() {
            let Some(Value::String(text)) = part.pointer_mut("/image_url/url") else {
                continue;
            };
            if text.starts_with("data:") {
                continue;
            }
            let param = format!("messages[{index}].content[{part_index}].image_url.url");
            if links.len() == MOST {
                let message =
                    format!("At most {MOST} pictures may be URLs: send the others as data: URLs.");
                return Err(Fault::unsupported(param, message).into());
            }
            let url: Url = text.parse().map_err(|_| wrong(&param, PICTURE))?;
            url.as_str().clone_into(text);
            links.push((param, url));
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openai::fault::Error;

    fn said(urls: &[&str]) -> Vec<Value> {
        let parts = urls
            .iter()
            .map(|url| json!({ "type": "image_url", "image_url": { "url": url } }));
        let content: Vec<Value> = parts.collect();
        vec![
            json!({ "role": "system", "content": "Be brief." }),
            json!({ "role": "assistant", "tool_calls": [] }),
            json!({ "role": "user", "content": content }),
        ]
    }

    #[test]
    fn urls_are_found_and_written_as_they_are_read() {
        let mut messages = said(&["data:image/png;base64,AA==", "https://1.1.1.1\\@10.0.0.1/a"]);
        let links = find(&mut messages).unwrap();
        let (param, url) = &links[0];
        assert_eq!(links.len(), 1);
        assert_eq!(param, "messages[2].content[1].image_url.url");
        assert_eq!(url.host_str(), Some("1.1.1.1"));
        let plain = ["data:image/png;base64,AA==", "https://1.1.1.1/@10.0.0.1/a"];
        assert_eq!(messages, said(&plain));
    }

    #[test]
    fn too_many_and_broken_ones_are_refused() {
        let many = ["https://example.com/a.png"; MOST + 1];
        assert!(find(&mut said(&many[1..])).is_ok());
        for (urls, param) in [
            (&many[..], "messages[2].content[50].image_url.url"),
            (&["https://"][..], "messages[2].content[0].image_url.url"),
        ] {
            let Err(Error::Fault(fault)) = find(&mut said(urls)) else {
                panic!("{urls:?} are taken");
            };
            assert_eq!(fault.body()["error"]["param"], param);
        }
    }
}
