//! Sentry's ingest, or what speaks like it.
//!
//! The transport that comes with Sentry's library has no time limits, and waits at the end of the program for a server
//! that does not answer. This one holds up nobody: what does not fit into its queue is dropped, and so is what comes
//! while the ingest is away or wants to be left alone.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use reqwest::{
    Client, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use sentry_core::{Envelope, Hub, Transport, types::Dsn};
use tokio::{runtime, sync::mpsc};

use crate::config::SentryConfig;

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for one envelope.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Envelopes that may wait, of some kilobytes each.
const QUEUE: usize = 64;
/// How long nothing is sent after the ingest could not be reached.
const AWAY_PAUSE: Duration = Duration::from_secs(5);
/// The same after it refused, unless it says how long.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// Sends what it is given, one after the other, in a thread of its own.
pub struct Ingest {
    queue: mpsc::Sender<Envelope>,
    pending: Arc<Pending>,
}

impl Ingest {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left, or no root certificates can be loaded.
    pub fn start(config: &SentryConfig) -> anyhow::Result<Self> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (queue, envelopes) = mpsc::channel(QUEUE);
        let pending = Arc::new(Pending::default());
        let post = Post::new(client, &config.dsn);
        let done = pending.clone();
        std::thread::Builder::new()
            .name("sentry".to_owned())
            .spawn(move || {
                // Troubles of this thread are not reported: that would make more of them.
                Hub::current().bind_client(None);
                runtime.block_on(send_all(post, envelopes, &done));
            })?;
        Ok(Self { queue, pending })
    }
}

impl Transport for Ingest {
    fn send_envelope(&self, envelope: Envelope) {
        *self.pending.lock() += 1;
        if self.queue.try_send(envelope).is_err() {
            self.pending.done();
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.pending.wait(timeout)
    }
}

/// How many envelopes are neither sent nor dropped.
#[derive(Default)]
struct Pending {
    number: Mutex<usize>,
    none: Condvar,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.number
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    fn done(&self) {
        let mut number = self.lock();
        *number -= 1;
        if *number == 0 {
            self.none.notify_all();
        }
    }

    /// Waits until there are none; whether that came in time.
    fn wait(&self, timeout: Duration) -> bool {
        let (number, _) = self
            .none
            .wait_timeout_while(self.lock(), timeout, |number| *number > 0)
            .expect("nothing panics while it holds this lock");
        *number == 0
    }
}

async fn send_all(post: Post, mut envelopes: mpsc::Receiver<Envelope>, pending: &Pending) {
    let mut quiet_until = Instant::now();
    let mut is_told = false;
    while let Some(envelope) = envelopes.recv().await {
        if Instant::now() >= quiet_until {
            match post.send(&envelope).await {
                Ok(()) if is_told => {
                    is_told = false;
                    tracing::info!("error reports reach sentry again");
                }
                Ok(()) => {}
                Err(Trouble { reason, pause }) => {
                    quiet_until = Instant::now() + pause;
                    if !is_told {
                        is_told = true;
                        tracing::warn!(
                            reason,
                            "error reports do not reach sentry; they are dropped"
                        );
                    }
                }
            }
        }
        pending.done();
    }
}

/// Why an envelope was lost, and how long the next ones are not worth a try.
struct Trouble {
    reason: String,
    pause: Duration,
}

/// Where envelopes go.
struct Post {
    client: Client,
    url: String,
    auth: String,
}

impl Post {
    fn new(client: Client, dsn: &Dsn) -> Self {
        Self {
            client,
            url: dsn.envelope_api_url().to_string(),
            auth: dsn.to_auth(Some(USER_AGENT)).to_string(),
        }
    }

    async fn send(&self, envelope: &Envelope) -> Result<(), Trouble> {
        let mut body = Vec::new();
        if envelope.to_writer(&mut body).is_err() {
            return Ok(());
        }
        let request = self
            .client
            .post(&self.url)
            .header("X-Sentry-Auth", &self.auth)
            .header("Content-Type", "application/x-sentry-envelope")
            .body(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Trouble {
                reason: answer.status().to_string(),
                pause: pause_after(answer.status(), answer.headers()),
            }),
            Err(error) => Err(Trouble {
                reason: error.without_url().to_string(),
                pause: AWAY_PAUSE,
            }),
        }
    }
}

/// A too large envelope says nothing about the next one; a wrong key or a used-up quota does.
fn pause_after(status: StatusCode, headers: &HeaderMap) -> Duration {
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    match status {
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST => Duration::ZERO,
        status if status.is_server_error() => asked.unwrap_or(AWAY_PAUSE),
        _ => asked.unwrap_or(REFUSED_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(port: u16) -> SentryConfig {
        SentryConfig {
            dsn: format!("http://key@127.0.0.1:{port}/42").parse().unwrap(),
            environment: "test".to_owned(),
            traces_sample_rate: 0.0,
        }
    }

    #[test]
    fn an_ingest_that_never_answers_holds_up_nobody() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ingest = Ingest::start(&config(silent.local_addr().unwrap().port())).unwrap();
        let began = Instant::now();
        for _ in 0..10 * QUEUE {
            ingest.send_envelope(Envelope::new());
        }
        assert!(!ingest.flush(Duration::from_millis(50)));
        drop(ingest);
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn while_the_ingest_is_away_nothing_waits() {
        let port = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap().port()
        };
        let ingest = Ingest::start(&config(port)).unwrap();
        for _ in 0..QUEUE {
            ingest.send_envelope(Envelope::new());
        }
        assert!(ingest.flush(Duration::from_secs(5)), "it still tries");
    }

    #[test]
    fn a_refusal_is_respected() {
        let mut headers = HeaderMap::new();
        assert_eq!(pause_after(StatusCode::FORBIDDEN, &headers), REFUSED_PAUSE);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(
            pause_after(StatusCode::TOO_MANY_REQUESTS, &headers),
            Duration::from_secs(7)
        );
        assert_eq!(
            pause_after(StatusCode::PAYLOAD_TOO_LARGE, &headers),
            Duration::ZERO
        );
    }
}
