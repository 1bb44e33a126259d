//! Multipart uploads that nobody finished. opendal can neither find nor end those of another process.

use std::fmt;

use anyhow::anyhow;
use http::{Method, StatusCode};
use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::{Error, bucket::REQUEST_TIMEOUT};
use crate::config::BucketConfig;

/// Parts that were on their way may arrive after their upload was aborted (S3's `AbortMultipartUpload`), so it is
/// looked for again.
const ROUNDS: usize = 4;
/// Bytes of a refusal that are worth logging.
const REFUSAL_BYTES: usize = 1000;

/// Finds and ends multipart uploads of a bucket.
pub(super) struct Unfinished {
    http: reqwest::Client,
    signer: Signer<Credential>,
    bucket_url: String,
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unfinished({})", self.bucket_url)
    }
}

/// `ListMultipartUploads`' answer (S3 API 2006-03-01), as far as it is of use.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMultipartUploadsResult {
    #[serde(default)]
    upload: Vec<MultipartUpload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MultipartUpload {
    key: String,
    upload_id: String,
}

impl Unfinished {
    pub(super) fn new(http: reqwest::Client, config: &BucketConfig, bucket_url: String) -> Self {
        let credentials = StaticCredentialProvider::new(
            &config.access_key_id,
            config.secret_access_key.expose_secret(),
        );
        let signing = RequestSigner::new("s3", &config.region);
        Self {
            http,
            signer: Signer::new(Context::new(), credentials, signing),
            bucket_url,
        }
    }

    /// Ends every unfinished upload of an object.
    pub(super) async fn abort_all(&self, key: &str) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let ids = self.list(key).await?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                self.abort(key, &id).await?;
            }
        }
        Err(Error::Failed(anyhow!(
            "parts of {key} are there again and again"
        )))
    }

    async fn list(&self, key: &str) -> Result<Vec<String>, Error> {
        let url = format!("{}?prefix={}&uploads=", self.bucket_url, encoded(key));
        let (status, body) = self.send(Method::GET, &url).await?;
        // A store without them has none.
        if status == StatusCode::NOT_IMPLEMENTED {
            return Ok(Vec::new());
        }
        check(status, &body)?;
        let found: ListMultipartUploadsResult =
            quick_xml::de::from_str(&body).map_err(|error| Error::Failed(error.into()))?;
        let ours = found.upload.into_iter().filter(|upload| upload.key == key);
        Ok(ours.map(|upload| upload.upload_id).collect())
    }

    async fn abort(&self, key: &str, id: &str) -> Result<(), Error> {
        let url = format!("{}/{key}?uploadId={}", self.bucket_url, encoded(id));
        let (status, body) = self.send(Method::DELETE, &url).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        check(status, &body)
    }

    async fn send(&self, method: Method, url: &str) -> Result<(StatusCode, String), Error> {
        let send = async {
            let request = http::Request::builder().method(method).uri(url);
            let (mut head, ()) = request.body(())?.into_parts();
            self.signer.sign(&mut head, None).await?;
            let request = http::Request::from_parts(head, Vec::new());
            let mut request = reqwest::Request::try_from(request)?;
            *request.timeout_mut() = Some(REQUEST_TIMEOUT);
            let response = self.http.execute(request).await?;
            anyhow::Ok((response.status(), response.text().await?))
        };
        send.await.map_err(Error::Failed)
    }
}

fn check(status: StatusCode, body: &str) -> Result<(), Error> {
    if status.is_success() {
        return Ok(());
    }
    let body: String = body.chars().take(REFUSAL_BYTES).collect();
    let refusal = anyhow!("status {status}: {body}");
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied(refusal),
        _ => Error::Failed(refusal),
    })
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_found_in_the_answer() {
        let answer = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>talks</Bucket><KeyMarker></KeyMarker><Prefix>objects/ab/abc</Prefix>
              <IsTruncated>false</IsTruncated>
              <Upload><Key>objects/ab/abc</Key><UploadId>one</UploadId>
                <Initiator><ID>x</ID></Initiator><StorageClass>STANDARD</StorageClass></Upload>
              <Upload><Key>objects/ab/abcd</Key><UploadId>two</UploadId></Upload>
            </ListMultipartUploadsResult>"#;
        let found: ListMultipartUploadsResult = quick_xml::de::from_str(answer).unwrap();
        let found: Vec<(&str, &str)> = found
            .upload
            .iter()
            .map(|upload| (upload.key.as_str(), upload.upload_id.as_str()))
            .collect();
        assert_eq!(
            found,
            [("objects/ab/abc", "one"), ("objects/ab/abcd", "two")]
        );
        let none =
            "<ListMultipartUploadsResult><Bucket>talks</Bucket></ListMultipartUploadsResult>";
        let none: ListMultipartUploadsResult = quick_xml::de::from_str(none).unwrap();
        assert!(none.upload.is_empty());
    }
}
