//! Answers in one piece.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use shared::models::message::{AnswerUsage, Failure};

use super::{
    chunks::{Chunks, Said, Whole, finish},
    fault::{Fault, Result},
};
use crate::{
    chat::{
        direct::Hearing,
        spoken::{Following, Next, failure_of},
        tell_usage,
    },
    error::Error,
};

/// Waits for an answer that nobody keeps, and answers with it.
///
/// # Errors
/// As it is not made to its end.
pub(super) async fn direct(mut hearing: Hearing, chunks: &Chunks) -> Result<Response> {
    let mut said = Said::default();
    while let Some(piece) = hearing.next().await {
        said.add(piece);
    }
    let end = hearing.end().await;
    let ending = end.came.map_err(|failure| Fault::from(&failure))?;
    let finish = finish(&ending);
    said.calls = ending.calls;
    let answer = chunks.whole(said, finish, &end.usage);
    respond(answer, end.provider.as_deref(), &end.usage).await
}

/// Waits for an answer that is kept, and answers with it.
///
/// # Errors
/// As it is not made to its end.
pub(super) async fn followed(mut following: Following, chunks: &Chunks) -> Result<Response> {
    let row = loop {
        match following.next().await {
            Next::Words(_) | Next::Silence => {}
            Next::End(row) => break row,
            Next::Lost(error) => return Err(lost(&error).into()),
        }
    };
    if let Some(failure) = failure_of(&row) {
        return Err(kept(&failure).into());
    }
    let said = Said::of_text(row.content.text());
    let usage = row.figures.as_ref().map(|figures| figures.usage.clone());
    let usage = usage.unwrap_or_default();
    let finish = finish_of(row.finish_reason.as_deref());
    let answer = chunks.whole(said, finish, &usage);
    respond(answer, row.provider.as_deref(), &usage).await
}

/// Why an answer that is kept was not made to its end. The question is kept, too: who asks again says it once more.
pub(super) fn kept(failure: &Failure) -> Fault {
    Fault::from(failure).for_good()
}

/// An answer that is kept cannot be followed to its end.
pub(super) fn lost(error: &Error) -> Fault {
    match error {
        Error::NotFound(_) => {
            let told = "the answer was deleted";
            return Fault::of_status(StatusCode::NOT_FOUND, "not_found", told);
        }
        Error::Internal(source) => {
            tracing::error!(error = %format!("{source:#}"), "an answer cannot be read to its end");
        }
        _ => tracing::debug!(error = %error, "an answer cannot be read to its end"),
    }
    let told = "the answer cannot be read to its end here";
    Fault::server(StatusCode::SERVICE_UNAVAILABLE, "interrupted", told).for_good()
}

/// Why an answer has ended that is kept.
pub(super) fn finish_of(reason: Option<&str>) -> &'static str {
    finish(&shared::clients::chat::Ending {
        finish: reason.unwrap_or_default().to_owned(),
        usage: None,
        calls: Vec::new(),
        thoughts: String::new(),
    })
}

async fn respond(answer: Whole, provider: Option<&str>, usage: &AnswerUsage) -> Result<Response> {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (json, answer.write().await?).into_response();
    tell_usage(response.headers_mut(), provider, Some(usage));
    Ok(response)
}
