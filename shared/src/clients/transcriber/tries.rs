//! Tries with all keys of a provider, until one is answered.

use std::time::Duration;

use super::{
    Came, Note, Sound, TranscribeError, Transcriber, call::Call, reading::Reading, request::Failed,
};
use crate::{providers::NotNow, telemetry::report_step};

/// Further tries after an answer that may heal.
const RETRIES: u32 = 2;
/// Wait before the first further try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A server that asks for more is left alone: another one may answer, and a worker has better things to do than wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Transcriber {
    /// Has a sound heard, by one key after the other.
    pub(super) async fn hear<T: Reading>(
        &self,
        sound: &Sound<'_>,
        note: &Note<'_>,
    ) -> Result<T, TranscribeError> {
        let mut tried: Vec<String> = Vec::new();
        let mut rounds = 0;
        let mut refused = "none of our keys is taken".to_owned();
        // Of the accounts that are asked too often: what the last one said, and for how long to wait for the first.
        let mut limited: Option<(String, Option<Duration>)> = None;
        loop {
            let form = self.form(sound).await?;
            let picked = match self.providers.pick(&self.name, &self.model, &tried).await {
                Ok(picked) => picked,
                Err(why @ (NotNow::Exhausted(wait) | NotNow::Open(wait))) => {
                    let reason = "it is asked too often, or has failed too often".to_owned();
                    let is_limit = matches!(why, NotNow::Exhausted(_));
                    self.wait(&mut rounds, reason, Some(wait), is_limit).await?;
                    tried.clear();
                    continue;
                }
                Err(NotNow::NoKey) => {
                    let Some((reason, wait)) = limited.take() else {
                        let provider = self.name.clone();
                        return Err(TranscribeError::Refused {
                            provider,
                            reason: refused,
                        });
                    };
                    self.wait(&mut rounds, reason, wait, true).await?;
                    tried.clear();
                    continue;
                }
            };
            tried.push(picked.key_id().to_owned());
            let asked = self.asked(&picked, sound.seconds, T::IS_GUESSED);
            let mut call = match Call::begin(note, asked).await {
                Ok(call) => call,
                Err(error) => {
                    self.providers.end_probe(&picked).await;
                    return Err(TranscribeError::Unnoted(error));
                }
            };
            let heard = self.ask::<T>(&picked, form, &mut call).await;
            call.end(match &heard {
                Ok(_) => Came::Heard,
                Err(failed) => Came::Failed(failed.reason()),
            });
            match heard {
                Ok(heard) => {
                    self.providers.completed(&picked).await;
                    return Ok(heard);
                }
                Err(Failed::Final(error)) => {
                    self.providers.end_probe(&picked).await;
                    return Err(error);
                }
                Err(Failed::Key(reason)) => {
                    self.providers.retired(&picked, reason.clone()).await;
                    refused = reason;
                }
                Err(Failed::Barred(reason)) => {
                    self.providers.end_probe(&picked).await;
                    refused = reason;
                }
                Err(Failed::Limited { reason, limit }) => {
                    self.providers.limited(&picked, limit).await;
                    let known = limited.take().and_then(|(_, wait)| wait);
                    let soonest = match (known, limit.wait) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                    limited = Some((reason, soonest));
                }
                Err(Failed::Passing {
                    reason,
                    retry_after,
                }) => {
                    self.providers.failed(&picked).await;
                    self.wait(&mut rounds, reason, retry_after, false).await?;
                    tried.clear();
                }
            }
        }
    }

    /// Waits for the next try, if there is one.
    async fn wait(
        &self,
        tries: &mut u32,
        reason: String,
        retry_after: Option<Duration>,
        is_limit: bool,
    ) -> Result<(), TranscribeError> {
        report_step(&self.name, true, || reason.clone());
        let wait = retry_after.unwrap_or(FIRST_WAIT * 2_u32.pow(*tries));
        *tries += 1;
        if *tries > RETRIES || wait > LONGEST_WAIT {
            return Err(TranscribeError::Unavailable {
                provider: self.name.clone(),
                reason,
                retry_after,
                is_limit,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
