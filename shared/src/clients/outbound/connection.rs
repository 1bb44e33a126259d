//! What is known of the connection of a call.
//!
//! The HTTP client makes connections where it likes: it takes one of its pool if one becomes free sooner than the new one
//! is made (and finishes that one for later), and begins again if one of the pool turns out to be closed. So there are two
//! notes: which making of a connection a call began last, told by the connector, and which connection its request was
//! given, told by the client. Where the two are the same, the figures of the making are the call's own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

/// The connection of a call, also of one without an answer. What was not reached is None.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The address that was connected to, or the one that was tried last.
    pub address: Option<SocketAddr>,
    /// None for plain http, and where the handshake was not completed.
    pub tls: Option<TlsInfo>,
    /// Whether the connection was made for an earlier call; its making took this call no time.
    pub reused: bool,
    /// How long the steps took.
    pub timings: Timings,
}

/// What a handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// Like `TLSv1.3`.
    pub version: &'static str,
    /// The name of the cipher suite at IANA, like `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// How long the steps of a call took. A step that failed has its time; one that was cut off or not reached has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Resolving the name; None for an address.
    pub dns: Option<Duration>,
    /// Connecting to one of its addresses, those that failed before included.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From the start of the call until the head of the answer was there.
    pub first_byte: Option<Duration>,
    /// From the start of the call to its end.
    pub total: Duration,
}

/// One making of a connection; clones are the same one.
///
/// It goes with the connection, so that later calls know its address and TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempt(Arc<Mutex<Progress>>);

/// How far the making of a connection came.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) address: Option<SocketAddr>,
    pub(super) tls: Option<TlsInfo>,
    pub(super) dns: Option<Duration>,
    pub(super) connect: Option<Duration>,
    pub(super) handshake: Option<Duration>,
}

impl Attempt {
    pub(super) fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.0));
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

tokio::task_local! {
    /// The call for which connections are made.
    static CALL: Call;
}

/// Follows the connections of one call; clones follow the same call.
#[derive(Clone)]
pub(super) struct Call {
    /// The connection that the request was given last.
    given: CaptureConnection,
    begun: Arc<Mutex<Option<Begun>>>,
}

/// The making of a connection that a call began last.
struct Begun {
    attempt: Attempt,
    /// The connection that the request had been given before: it was closed, if there is one.
    instead_of: Option<Attempt>,
}

impl Call {
    /// Follows the call that this request is for.
    pub(super) fn follow<B>(request: &mut Request<B>) -> Self {
        Self {
            given: capture_connection(request),
            begun: Arc::default(),
        }
    }

    /// Carries the call out, so that [`Call::begin`] finds it.
    pub(super) async fn carry_out<F: Future>(&self, exchange: F) -> F::Output {
        CALL.scope(self.clone(), exchange).await
    }

    /// Notes that a connection is made for the present call.
    pub(super) fn begin() -> Attempt {
        let attempt = Attempt::default();
        // Without a call nobody asks; it cannot happen as long as the client connects only when it is asked.
        let _ = CALL.try_with(|call| {
            let begun = Begun {
                attempt: attempt.clone(),
                instead_of: call.given(),
            };
            *lock(&call.begun) = Some(begun);
        });
        attempt
    }

    /// What is known of the connection now; `first_byte` and `total` are for the caller to add.
    pub(super) fn connection(&self) -> ConnectionInfo {
        let given = self.given();
        let (attempt, reused) = match (&*lock(&self.begun), given) {
            (None, None) => return ConnectionInfo::default(),
            (None, Some(given)) => (given, true),
            (Some(begun), None) => (begun.attempt.clone(), false),
            (Some(begun), Some(given)) => {
                let is_closed = begun
                    .instead_of
                    .as_ref()
                    .is_some_and(|closed| closed.is(&given));
                if given.is(&begun.attempt) || is_closed {
                    (begun.attempt.clone(), false)
                } else {
                    (given, true)
                }
            }
        };
        let progress = lock(&attempt.0).clone();
        let timings = if reused {
            Timings::default()
        } else {
            Timings {
                dns: progress.dns,
                connect: progress.connect,
                tls: progress.handshake,
                ..Timings::default()
            }
        };
        ConnectionInfo {
            address: progress.address,
            tls: progress.tls,
            reused,
            timings,
        }
    }

    fn given(&self) -> Option<Attempt> {
        let mut extras = Extensions::new();
        self.given
            .connection_metadata()
            .as_ref()?
            .get_extras(&mut extras);
        extras.remove::<Attempt>()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("nothing panics while it holds this lock")
}
