//! Calls to URLs that a user gave us.
//!
//! Such a URL may aim at the inside of the operator's network (server-side request forgery, OWASP API7:2023), so every
//! one passes this guard, when it is stored and at each call:
//!
//! - `https` on port 443 or 80 to public addresses; plain `http` and other ports only where *every* address of the host
//!   is in `OUTBOUND_ALLOW`. One address that is neither public nor allowed spoils the name.
//! - A name is resolved once per connection, inside the connector, and the connection goes to the addresses that were
//!   judged: an answer that changes between check and use changes nothing. IP literals never reach a resolver and are
//!   judged before each request.
//! - Proxies of the environment, redirects and automatic retries are off.
//!
//! A kept-alive connection is reused only for the same scheme, host and port, which also fix the rule it was made
//! under; its peer was judged when it was made, and the rules never change while the process runs. So reuse can reach
//! nothing that a new connection could not have reached at that time, and it ends after thirty seconds of rest.

mod address;
mod policy;
mod resolver;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    error::Error,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use reqwest::{Client, StatusCode, header::HeaderMap, redirect, retry};
use tokio::time::timeout;
use tracing::debug;
use url::{Host, Url};

pub use policy::Refused;
use policy::{Inadmissible, Policy, Reach, Target};
use resolver::{Lookup, Resolver};

use crate::telemetry::report_step;

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made, name resolution and TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an unused connection is kept: enough for a burst of webhooks to one endpoint.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Unused connections that are kept per host.
const MAX_IDLE_PER_HOST: usize = 4;

/// The HTTP client for URLs that a user gave us.
#[derive(Clone)]
pub struct Outbound {
    policy: Arc<Policy>,
    public: Route,
    allowed_only: Route,
}

/// A client and its resolver.
///
/// There is one per [`Reach`], because a resolver is not told the scheme and port it resolves for: with one client, a
/// name could be allowed while the URL is checked and public when it is connected to, and so get plain http or any
/// port.
#[derive(Clone)]
struct Route {
    client: Client,
    resolver: Resolver,
}

impl Outbound {
    /// Builds the client. `allow` are the blocks that user-given URLs may reach besides public addresses.
    ///
    /// # Errors
    ///
    /// Fails when the system's root certificates cannot be loaded.
    pub fn new(allow: Vec<IpNet>) -> Result<Self, NotBuilt> {
        Self::with_lookup(allow, &Lookup::system())
    }

    fn with_lookup(allow: Vec<IpNet>, lookup: &Lookup) -> Result<Self, NotBuilt> {
        let policy = Arc::new(Policy { allow });
        let route = |reach| Route::new(Resolver::new(Arc::clone(&policy), reach, lookup.clone()));
        let (public, allowed_only) = (route(Reach::Public)?, route(Reach::AllowedOnly)?);
        Ok(Self {
            policy,
            public,
            allowed_only,
        })
    }

    /// Judges a URL that a user wants to register, so that they learn at once what is wrong with it.
    ///
    /// It resolves the name, but promises nothing for later: each request is judged again.
    ///
    /// # Errors
    ///
    /// Returns the first reason for which the URL would not be called, [`Refused::Unresolvable`] included.
    pub async fn check_url(&self, url: &Url) -> Result<(), Refused> {
        let url = without_root_dot(url);
        let target = self.policy.check(&url)?;
        if let Some(name) = target.name {
            let resolver = &self.route(target.reach).resolver;
            resolver
                .admitted(name)
                .await
                .map_err(|why| target.refused(why))?;
        }
        Ok(())
    }

    /// Sends a POST request once and reads the answer up to a limit. Any status is an answer, a redirect too.
    ///
    /// `headers` are sent as they are: never let a user choose their names.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Blocked`] without a connection when the guard refuses, and the other variants when there
    /// is no complete answer; whether the other side saw the request is then unknown.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        limits: Limits,
    ) -> Result<Answer, SendError> {
        // Judged as it is sent: a dot less can make an address of a name.
        let url = without_root_dot(url);
        let target = self.policy.check(&url)?;
        let started = Instant::now();
        let client = &self.route(target.reach).client;
        let request = client
            .post(url.as_ref().clone())
            .headers(headers)
            .body(body);
        let exchange = async {
            let mut response = request.send().await?;
            let (body, truncated) = read_capped(&mut response, limits.max_answer_bytes).await?;
            Ok(Answer {
                status: response.status(),
                headers: std::mem::take(response.headers_mut()),
                body,
                truncated,
                duration: started.elapsed(),
            })
        };
        let answer = match timeout(limits.timeout, exchange).await {
            Ok(outcome) => outcome.map_err(|error| SendError::from_reqwest(&error, &target)),
            Err(_elapsed) => Err(SendError::Timeout),
        };
        // Not the URL: a user gave it, and it may hold a secret.
        match &answer {
            Ok(answer) => {
                let is_trouble = !answer.status.is_success();
                report_step("outbound", is_trouble, || {
                    format!("POST {}", answer.status.as_u16())
                });
            }
            Err(error) => report_step("outbound", true, || format!("POST {}", error.code())),
        }
        answer
    }

    fn route(&self, reach: Reach) -> &Route {
        match reach {
            Reach::Public => &self.public,
            Reach::AllowedOnly => &self.allowed_only,
        }
    }
}

