//! Calls to URLs that a user gave us.
//!
//! Such a URL may aim at the inside of the operator's network (server-side request forgery, OWASP API7:2023), so every
//! one passes this guard, when it is stored and at each call:
//!
//! - `https` on port 443 or 80 to public addresses, in development `http` as well; plain `http` elsewhere and other ports
//!   only where *every* address of the host is in `OUTBOUND_ALLOW`. One address that is neither public nor allowed spoils
//!   the name.
//! - A name is resolved once per connection, inside the connector, and the connection goes to the addresses that were
//!   judged: an answer that changes between check and use changes nothing. IP literals are judged before each request,
//!   and by the connector again.
//! - Proxies of the environment, redirects and retries are off. Only a request that was not begun to be written, because
//!   the kept-alive connection had been closed, goes to another connection, so each call is one request at most.
//! - The head of an answer is bounded, its body is read to a limit, and one deadline is for all of it.
//!
//! A kept-alive connection is reused only for the same scheme, host and port, which also fix the rule it was made
//! under; its peer was judged when it was made, and the rules never change while the process runs. So reuse can reach
//! nothing that a new connection could not have reached at that time, and it ends after thirty seconds of rest.
//!
//! Each call tells what is known of its [connection](ConnectionInfo), be there an answer or not.

mod address;
mod connection;
mod connector;
mod error;
mod exchange;
mod lookups;
mod policy;
mod resolver;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use ipnet::IpNet;
use rustls::RootCertStore;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use connector::Connector;
use exchange::HttpClient;
use policy::{Policy, Reach};
use resolver::{Lookup, Resolver};
pub use {
    connection::{ConnectionInfo, Timings, TlsInfo},
    error::SendError,
    policy::Refused,
    tls::NotBuilt,
};

use crate::telemetry::report_step;

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
    client: HttpClient,
    resolver: Resolver,
}

impl Outbound {
    /// Builds the client. `allow` are the blocks that user-given URLs may reach besides public addresses, `plain_http`
    /// says whether public addresses may be called without TLS, which is for development.
    ///
    /// # Errors
    ///
    /// Fails when the system's root certificates cannot be loaded.
    pub fn new(allow: Vec<IpNet>, plain_http: bool) -> Result<Self, NotBuilt> {
        let policy = Policy { allow, plain_http };
        Self::build(policy, &Lookup::system(), tls::system_roots()?)
    }

    fn build(policy: Policy, lookup: &Lookup, roots: RootCertStore) -> Result<Self, NotBuilt> {
        let policy = Arc::new(policy);
        let tls = TlsConnector::from(Arc::new(tls::config(roots)?));
        let route = |reach| {
            let resolver = Resolver::new(Arc::clone(&policy), reach, lookup.clone());
            let connector = Connector::new(resolver.clone(), tls.clone());
            let client = exchange::client(connector);
            Route { client, resolver }
        };
        Ok(Self {
            public: route(Reach::Public),
            allowed_only: route(Reach::AllowedOnly),
            policy,
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
        exchange::uri(&url)?;
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
    /// `headers` are sent as they are, but those that HTTP itself needs (`host`, `content-length` and the like) are ours:
    /// let users choose no names that mean something to the receiver's servers.
    ///
    /// The result is [`SendError::Blocked`] without a connection when the guard refuses. With the other errors there is
    /// no complete answer; what came of one is kept. Without any, whether the other side saw the request is unknown.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes, limits: Limits) -> Sent {
        let begun = Instant::now();
        // Judged as it is sent: a dot less can make an address of a name.
        let url = without_root_dot(url);
        let checked = self
            .policy
            .check(&url)
            .and_then(|target| Ok((target, exchange::uri(&url)?)));
        let mut sent = match checked {
            Ok((target, uri)) => {
                let client = &self.route(target.reach).client;
                let request = exchange::request(uri, headers, body);
                exchange::carry_out(client, request, limits, begun, &target).await
            }
            Err(refused) => Sent {
                result: Err(refused.into()),
                partial: None,
                connection: ConnectionInfo::default(),
            },
        };
        sent.connection.timings.total = begun.elapsed();
        // Not the URL: a user gave it, and it may hold a secret.
        match &sent.result {
            Ok(answer) => {
                let is_trouble = !answer.status.is_success();
                report_step("outbound", is_trouble, || {
                    format!("POST {}", answer.status.as_u16())
                });
            }
            Err(error) => report_step("outbound", true, || format!("POST {}", error.code())),
        }
        sent
    }

    fn route(&self, reach: Reach) -> &Route {
        match reach {
            Reach::Public => &self.public,
            Reach::AllowedOnly => &self.allowed_only,
        }
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

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The answer, or why there is no complete one.
    pub result: Result<Answer, SendError>,
    /// What came of an answer that is not complete: its head at least.
    pub partial: Option<Answer>,
    /// What is known of the connection in either case.
    pub connection: ConnectionInfo,
}

impl Sent {
    /// What the other side answered, complete or not.
    pub fn answer(&self) -> Option<&Answer> {
        self.result.as_ref().ok().or(self.partial.as_ref())
    }
}

/// What the other side answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Any status, since redirects are not followed.
    pub status: StatusCode,
    /// HTTP/1.1 or, of an old server, HTTP/1.0.
    pub version: Version,
    /// All headers: a hundred at most, of 64 KiB together.
    pub headers: HeaderMap,
    /// The body as sent (never decompressed), or its beginning.
    pub body: Bytes,
    /// Whether the body was longer than the limit, or broke off.
    pub truncated: bool,
    /// From the start to the end of the reading.
    pub duration: Duration,
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
