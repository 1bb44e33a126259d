//! Why there is no answer.

use std::{error::Error, io};

use tracing::debug;

use super::{
    connector::Failed,
    policy::{Inadmissible, Refused, Target},
};

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
    /// The answer was not complete within [`Limits::timeout`](super::Limits::timeout), or the connection not made in
    /// five seconds.
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
    /// The connection broke, or what came is not HTTP, or its head is too large.
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

    /// Reads what the HTTP client says.
    pub(super) fn of(error: &(dyn Error + 'static), target: &Target<'_>) -> Self {
        let kind = match chain(error).find_map(|cause| cause.downcast_ref::<Failed>()) {
            Some(Failed::Inadmissible(Inadmissible::Unresolvable)) => return Self::Unresolvable,
            Some(Failed::Inadmissible(why)) => return Self::Blocked(target.refused(*why)),
            Some(Failed::TimedOut) => Self::Timeout,
            Some(Failed::Tcp(_)) => Self::Connect,
            Some(Failed::Tls(_)) => Self::Tls,
            // With TLS 1.3 the other side can refuse a handshake that was complete for us.
            None if chain(error).any(<dyn Error>::is::<rustls::Error>) => Self::Tls,
            None => Self::Broken,
        };
        // Only the root: the errors above it may name the URL.
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