impl Route {
    fn new(resolver: Resolver) -> Result<Self, NotBuilt> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .dns_resolver(resolver.clone())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            // One request per connection at a time, so that dropping an answer half-way closes the connection.
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build()
            .map_err(NotBuilt)?;
        Ok(Self { client, resolver })
    }
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the end of the answer's body.
    pub timeout: Duration,
    /// What is read of the answer's body; the connection is dropped when there is more.
    pub max_answer_bytes: usize,
}

/// What the other side answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Any status, since redirects are not followed.
    pub status: StatusCode,
    /// All headers; the HTTP parser bounds their number and size.
    pub headers: HeaderMap,
    /// The body as sent (never decompressed), or its beginning.
    pub body: Bytes,
    /// Whether the body was longer than the limit.
    pub truncated: bool,
    /// From the start to the end of the reading.
    pub duration: Duration,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the client for user-given URLs cannot be built")]
pub struct NotBuilt(#[source] reqwest::Error);

/// Why there is no answer.
///
/// The messages can be shown to the user who gave the URL: no variant carries a source, because those name addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The guard refused; nothing was connected to.
    #[error(transparent)]
    Blocked(#[from] Refused),
    /// The name has no address now. Unlike a refusal this may heal.
    #[error("the host name cannot be resolved")]
    Unresolvable,
    /// The answer was not complete within [`Limits::timeout`], or the connection not made in eight seconds.
    #[error("there was no complete answer in time")]
    Timeout,
    /// The other side refused the connection or cannot be reached.
    #[error("no connection could be made")]
    Connect,
    /// The other side does not speak TLS, or its certificate is not for this name, expired or unknown.
    #[error(
        "no secure connection could be made: the TLS handshake failed or the certificate is not valid"
    )]
    Tls,
    /// The connection broke, or what came is not HTTP.
    #[error("the connection ended without a complete HTTP answer")]
    Broken,
}

impl SendError {
    /// Permanent code for clients and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Blocked(refused) => refused.code(),
            Self::Unresolvable => "unresolvable",
            Self::Timeout => "timeout",
            Self::Connect => "connect_failed",
            Self::Tls => "tls_failed",
            Self::Broken => "answer_broken",
        }
    }

    fn from_reqwest(error: &reqwest::Error, target: &Target<'_>) -> Self {
        match chain(error).find_map(|cause| cause.downcast_ref::<Inadmissible>()) {
            Some(Inadmissible::Unresolvable) => return Self::Unresolvable,
            Some(why) => return Self::Blocked(target.refused(*why)),
            None => {}
        }
        let kind = if error.is_timeout() {
            Self::Timeout
        } else if chain(error)
            .find_map(|cause| cause.downcast_ref::<rustls::Error>())
            .is_some()
        {
            Self::Tls
        } else if error.is_connect() {
            Self::Connect
        } else {
            Self::Broken
        };
        // Only the root: the errors above it name the URL.
        if let Some(cause) = chain(error).last() {
            debug!(code = kind.code(), %cause, "a request to a user-given URL failed");
        }
        kind
    }
}

/// The error and what caused it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| {
        // `io::Error` hides the error that it wraps: its source is that error's source.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Certificates and most servers do not know `example.com.`, which means the same as `example.com`.
fn without_root_dot(url: &Url) -> Cow<'_, Url> {
    let Some(Host::Domain(name)) = url.host() else {
        return Cow::Borrowed(url);
    };
    let Some(name) = name.strip_suffix('.') else {
        return Cow::Borrowed(url);
    };
    let mut plain = url.clone();
    match plain.set_host(Some(name)) {
        Ok(()) => Cow::Owned(plain),
        Err(_) => Cow::Borrowed(url),
    }
}

async fn read_capped(
    response: &mut reqwest::Response,
    max_bytes: usize,
) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = max_bytes - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}
