//! What is said in sounds: written down at once by a provider, and kept nowhere.

mod form;
mod format;
mod ledger;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use futures::FutureExt as _;
use shared::{
    catalogue::near,
    clients::transcriber::{Asked, TranscribeError},
};
use tokio::sync::OwnedSemaphorePermit;

use self::{format::Times, ledger::Ledger};
use super::{
    docs::{CreateOpenAiTranscription, OpenAiErrors, OpenAiTranscription},
    fault::{Fault, Result},
};
use crate::{
    app::App,
    caller::Caller,
    chat::{scrub, tell_usage},
    error::Error,
    usage::admit,
};

/// When to ask again, where nobody says.
const RETRY_LATER: Duration = Duration::from_secs(2);
/// Longest wait for a place among the sounds that are there at once.
const UNTIL_PLACE: Duration = Duration::from_secs(5);

/// Writes down what is said in a sound.
///
/// The sound goes to the provider as it came, and is kept nowhere. Subtitles are made of its segments.
#[utoipa::path(
    post, path = "/v1/audio/transcriptions", tag = "openai",
    request_body(content = CreateOpenAiTranscription, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "What is said, as `response_format` says", content(
            (OpenAiTranscription = "application/json"),
            (String = "text/plain", example = "The library opens on Saturday morning.\n"),
        )),
        OpenAiErrors,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_openai_transcription(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response> {
    let began = Instant::now();
    let limit_bytes = app.config.max_audio_bytes;
    if let Err(refused) = admit(&app, &app.db, caller.user).await {
        form::leave(request, limit_bytes).await;
        return Err(refused.into());
    }
    let Some(_place) = place(&app).await? else {
        form::leave(request, limit_bytes).await;
        return Err(Error::Overloaded.into());
    };
    let form = Box::pin(form::receive(request, limit_bytes, &app.scratch)).await?;
    let providers = providers(&app, &form.model)?;
    let ledger = Ledger::new(&app, caller.user);
    let note = |asked: Asked| ledger.note(asked).boxed();
    let mut failed = None;
    for provider in providers {
        let transcriber = app.transcribers.of(provider.clone(), form.model.clone());
        let sound = form.sound();
        match Box::pin(transcriber.write_down(&sound, &note)).await {
            Ok(heard) => {
                let times = Times {
                    words: form.words,
                    segments: form.segments,
                };
                let mut response = format::write(form.format, &heard, times);
                let usage = ledger.usage(began.elapsed());
                tell_usage(response.headers_mut(), Some(&*provider), Some(&usage));
                return Ok(response);
            }
            // Whoever hears it would say the same, and what cannot be noted is not asked.
            Err(
                error @ (TranscribeError::NotTaken { .. }
                | TranscribeError::Io(_)
                | TranscribeError::Unnoted(_)),
            ) => {
                failed = Some(error);
                break;
            }
            Err(error) => failed = Some(sooner(failed, error)),
        }
    }
    Err(failed.map_or_else(
        || Error::Internal(anyhow::anyhow!("there is a provider")).into(),
        refused,
    ))
}

/// Waits for a place among the sounds that are there at once; none where that takes too long.
async fn place(app: &App) -> Result<Option<OwnedSemaphorePermit>, Error> {
    let place = app.sounds.clone().acquire_owned();
    match tokio::time::timeout(UNTIL_PLACE, place).await {
        Ok(place) => Ok(Some(place.map_err(anyhow::Error::from)?)),
        Err(_) => Ok(None),
    }
}

/// Of two failures the one after which asking again may help sooner; else the later one.
fn sooner(known: Option<TranscribeError>, error: TranscribeError) -> TranscribeError {
    let wait = |error: &TranscribeError| match error {
        TranscribeError::Unavailable { retry_after, .. } => retry_after.unwrap_or(RETRY_LATER),
        _ => Duration::MAX,
    };
    match known {
        Some(known) if wait(&known) < wait(&error) => known,
        _ => error,
    }
}

/// Who can be asked for a model, in the order of the catalogue.
fn providers(app: &App, id: &str) -> Result<Vec<Arc<str>>> {
    let catalogue = &app.config.common.ai.catalogue;
    let has = |name: &str| {
        let mut models = catalogue
            .provider(name)
            .into_iter()
            .flat_map(|provider| &provider.transcription);
        models.any(|model| model.model == id)
    };
    let all = catalogue.providers.iter();
    let with: Vec<_> = all.filter(|provider| has(&provider.name)).collect();
    if with.is_empty() {
        let known = catalogue.providers.iter();
        let known = known.flat_map(|provider| &provider.transcription);
        let near = near(id, known.map(|model| model.model.as_str()));
        return Err(Error::ModelNotFound {
            model: id.to_owned(),
            near: near.into_iter().map(str::to_owned).collect(),
        }
        .into());
    }
    let usable: Vec<Arc<str>> = with
        .iter()
        .filter(|provider| app.providers.has(&provider.name))
        .map(|provider| Arc::from(provider.name.as_str()))
        .collect();
    if usable.is_empty() {
        let variables = with.iter().map(|provider| provider.variable("API_KEYS"));
        return Err(Error::NoProvider {
            what: id.to_owned(),
            variables: variables.collect(),
        }
        .into());
    }
    Ok(usable)
}

/// What a client is told: who failed, and not what it said of the operator's account.
fn refused(error: TranscribeError) -> super::fault::Error {
    match error {
        TranscribeError::Unavailable {
            provider,
            reason,
            retry_after,
            is_limit,
        } => {
            tracing::info!(%provider, reason, "a provider did not hear");
            let wait = retry_after.unwrap_or(RETRY_LATER);
            if is_limit {
                return Fault::limit(wait, format!("{provider} is asked too often now")).into();
            }
            let told = format!("{provider} is not available");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Fault::server(status, "provider_unavailable", told)
                .after(wait)
                .into()
        }
        TranscribeError::Refused { provider, reason } => {
            tracing::info!(%provider, reason, "a provider refuses us");
            let told = format!("{provider} refuses us; an operator has to look at it");
            Fault::server(StatusCode::BAD_GATEWAY, "provider_failed", told)
                .for_good()
                .into()
        }
        TranscribeError::NotTaken { provider, reason } => {
            let told = format!("{provider} does not take the sound: {}", scrub(&reason));
            Fault::invalid("file", told).into()
        }
        TranscribeError::Io(error) => Error::Internal(error.into()).into(),
        TranscribeError::Unnoted(error) => Error::from(error).into(),
    }
}
