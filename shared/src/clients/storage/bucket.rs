//! A bucket of a store that speaks S3.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, future, stream, stream::BoxStream};
use opendal::{
    EntryMode, HttpTransporter, OperationContext, Operator,
    layers::{RetryEvent, RetryLayer, TimeoutLayer},
    options::{ListOptions, ReadOptions, ReaderOptions, WriteOptions},
    services::S3,
};
use opendal_http_transport_reqwest::ReqwestTransport;
use secrecy::ExposeSecret as _;

use super::{Error, OBJECTS, Object, Shown, operated::Operated, unfinished::Unfinished};
use crate::config::BucketConfig;

/// Longest wait for a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of one request: a part that is sent, an answer that begins, or the next piece of it.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries after the first one. With them no single step takes longer than 92 s.
pub(super) const RETRIES: usize = 2;
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a part: the least that S3 takes. One waits while the one before is sent, so an upload has two of them in
/// memory; 10,000 make 48 GiB.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// A key that is asked for to see whether the store answers.
const NO_OBJECT: &str = "objects/none";

#[derive(Debug)]
pub(super) struct Bucket {
    operator: Operator,
    url: String,
    unfinished: Unfinished,
}

impl Bucket {
    pub(super) fn open(config: &BucketConfig) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        let place = Place::of(config);
        // Nothing but the configuration decides: neither other variables nor files nor Amazon's metadata servers.
        let mut service = S3::default()
            .bucket(&config.bucket)
            .region(&config.region)
            .endpoint(&place.endpoint)
            .access_key_id(&config.access_key_id)
            .secret_access_key(config.secret_access_key.expose_secret())
            .disable_config_load()
            .disable_ec2_metadata();
        if place.is_host {
            service = service.enable_virtual_host_style();
        }
        // Given to this operator alone: opendal's default transport is a static of the process.
        let transport = HttpTransporter::new(ReqwestTransport::new(http.clone()));
        let timeouts = TimeoutLayer::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_io_timeout(REQUEST_TIMEOUT);
        let retries = RetryLayer::new()
            .with_max_times(RETRIES)
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .with_notify(|event: RetryEvent<'_>| {
                tracing::warn!(
                    error = %event.err.kind(),
                    detail = event.err.message(),
                    "the storage is asked again: {:?}",
                    event.op
                );
            });
        let operator = Operator::new(service)?
            .with_context(OperationContext::new().with_http_transport(transport))
            .layer(timeouts)
            .layer(retries);
        let url = place.bucket_url(&config.bucket);
        Ok(Self {
            operator,
            unfinished: Unfinished::new(http, config, url.clone()),
            url,
        })
    }
}

/// Where a bucket is.
struct Place {
    endpoint: String,
    /// The bucket is a part of the host's name, not the beginning of the path.
    is_host: bool,
}

impl Place {
    /// Amazon wants the bucket in the host's name, where a certificate covers that; stores of one's own mostly have one
    /// name only.
    fn of(config: &BucketConfig) -> Self {
        match &config.endpoint {
            Some(endpoint) => Self {
                endpoint: endpoint.as_str().trim_end_matches('/').to_owned(),
                is_host: false,
            },
            None => Self {
                endpoint: format!("https://s3.{}.amazonaws.com", config.region),
                is_host: !config.bucket.contains('.'),
            },
        }
    }

    fn bucket_url(&self, bucket: &str) -> String {
        if self.is_host {
            self.endpoint.replacen("://", &format!("://{bucket}."), 1)
        } else {
            format!("{}/{bucket}", self.endpoint)
        }
    }
}

#[async_trait::async_trait]
impl Operated for Bucket {
    fn operator(&self) -> &Operator {
        &self.operator
    }

    fn writing(&self, media_type: &str) -> WriteOptions {
        WriteOptions {
            content_type: Some(media_type.to_owned()),
            // Parts of one size, as some stores want.
            chunk: Some(PART_BYTES),
            ..WriteOptions::default()
        }
    }

    /// As one answer.
    fn reading(&self) -> ReaderOptions {
        ReaderOptions::default()
    }

    async fn url(
        &self,
        key: &str,
        shown: Shown<'_>,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        let options = ReadOptions {
            override_content_type: Some(shown.media_type.to_owned()),
            override_content_disposition: Some(shown.disposition.to_owned()),
            ..ReadOptions::default()
        };
        let request = self
            .operator
            .presign_read_options(key, lifetime, options)
            .await?;
        Ok(Some(request.uri().to_string()))
    }

    async fn identity(&self) -> Result<String, Error> {
        self.operator.exists(NO_OBJECT).await?;
        Ok(self.url.clone())
    }

    async fn clear_unfinished(&self, key: &str) -> Result<(), Error> {
        self.unfinished.abort_all(key).await
    }

    /// S3 lists in the order of keys.
    fn list(&self) -> BoxStream<'static, Result<Object, Error>> {
        let operator = self.operator.clone();
        let options = ListOptions {
            recursive: true,
            ..ListOptions::default()
        };
        stream::once(async move { operator.lister_options(OBJECTS, options).await })
            .try_flatten()
            .try_filter(|entry| future::ready(entry.metadata().mode() != EntryMode::DIR))
            .map(|entry| Ok(entry?.into()))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bucket: &str, endpoint: Option<&str>) -> BucketConfig {
        BucketConfig {
            bucket: bucket.to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
            access_key_id: "whose".to_owned(),
            secret_access_key: "hush".into(),
        }
    }

    #[test]
    fn the_bucket_is_where_its_store_wants_it() {
        for (bucket, endpoint, url) in [
            ("talks", None, "https://talks.s3.eu-west-1.amazonaws.com"),
            (
                "my.talks",
                None,
                "https://s3.eu-west-1.amazonaws.com/my.talks",
            ),
            (
                "talks",
                Some("http://localhost:9000/"),
                "http://localhost:9000/talks",
            ),
            (
                "talks",
                Some("https://x.example/s3"),
                "https://x.example/s3/talks",
            ),
        ] {
            let config = config(bucket, endpoint);
            assert_eq!(Place::of(&config).bucket_url(bucket), url);
        }
    }

    #[tokio::test]
    async fn a_url_names_file_and_type_and_no_secret() {
        let bucket = Bucket::open(&config("talks", None)).unwrap();
        let shown = Shown {
            media_type: "image/png",
            disposition: "attachment; filename*=UTF-8''a%20b%26c.png",
            file_name: "a b&c.png",
        };
        let url = bucket
            .url("objects/ab/abc", shown, Duration::from_hours(1))
            .await
            .unwrap()
            .unwrap();
        let url: url::Url = url.parse().unwrap();
        assert_eq!(
            (url.host_str(), url.path()),
            (Some("talks.s3.eu-west-1.amazonaws.com"), "/objects/ab/abc")
        );
        let query: std::collections::HashMap<_, _> = url.query_pairs().collect();
        assert_eq!(query["response-content-type"], shown.media_type);
        assert_eq!(query["response-content-disposition"], shown.disposition);
        assert_eq!(query["X-Amz-Expires"], "3600");
        assert!(!url.as_str().contains("hush"), "{url}");
    }

    #[test]
    fn debug_shows_no_key() {
        let bucket = Bucket::open(&config("talks", None)).unwrap();
        let shown = format!("{bucket:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("whose"),
            "{shown}"
        );
    }
}
