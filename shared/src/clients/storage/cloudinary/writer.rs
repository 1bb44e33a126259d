//! An object on its way to Cloudinary.

use std::collections::BTreeMap;

use anyhow::anyhow;
use bytes::Bytes;
use reqwest::{
    header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue},
    multipart::Part,
};
use serde::Deserialize;

use super::{
    super::{Error, upload::Writer},
    LIMITED,
    account::Account,
    api,
    place::{self, Type},
};
use crate::keyring::random;

/// Bytes of a part. All but the last must have more than 5 MB. One waits until it is known whether it is the last, and
/// it is all that an upload has in memory.
const PART_BYTES: usize = 6 * 1024 * 1024;
/// Parts with the same value belong together.
const UPLOAD_ID: HeaderName = HeaderName::from_static("x-unique-upload-id");

/// What it says of an object that it has taken, as far as it is of use.
#[derive(Debug, Deserialize)]
struct Taken {
    #[serde(default = "yes")]
    done: bool,
    #[serde(default)]
    public_id: String,
    #[serde(default)]
    bytes: u64,
}

fn yes() -> bool {
    true
}

/// Sends an object in parts, each again where it did not arrive. What is small is one request.
pub(super) struct PartWriter {
    account: Account,
    key: String,
    upload_id: String,
    /// The part that waits; of one piece, as those that come may be tiny.
    part: Vec<u8>,
    /// Bytes that have been sent.
    sent: u64,
    /// The last part is on its way, or there.
    is_ending: bool,
}

impl PartWriter {
    pub(super) fn new(account: Account, key: &str) -> Self {
        Self {
            account,
            key: key.to_owned(),
            upload_id: hex::encode(random::<16>()),
            part: Vec::new(),
            sent: 0,
            is_ending: false,
        }
    }

    /// Of the last one alone it is known how long the whole is.
    async fn send(&mut self, is_last: bool) -> Result<Taken, Error> {
        let part = Bytes::from(std::mem::take(&mut self.part));
        let length = part.len() as u64;
        let (start, end) = (self.sent, self.sent + length);
        let total = if is_last {
            end.to_string()
        } else {
            "-1".to_owned()
        };
        let mut headers = HeaderMap::new();
        if start > 0 || !is_last {
            let range = format!("bytes {start}-{}/{total}", end - 1);
            for (name, value) in [(CONTENT_RANGE, &range), (UPLOAD_ID, &self.upload_id)] {
                let value = HeaderValue::from_str(value);
                headers.insert(name, value.expect("digits and letters make a header"));
            }
        }
        let kept = Type::of(&self.key);
        let url = self.account.call_url(kept, "upload");
        let response = api::ask(|| {
            let mut form = self.account.form(self.parameters(kept));
            let file = Part::stream_with_length(part.clone(), length).file_name("file");
            form = form.part("file", file);
            let request = self.account.http.post(&url).headers(headers.clone());
            request.multipart(form)
        });
        let taken = api::json(response.await?).await?;
        self.sent = end;
        Ok(taken)
    }

    /// The folder is for people who look at the account: to newer accounts an id with slashes is only a name.
    fn parameters(&self, kept: Type) -> BTreeMap<&'static str, String> {
        let mut parameters = BTreeMap::from([
            ("asset_folder", place::folder(&self.key).to_owned()),
            ("public_id", self.key.clone()),
        ]);
        if kept == Type::Image {
            // Made beside the object, and after the answer.
            parameters.insert("eager", LIMITED.to_owned());
            parameters.insert("eager_async", "true".to_owned());
        }
        parameters
    }
}

#[async_trait::async_trait]
impl Writer for PartWriter {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while self.part.len() + bytes.len() > PART_BYTES {
            let piece = bytes.split_to(PART_BYTES - self.part.len());
            self.part.extend_from_slice(&piece);
            self.send(false).await?;
        }
        self.part.extend_from_slice(&bytes);
        Ok(())
    }

    /// It is asked whether it has what was sent: an account can be told to change all that is uploaded.
    async fn finish(&mut self) -> Result<(), Error> {
        self.is_ending = true;
        let taken = self.send(true).await?;
        if !taken.done || taken.public_id != self.key || taken.bytes != self.sent {
            if !taken.public_id.is_empty() && taken.public_id != self.key {
                // Nobody would know its name.
                self.account
                    .destroy(Type::of(&self.key), &taken.public_id)
                    .await?;
            }
            return Err(api::failed(anyhow!(
                "{} bytes of {} were kept under another name or changed; the account's default upload preset must not \
                 do that",
                taken.bytes,
                self.sent
            )));
        }
        Ok(())
    }

    /// There is no object before its last part, and Cloudinary drops the others by itself.
    async fn abort(&mut self) -> Result<(), Error> {
        if self.is_ending {
            return Err(api::failed(anyhow!("the last part may have arrived")));
        }
        Ok(())
    }
}
