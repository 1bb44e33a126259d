//! Writing down what is said in a sound.

use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::Context as _;
use futures::FutureExt as _;
use serde_json::json;
use shared::{
    attachment_text,
    catalogue::AudioPrice,
    clients::transcriber::{Asked, Came, Told},
    database,
    ids::UsageId,
    jobs::TranscribeAudio,
    language::Language,
    models::{
        attachment, conversation,
        transcription::{self, Transcript},
        usage::{Hearing, Outcome as Spending, Purpose},
    },
};

use super::{Failure, Outcome, Run, reading::load};
use crate::{
    context::JobContext,
    engines::{
        process::ProcessError,
        speech::{Again, Hints, SoundError, SpeechError},
    },
};

/// Percent done when the parts begin, and what they are worth together.
const PARTS_BEGIN: usize = 10;
const PARTS_SHARE: usize = 85;

impl Run for TranscribeAudio {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let attachment = attachment::find_for_any_user(&ctx.db, self.attachment).await?;
        let asked = transcription::find(&ctx.db, self.attachment).await?;
        let (Some(attachment), Some(asked)) = (attachment, asked) else {
            return Ok(Outcome::Discard("the attachment was deleted"));
        };
        let speech = ctx.speech.as_ref().ok_or(Failure::Temporary {
            reason: "transcription_unavailable: ffmpeg is not installed on this worker".to_owned(),
            retry_after: None,
        })?;
        let limit = ctx.reached_limit(attachment.user_id).await?;
        let here = limit.map(|_| speech.without_servers());
        let speech = here.as_ref().unwrap_or(speech);
        let hints = hints(ctx, &attachment, &asked).await?;
        let purpose = purpose(ctx, &attachment).await?;

        ctx.progress(5, "loading the sound").await;
        let bytes = load(ctx, &attachment).await?;
        let folder = ctx.scratch.folder().context("no temporary folder")?;
        let file = folder.path().join("sound");
        tokio::fs::write(&file, bytes).await?;
        let progress = |part: usize, parts: usize| {
            async move {
                let percent = PARTS_BEGIN + PARTS_SHARE * (part - 1) / parts;
                let percent = u8::try_from(percent).unwrap_or(u8::MAX);
                let note = format!("part {part} of {parts}");
                ctx.progress(percent, &note).await;
            }
            .boxed()
        };
        let calls = AtomicI32::new(0);
        let note = |asked: Asked| {
            let number = 1 + calls.fetch_add(1, Ordering::Relaxed);
            account(ctx, purpose, number, asked).boxed()
        };
        let heard = speech
            .transcribe(&file, folder.path(), hints, &progress, &note)
            .await;
        let heard = match (heard, limit) {
            // A server might have heard it.
            (
                Err(SpeechError::Unavailable {
                    again: Again::Useless,
                    ..
                }),
                Some(limit),
            ) => {
                return Err(Failure::Permanent(limit.to_string()).into());
            }
            (heard, _) => heard.map_err(explain)?,
        };
        store(ctx, &attachment, heard).await
    }
}

/// The language that the user named for the latest try, and the one of the conversation, if it has just one.
async fn hints(
    ctx: &JobContext,
    attachment: &attachment::Model,
    asked: &transcription::Model,
) -> anyhow::Result<Hints> {
    let one = |names: Option<&str>| match Language::parse_all(names?).as_deref() {
        Ok([language]) => Some(*language),
        _ => None,
    };
    let conversations = match attachment.conversation_id {
        Some(id) => conversation::language_for_any_user(&ctx.db, id).await?,
        None => None,
    };
    Ok(Hints {
        asked: one(asked.requested_language.as_deref()),
        likely: one(conversations.as_deref()),
    })
}

