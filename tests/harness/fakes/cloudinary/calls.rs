//! Calls of its API.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use axum::{
    extract::{FromRequest as _, Multipart, Request},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use shared::clock::Clock;

use super::{API_KEY, Answer, Refusal, SECRET, State, Stored, bad, lock, ok, refusal, transformed};

/// The least of a part that is not the last.
const PART_MIN_BYTES: usize = 5_000_000;
/// How old a timestamp may be, in seconds.
const STALE_SECONDS: i64 = 3600;

impl State {
    pub(super) async fn upload(&self, kept: &str, request: Request) -> Answer {
        let headers = request.headers().clone();
        let (parameters, file) = form(request).await?;
        check(&parameters)?;
        let file = file.ok_or_else(|| bad("Missing required parameter - file"))?;
        let public_id = parameters.get("public_id").ok_or_else(|| bad("no id"))?;
        let Some(whole) = self.whole(&headers, &file)? else {
            return Ok(ok(&json!({ "done": false, "bytes": 0 })));
        };
        if whole.is_empty() {
            return Err(bad("Empty file"));
        }
        let max_bytes = self.max_bytes.load(Ordering::SeqCst);
        if max_bytes > 0 && whole.len() as u64 > max_bytes {
            let (got, most) = (whole.len(), max_bytes);
            return Err(bad(&format!(
                "File size too large. Got {got}. Maximum is {most}."
            )));
        }
        let bytes = whole.len();
        let stored = Stored {
            bytes: whole.into(),
            created_at: Clock::System.now(),
            parameters: parameters.clone(),
        };
        let public_id = format!("{}{public_id}", lock(&self.preset));
        lock(&self.objects).insert((kept.to_owned(), public_id.clone()), stored);
        Ok(ok(
            &json!({ "public_id": public_id, "bytes": bytes, "resource_type": kept }),
        ))
    }

    /// All bytes of an upload when its last part has come; none before.
    fn whole(&self, headers: &HeaderMap, file: &Bytes) -> Result<Option<Vec<u8>>, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(range) = text("content-range") else {
            return Ok(Some(file.to_vec()));
        };
        let id = text("x-unique-upload-id").ok_or_else(|| bad("no id of the upload"))?;
        let numbers = || {
            let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (start, end) = range.split_once('-')?;
            let number = |text: &str| text.parse::<usize>().ok();
            Some((number(start)?, number(end)?, total.parse::<i64>().ok()?))
        };
        let (start, end, total) = numbers().ok_or_else(|| bad("Invalid Content-Range"))?;
        if end + 1 - start != file.len() {
            return Err(bad("the range and the part differ"));
        }
        let is_last = total >= 0;
        if !is_last && file.len() < PART_MIN_BYTES {
            return Err(bad("All parts except EOF-chunk must be larger than 5mb"));
        }
        let mut unfinished = lock(&self.unfinished);
        let parts = unfinished.entry(id.to_owned()).or_default();
        // A part may come again.
        if start > parts.len() {
            return Err(bad("a part is missing"));
        }
        parts.truncate(start);
        parts.extend_from_slice(file);
        if !is_last {
            return Ok(None);
        }
        let whole = unfinished.remove(id).expect("it was put there");
        if i64::try_from(whole.len()) == Ok(total) {
            Ok(Some(whole))
        } else {
            Err(bad("the total is wrong"))
        }
    }

    pub(super) async fn destroy(&self, kept: &str, request: Request) -> Answer {
        let (parameters, _) = form(request).await?;
        check(&parameters)?;
        if parameters
            .get("invalidate")
            .is_none_or(|given| given != "true")
        {
            return Err(bad("caches would keep it"));
        }
        let id = (kept.to_owned(), parameters["public_id"].clone());
        let gone = lock(&self.objects).remove(&id).is_some();
        Ok(ok(
            &json!({ "result": if gone { "ok" } else { "not found" } }),
        ))
    }

    pub(super) fn download(&self, kept: &str, query: &BTreeMap<String, String>) -> Answer {
        check(query)?;
        let now = Clock::System.now().timestamp();
        let expires = query
            .get("expires_at")
            .and_then(|at| at.parse::<i64>().ok());
        if expires.is_none_or(|expires| expires < now) {
            return Err(refusal(StatusCode::UNAUTHORIZED, "Link expired"));
        }
        let stored = self.find(kept, &query["public_id"])?;
        let bytes = transformed(&stored, query.get("transformation").map(String::as_str))?;
        let mut answer =
            ([(header::CONTENT_TYPE, content_type(kept, &bytes))], bytes).into_response();
        if query.get("attachment").is_some_and(|given| given == "true") {
            let name = query.get("target_filename").cloned().unwrap_or_default();
            let disposition = format!("attachment; filename=\"{name}\"");
            let disposition = disposition.parse().expect("a header");
            answer
                .headers_mut()
                .insert(header::CONTENT_DISPOSITION, disposition);
        }
        Ok(answer)
    }

    pub(super) fn list(
        &self,
        kept: &str,
        headers: &HeaderMap,
        query: &BTreeMap<String, String>,
    ) -> Answer {
        let credentials = BASE64_STANDARD.encode(format!("{API_KEY}:{SECRET}"));
        let given = headers.get(header::AUTHORIZATION);
        if given.is_none_or(|given| given.as_bytes() != format!("Basic {credentials}").as_bytes()) {
            return Err(refusal(StatusCode::UNAUTHORIZED, "Invalid credentials"));
        }
        let prefix = query.get("prefix").map_or("", String::as_str);
        let after = query.get("next_cursor").map_or("", String::as_str);
        let most: usize = query["max_results"].parse().expect("a number");
        assert!(most <= 500, "there are no larger pages");
        let objects = lock(&self.objects);
        let mut found = objects
            .iter()
            .filter(|((of, id), _)| of == kept && id.starts_with(prefix) && id.as_str() > after);
        let page: Vec<_> = found.by_ref().take(most).collect();
        let cursor = page.last().map(|((_, id), _)| id.clone());
        let resources: Vec<Value> = page
            .into_iter()
            .map(|((_, id), stored)| {
                let created_at = stored.created_at.to_rfc3339();
                json!({ "public_id": id, "bytes": stored.bytes.len(), "created_at": created_at })
            })
            .collect();
        let cursor = cursor.filter(|_| found.next().is_some());
        let mut page = json!({ "resources": resources });
        if let Some(cursor) = cursor {
            page["next_cursor"] = cursor.into();
        }
        Ok(ok(&page))
    }
}

