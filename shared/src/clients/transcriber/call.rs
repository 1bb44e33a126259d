//! Calls of servers, as they are accounted for.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use http::StatusCode;

use crate::database;

/// A call that was made to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The account whose key was used.
    pub key_group: String,
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// Length of what it was to hear, in milliseconds.
    pub audio_ms: i64,
    /// Whether that length is only a guess, as nobody has told it.
    pub is_guessed: bool,
    /// How long it took.
    pub took: Duration,
    /// Whether it was refused, by a status of 400 or more. Else it may be paid for, whatever came of it.
    pub is_refused: bool,
    /// What came of it.
    pub came: Came,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// The server heard.
    Heard,
    /// It did not, or nobody knows; why.
    Failed(String),
    /// Nobody waits for it any more.
    Left,
}

/// Is told of a call, once: when it ends, or when the future that waits for it is dropped. It must not wait itself. Where it is
/// dropped itself, the call was not made.
pub type Told = Box<dyn FnOnce(Asked) + Send>;

/// Notes a call that is about to be made, as if nobody waited for it any more, and gives who is told of its end. A call that
/// cannot be noted is not made.
pub type Note<'a> = dyn Fn(Asked) -> BoxFuture<'a, database::Result<Told>> + Send + Sync + 'a;

/// A call while it goes on. However that ends, it is told then.
pub(super) struct Call {
    /// None where nothing is told.
    told: Option<Told>,
    began: Instant,
    asked: Asked,
}

impl Call {
    /// Notes one, and begins it.
    pub(super) async fn begin(note: &Note<'_>, asked: Asked) -> database::Result<Self> {
        let told = note(asked.clone()).await?;
        Ok(Self {
            told: Some(told),
            began: Instant::now(),
            asked,
        })
    }

    /// There is no connection: nothing was sent, and nothing is told.
    pub(super) fn is_not_made(&mut self) {
        self.told = None;
    }

    /// A status was read.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.asked.is_refused = status.as_u16() >= 400;
    }

    /// The server says how long the sound is.
    pub(super) fn lasts(&mut self, audio_ms: i64) {
        self.asked.audio_ms = audio_ms;
        self.asked.is_guessed = false;
    }

    /// It has ended.
    pub(super) fn end(mut self, came: Came) {
        self.asked.came = came;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            self.asked.took = self.began.elapsed();
            told(self.asked.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt as _;

    use super::*;

    fn asked() -> Asked {
        Asked {
            provider: "groq".to_owned(),
            model: "whisper".to_owned(),
            key_group: "acme".to_owned(),
            at: DateTime::UNIX_EPOCH,
            audio_ms: 1,
            is_guessed: true,
            took: Duration::ZERO,
            is_refused: false,
            came: Came::Left,
        }
    }

    /// What is told of a call.
    async fn told(make: impl FnOnce(Call)) -> Vec<(bool, Came)> {
        let all = Arc::new(Mutex::new(Vec::new()));
        let heard = all.clone();
        let note = move |noted: Asked| {
            assert_eq!(noted, asked());
            let heard = heard.clone();
            let told: Told = Box::new(move |asked: Asked| {
                heard.lock().unwrap().push((asked.is_refused, asked.came));
            });
            async move { Ok::<_, database::Error>(told) }.boxed()
        };
        make(Call::begin(&note, asked()).await.unwrap());
        all.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_call_is_told_once_however_it_ends() {
        assert_eq!(
            told(|call| call.end(Came::Heard)).await,
            [(false, Came::Heard)]
        );
        assert_eq!(told(|_| {}).await, [(false, Came::Left)]);
        let failed = Came::Failed("502".to_owned());
        for (status, is_refused) in [(200, false), (302, false), (400, true), (502, true)] {
            let status = StatusCode::from_u16(status).unwrap();
            let all = told(|mut call| {
                call.answered(status);
                call.end(failed.clone());
            });
            assert_eq!(all.await, [(is_refused, failed.clone())]);
        }
        assert!(told(|mut call| call.is_not_made()).await.is_empty());
    }

    #[tokio::test]
    async fn a_length_is_a_guess_until_it_is_told() {
        for (told, expected) in [(None, (1, true)), (Some(2_000), (2_000, false))] {
            let all = Arc::new(Mutex::new(Vec::new()));
            let heard = all.clone();
            let note = move |_: Asked| {
                let heard = heard.clone();
                let told: Told = Box::new(move |asked: Asked| {
                    heard
                        .lock()
                        .unwrap()
                        .push((asked.audio_ms, asked.is_guessed));
                });
                async move { Ok::<_, database::Error>(told) }.boxed()
            };
            let mut call = Call::begin(&note, asked()).await.unwrap();
            if let Some(millis) = told {
                call.lasts(millis);
            }
            call.end(Came::Heard);
            assert_eq!(*all.lock().unwrap(), [expected]);
        }
    }

    #[tokio::test]
    async fn a_call_that_cannot_be_noted_does_not_begin() {
        let note = |_: Asked| async { Err::<Told, _>(database::Error::NotFound("table")) }.boxed();
        assert!(Call::begin(&note, asked()).await.is_err());
    }
}
