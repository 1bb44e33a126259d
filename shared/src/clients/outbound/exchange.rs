//! One request and its answer.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;
use url::Url;

use super::{
    Answer, Limits, Sent,
    connection::Call,
    connector::Connector,
    error::SendError,
    policy::{Refused, Target},
};

pub(super) const AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));

/// How long an unused connection is kept: enough for a burst of webhooks to one endpoint.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Unused connections that are kept per host.
const MAX_IDLE_PER_HOST: usize = 32;

/// Largest head of an answer, in bytes. It also bounds what is kept of a body that is not yet read.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Headers of an answer.
const MAX_HEADERS: usize = 100;

/// Headers by which HTTP finds the ends of messages and their receiver: were they a caller's, one request could be read as
/// two.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The client of one rule.
pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

pub(super) fn client(connector: Connector) -> HttpClient {
    // One request per connection at a time, so that dropping an answer half-way closes the connection. A request that
    // was given a closed connection of the pool and not begun to be written is given another: `retry_canceled_requests`.
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .retry_canceled_requests(true)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .http1_max_headers(MAX_HEADERS)
        .build(connector)
}

/// A URL as it is sent. Some hosts that a URL may have are none that a request may name.
pub(super) fn uri(url: &Url) -> Result<Uri, Refused> {
    Uri::try_from(url.as_str()).map_err(|_| Refused::Host)
}

pub(super) fn request(uri: Uri, mut headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    for name in FRAMING {
        headers.remove(name);
    }
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(AGENT));
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// Sends a request and reads its answer within the limits. `begun` is when the call began.
pub(super) async fn carry_out(
    client: &HttpClient,
    mut request: Request<Full<Bytes>>,
    limits: Limits,
    begun: Instant,
    target: &Target<'_>,
) -> Sent {
    let call = Call::follow(&mut request);
    let mut first_byte = None;
    let exchange = async {
        let response = client
            .request(request)
            .await
            .map_err(|error| SendError::of(&error, target))?;
        first_byte = Some(begun.elapsed());
        let (head, body) = response.into_parts();
        let (body, truncated) = read_capped(body, limits.max_answer_bytes)
            .await
            .map_err(|error| SendError::of(&error, target))?;
        Ok::<_, SendError>(Answer {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body,
            truncated,
            duration: begun.elapsed(),
        })
    };
    // Whatever is left of it is dropped here, and its connection closed.
    let result = timeout(limits.timeout, call.carry_out(exchange))
        .await
        .unwrap_or(Err(SendError::Timeout));
    let mut connection = call.connection();
    connection.timings.first_byte = first_byte;
    Sent { result, connection }
}

async fn read_capped(mut from: Incoming, max_bytes: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut body = BytesMut::new();
    while let Some(frame) = from.frame().await {
        // The other kind are trailers.
        let Ok(chunk) = frame?.into_data() else {
            continue;
        };
        let room = max_bytes - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}