/// Tells users what they can understand; the rest is for the log.
fn explain(error: SpeechError) -> anyhow::Error {
    let failure = match &error {
        SpeechError::Sound(SoundError::Process(ProcessError::Timeout { .. })) => {
            Failure::Temporary {
                reason: "decoding the sound took too long".to_owned(),
                retry_after: None,
            }
        }
        SpeechError::Sound(sound) if !sound.is_final() => return error.into(),
        SpeechError::Unnoted(_) => return error.into(),
        SpeechError::Unavailable {
            again: Again::Later(retry_after),
            ..
        } => Failure::Temporary {
            reason: error.to_string(),
            retry_after: *retry_after,
        },
        SpeechError::Sound(_) | SpeechError::Unavailable { .. } => {
            Failure::Permanent(error.to_string())
        }
    };
    anyhow::Error::new(error).context(failure)
}

/// On whose behalf servers are asked.
async fn purpose(ctx: &JobContext, attachment: &attachment::Model) -> anyhow::Result<Purpose> {
    let project = match attachment.conversation_id {
        Some(id) => conversation::project_for_any_user(&ctx.db, id).await?,
        None => None,
    };
    Ok(Purpose {
        user: Some(attachment.user_id),
        project,
        conversation: attachment.conversation_id,
        message: attachment.message_id,
        attachment: Some(attachment.id),
    })
}

/// Notes a call, and gives who writes into the ledger what came of it.
async fn account(
    ctx: &JobContext,
    purpose: Purpose,
    number: i32,
    asked: Asked,
) -> database::Result<Told> {
    let catalogue = ctx.providers.catalogue();
    let price = catalogue.audio_price(&asked.provider, &asked.model);
    let price = price.map(|price| (catalogue.version.clone(), price));
    let id = UsageId::new();
    let estimate = hearing(id, number, price.clone(), asked);
    let noted = ctx.note(estimate.row(purpose)).await?;
    Ok(Box::new(move |asked| {
        noted.write(hearing(id, number, price, asked).row(purpose));
    }))
}

/// A call, as it goes into the ledger.
fn hearing(id: UsageId, number: i32, price: Option<(String, AudioPrice)>, asked: Asked) -> Hearing {
    let (outcome, error) = match asked.came {
        Came::Heard => (Spending::Completed, None),
        Came::Failed(reason) => (Spending::Failed, Some(reason)),
        Came::Left => (Spending::Interrupted, None),
    };
    Hearing {
        id,
        number,
        provider: asked.provider,
        model: asked.model,
        key_group: asked.key_group,
        price,
        audio_ms: asked.audio_ms,
        is_guessed: asked.is_guessed,
        started_at: asked.at,
        outcome,
        error,
        is_refused: asked.is_refused,
        latency_ms: u32::try_from(asked.took.as_millis()).unwrap_or(u32::MAX),
    }
}

/// Stores what was heard and ends the job, if this run still owns it; then those who want the text find it in Redis.
async fn store(
    ctx: &JobContext,
    attachment: &attachment::Model,
    transcript: Transcript,
) -> anyhow::Result<Outcome> {
    let text = transcript.heard.text.clone();
    let result = json!({
        "engine": transcript.engine,
        "model": transcript.model,
        "durationSeconds": transcript.duration_seconds,
    });
    let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
    let again = tx.runs_again();
    let now = ctx.clock.now();
    let number = transcription::complete(&mut tx, attachment, transcript, again, now).await?;
    let outcome = tx.done(Some(result)).await?;
    attachment_text::put(&ctx.db, &ctx.redis, attachment.id, number, &text).await;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_may_heal_is_tried_again_when_it_is_asked_for() {
        let minute = Some(Duration::from_mins(1));
        let unavailable = |again| SpeechError::Unavailable {
            reason: "groq could not transcribe the sound".to_owned(),
            again,
        };
        for (error, asked) in [
            (SoundError::Silent.into(), None),
            (unavailable(Again::Useless), None),
            (unavailable(Again::Later(None)), Some(None)),
            (unavailable(Again::Later(minute)), Some(minute)),
        ] {
            let message = error.to_string();
            let error = explain(error);
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!(failure.to_string(), message);
            let found = match failure {
                Failure::Permanent(_) => None,
                Failure::Temporary { retry_after, .. } => Some(*retry_after),
            };
            assert_eq!(found, asked, "{message}");
        }
    }
}
