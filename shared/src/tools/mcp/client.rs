//! The way to a server, which reads no more than a bounded answer, and keeps no stream open for what nobody asked.

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use reqwest::{Client, RequestBuilder, Response};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::{Sse, SseStream};

use crate::tools::http::Http;

/// Largest answer of a server.
pub(super) const ANSWER_MAX_BYTES: usize = 1 << 20;
/// What a server may answer in.
const KINDS: &str = "application/json, text/event-stream";
const EVENTS: &str = "text/event-stream";
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

type Error = StreamableHttpError<reqwest::Error>;

/// The client; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bounded(Client);

impl Bounded {
    pub(super) fn new(http: &Http) -> Self {
        Self(http.client().clone())
    }
}

impl StreamableHttpClient for Bounded {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let request = self
            .0
            .post(uri.as_ref())
            .header(ACCEPT, KINDS)
            .json(&message);
        let request = opened(
            request,
            session_id.as_deref(),
            auth_header.as_deref(),
            custom_headers,
        );
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && session_id.is_some() {
            return Err(StreamableHttpError::SessionExpired);
        }
        if !status.is_success() {
            return Err(unexpected(format!("it answers {status}")));
        }
        let headers = response.headers();
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let session = text(SESSION).map(str::to_owned);
        if text(CONTENT_TYPE).is_some_and(|kind| kind.starts_with(EVENTS)) {
            let events = SseStream::from_bytes_stream(Box::pin(bounded(response))).boxed();
            return Ok(StreamableHttpPostResponse::Sse(events, session));
        }
        let body = read(response).await?;
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(StreamableHttpPostResponse::Json(answer, session)),
            Err(error) if matches!(message, ClientJsonRpcMessage::Request(_)) => Err(error.into()),
            // Some answer a mere notice with anything.
            Err(_) => Ok(StreamableHttpPostResponse::Accepted),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Error> {
        let request = self.0.delete(uri.as_ref());
        let request = opened(
            request,
            Some(&session_id),
            auth_header.as_deref(),
            custom_headers,
        );
        // Whether it forgets a session is its own affair.
        if let Err(error) = request.send().await {
            tracing::debug!(error = %error.without_url(), "a session of tools is not deleted");
        }
        Ok(())
    }

    /// Nothing is wanted but answers.
    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Error> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

fn opened(
    mut request: RequestBuilder,
    session: Option<&str>,
    bearer: Option<&str>,
    headers: HashMap<HeaderName, HeaderValue>,
) -> RequestBuilder {
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    if let Some(session) = session {
        request = request.header(SESSION, session);
    }
    request.headers(headers.into_iter().collect())
}

/// The bytes of an answer, and an error where there are too many.
fn bounded(response: Response) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut left = ANSWER_MAX_BYTES;
    response
        .bytes_stream()
        .map(move |piece| -> io::Result<Bytes> {
            let piece = piece.map_err(|error| io::Error::other(error.without_url()))?;
            left = left
                .checked_sub(piece.len())
                .ok_or_else(|| io::Error::other("its answer is too large"))?;
            Ok(piece)
        })
}

async fn read(response: Response) -> Result<Vec<u8>, Error> {
    let mut pieces = Box::pin(bounded(response));
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
    }
    Ok(body)
}

fn failed(error: reqwest::Error) -> Error {
    StreamableHttpError::Client(error.without_url())
}

fn unexpected(what: String) -> Error {
    StreamableHttpError::UnexpectedServerResponse(what.into())
}
