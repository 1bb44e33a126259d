//! Calls of servers, as they are accounted for.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use http::StatusCode;

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

/// Is told of each call, once: when it ends, or when the future that waits for it is dropped. It must not wait itself.
pub type Told<'a> = dyn Fn(Asked) + Send + Sync + 'a;

/// A call while it goes on. However that ends, it is told then.
pub(super) struct Call<'a> {
    told: &'a Told<'a>,
    began: Instant,
    is_made: bool,
    asked: Asked,
}

impl<'a> Call<'a> {
    /// Begins one.
    pub(super) fn begin(told: &'a Told<'a>, asked: Asked) -> Self {
        Self {
            told,
            began: Instant::now(),
            is_made: true,
            asked,
        }
    }

    /// There is no connection: nothing was sent, and nothing is told.
    pub(super) fn is_not_made(&mut self) {
        self.is_made = false;
    }

    /// A status was read.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.asked.is_refused = status.as_u16() >= 400;
    }

    /// It has ended.
    pub(super) fn end(mut self, came: Came) {
        self.asked.came = came;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.is_made {
            self.asked.took = self.began.elapsed();
            (self.told)(self.asked.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What is told of a call.
    fn told(make: impl FnOnce(Call<'_>)) -> Vec<(bool, Came)> {
        let all = Mutex::new(Vec::new());
        let told = |asked: Asked| all.lock().unwrap().push((asked.is_refused, asked.came));
        let asked = Asked {
            provider: "groq".to_owned(),
            model: "whisper".to_owned(),
            key_group: "acme".to_owned(),
            at: DateTime::UNIX_EPOCH,
            audio_ms: 1,
            took: Duration::ZERO,
            is_refused: false,
            came: Came::Left,
        };
        make(Call::begin(&told, asked));
        all.into_inner().unwrap()
    }

    #[test]
    fn a_call_is_told_once_however_it_ends() {
        assert_eq!(told(|call| call.end(Came::Heard)), [(false, Came::Heard)]);
        assert_eq!(told(|_| {}), [(false, Came::Left)]);
        let failed = Came::Failed("502".to_owned());
        for (status, is_refused) in [(200, false), (302, false), (400, true), (502, true)] {
            let status = StatusCode::from_u16(status).unwrap();
            let all = told(|mut call| {
                call.answered(status);
                call.end(failed.clone());
            });
            assert_eq!(all, [(is_refused, failed.clone())]);
        }
        assert!(told(|mut call| call.is_not_made()).is_empty());
    }
}
