//! A store that speaks S3: s3s checks signatures and speaks the protocol, s3s-fs keeps the objects in a folder.
//!
//! It is here and not in the harness, so that building the demo need not build it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    error_handling::HandleError,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use s3s::{
    HttpError, S3, S3Request, S3Response, S3Result, auth::SimpleAuth, dto::*,
    service::S3ServiceBuilder,
};
use tokio::net::TcpListener;

const BUCKET: &str = "talks";
const KEY_ID: &str = "whose";
/// With what a query must not change.
const SECRET: &str = "hush+hush/hush";

const UP: u8 = 0;
const DOWN: u8 = 1;
const STALLED: u8 = 2;

/// The store; it ends with the test's runtime.
pub(crate) struct S3Server {
    folder: tempfile::TempDir,
    address: std::net::SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    mood: AtomicU8,
    asked_while_down: AtomicUsize,
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(Server {
            files,
            root: folder.path().to_owned(),
        });
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = HandleError::new(builder.build(), |error: HttpError| async move {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}"))
        });
        let state = Arc::new(State::default());
        let router = {
            let state = state.clone();
            Router::new()
                .fallback_service(service)
                .layer(middleware::from_fn(move |request: Request, next: Next| {
                    answer(state.clone(), request, next)
                }))
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            folder,
            address,
            state,
        }
    }

    /// `STORAGE_URL` of its bucket.
    pub(crate) fn url(&self) -> String {
        self.url_with_secret(SECRET)
    }

    pub(crate) fn url_with_secret(&self, secret: &str) -> String {
        format!(
            "s3://{BUCKET}?region=eu-west-1&endpoint=http://{}&access_key_id={KEY_ID}&secret_access_key={secret}",
            self.address
        )
    }

    /// From now on every request is answered with 503.
    pub(crate) fn go_down(&self) {
        self.state.mood.store(DOWN, Ordering::SeqCst);
    }

    /// From now on parts are not answered.
    pub(crate) fn stall_parts(&self) {
        self.state.mood.store(STALLED, Ordering::SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.state.mood.store(UP, Ordering::SeqCst);
    }

    pub(crate) fn asked_while_down(&self) -> usize {
        self.state.asked_while_down.load(Ordering::SeqCst)
    }

    /// The folder that stands for its bucket: each object is a file.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// Multipart uploads that nobody has finished.
    pub(crate) fn unfinished(&self) -> usize {
        unfinished(self.folder.path()).len()
    }

    /// Files of parts.
    pub(crate) fn parts(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder");
        files
            .filter_map(|file| file.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(".upload_id-"))
            .count()
    }

    /// What was said of an object when it was stored.
    pub(crate) fn content_type(&self, key: &str) -> String {
        let name = format!(
            ".bucket-{}.object-{}.metadata.json",
            BASE64_URL_SAFE_NO_PAD.encode(BUCKET),
            BASE64_URL_SAFE_NO_PAD.encode(key)
        );
        let said = std::fs::read(self.folder.path().join(name)).expect("an object of that key");
        let said: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
        said["content_type"].as_str().unwrap_or_default().to_owned()
    }
}

async fn answer(state: Arc<State>, request: Request, next: Next) -> Response {
    let is_part = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("partNumber="));
    match state.mood.load(Ordering::SeqCst) {
        DOWN => {
            state.asked_while_down.fetch_add(1, Ordering::SeqCst);
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        STALLED if is_part => std::future::pending().await,
        _ => next.run(request).await,
    }
}

/// Key and id of each upload that has begun: s3s-fs keeps a file for it.
fn unfinished(root: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(root).expect("the folder");
    files
        .filter_map(|file| {
            let name = file.ok()?.file_name().into_string().ok()?;
            let rest = name
                .strip_prefix(".bucket-")?
                .strip_suffix(".metadata.json")?;
            let (_, rest) = rest.split_once(".object-")?;
            let (key, id) = rest.split_once(".upload-")?;
            let key = BASE64_URL_SAFE_NO_PAD.decode(key).ok()?;
            Some((String::from_utf8(key).ok()?, id.to_owned()))
        })
        .collect()
}

/// s3s-fs, with the two things that it lacks: a list of unfinished uploads, and answers as presigned URLs want them.
struct Server {
    files: s3s_fs::FileSystem,
    root: PathBuf,
}

#[async_trait::async_trait]
impl S3 for Server {
    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let uploads = unfinished(&self.root)
            .into_iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, id)| MultipartUpload {
                key: Some(key),
                upload_id: Some(id),
                ..MultipartUpload::default()
            })
            .collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(req.input.bucket),
            uploads: Some(uploads),
            is_truncated: Some(false),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (content_type, disposition) = (
            req.input.response_content_type.clone(),
            req.input.response_content_disposition.clone(),
        );
        let mut answer = self.files.get_object(req).await?;
        if let Some(content_type) = content_type {
            answer.output.content_type = Some(content_type);
        }
        if let Some(disposition) = disposition {
            answer.output.content_disposition = Some(disposition);
        }
        Ok(answer)
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.files.put_object(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.files.create_multipart_upload(req).await
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.files.upload_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.files.complete_multipart_upload(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(req).await
    }
}