/// The fields of a form, and its file.
async fn form(request: Request) -> Result<(BTreeMap<String, String>, Option<Bytes>), Refusal> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| bad("no form"))?;
    let (mut parameters, mut file) = (BTreeMap::new(), None);
    while let Some(field) = form.next_field().await.map_err(|_| bad("a broken form"))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            file = Some(field.bytes().await.map_err(|_| bad("a broken file"))?);
        } else {
            let text = field.text().await.map_err(|_| bad("a broken field"))?;
            parameters.insert(name, text);
        }
    }
    Ok((parameters, file))
}

/// Whether the parameters were signed by the owner, and not long ago.
fn check(parameters: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let given = |name: &str| parameters.get(name).map_or("", String::as_str);
    if given("api_key") != API_KEY {
        return Err(refusal(StatusCode::UNAUTHORIZED, "Invalid api_key"));
    }
    // A map is sorted.
    let signed: Vec<String> = parameters
        .iter()
        .filter(|(name, _)| !["api_key", "signature"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={}", value.replace('&', "%26")))
        .collect();
    let text = signed.join("&");
    let signed = format!("{text}{SECRET}");
    let good = [
        hex::encode(Sha1::digest(&signed)),
        hex::encode(Sha256::digest(&signed)),
    ];
    let signature = given("signature");
    if !good.iter().any(|good| good == signature) {
        let told = format!("Invalid Signature {signature}. String to sign - '{text}'.");
        return Err(refusal(StatusCode::UNAUTHORIZED, &told));
    }
    let at: i64 = given("timestamp")
        .parse()
        .map_err(|_| bad("no timestamp"))?;
    if (Clock::System.now().timestamp() - at).abs() > STALE_SECONDS {
        return Err(bad("Stale request"));
    }
    if given("type") != "authenticated" {
        return Err(bad("everybody could see it"));
    }
    Ok(())
}

fn content_type(kept: &str, bytes: &[u8]) -> &'static str {
    match bytes {
        [0xFF, 0xD8, ..] if kept == "image" => "image/jpeg",
        _ => "application/octet-stream",
    }
}
