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
use tokio::time::{self, timeout_at};
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
    let deadline = time::Instant::from_std(begun) + limits.timeout;
    let response = match timeout_at(deadline, call.carry_out(client.request(request))).await {
        Ok(response) => response.map_err(|error| SendError::of(&error, target)),
        Err(_) => Err(SendError::Timeout),
    };
    let first_byte = begun.elapsed();
    let mut connection = call.connection();
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            return Sent {
                result: Err(error),
                partial: None,
                connection,
            };
        }
    };
    connection.timings.first_byte = Some(first_byte);

    let (head, incoming) = response.into_parts();
    let mut body = BytesMut::new();
    let reading = read_capped(incoming, &mut body, limits.max_answer_bytes);
    // Whatever is left of it is dropped here, and its connection closed.
    let read = match timeout_at(deadline, reading).await {
        Ok(read) => read.map_err(|error| SendError::of(&error, target)),
        Err(_) => Err(SendError::Timeout),
    };
    let answer = Answer {
        status: head.status,
        version: head.version,
        headers: head.headers,
        body: body.freeze(),
        truncated: read.unwrap_or(true),
        duration: begun.elapsed(),
    };
    let (result, partial) = match read {
        Ok(_) => (Ok(answer), None),
        Err(error) => (Err(error), Some(answer)),
    };
    Sent {
        result,
        partial,
        connection,
    }
}

/// Reads a body to its end or the limit, and tells whether there was more.
async fn read_capped(
    mut from: Incoming,
    body: &mut BytesMut,
    max_bytes: usize,
) -> Result<bool, hyper::Error> {
    while let Some(frame) = from.frame().await {
        // The other kind are trailers.
        let Ok(chunk) = frame?.into_data() else {
            continue;
        };
        let room = max_bytes - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok(true);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(false)
}
