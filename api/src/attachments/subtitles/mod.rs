//! What is said in an attachment, as subtitles.

mod cues;
mod format;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use deserr::Deserr;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use shared::{
    database::Refusal,
    ids::AttachmentId,
    models::{attachment, transcription},
};
use utoipa::{IntoParams, ToSchema};

use self::cues::cues;
pub(crate) use self::{
    cues::Cue,
    format::{srt, vtt},
};
use crate::{
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Fields, Path, Query},
    text::Param,
};

/// How subtitles are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SubtitleFormat {
    /// `WebVTT`, which browsers show.
    #[default]
    Vtt,
    /// `SubRip`, which players and editors read.
    Srt,
}

/// Which subtitles.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct GetSubtitles {
    /// How they are written; `vtt` unless told otherwise.
    #[deserr(default)]
    #[param(value_type = Option<SubtitleFormat>, inline)]
    format: Option<Param<SubtitleFormat>>,
}

/// Gets what is said in an attachment as subtitles: lines of at most 42 characters, two at a time.
///
/// 409 as long as nothing was transcribed.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/subtitles", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment"), GetSubtitles),
    responses(
        (status = 200, description = "The subtitles", content(
            (String = "text/vtt", example = "WEBVTT\n\n00:00:00.240 --> 00:00:03.100\nThe library opens on Saturday.\n"),
            (String = "application/x-subrip", example = "1\n00:00:00,240 --> 00:00:03,100\nThe library opens on Saturday.\n\n"),
        )),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn get_subtitles(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
    Query(input): Query<GetSubtitles>,
) -> Result<Response> {
    let row = attachment::get(&app.db, caller.user, id).await?;
    let heard = transcription::find(&app.db, row.id).await?;
    let heard = heard.filter(|heard| heard.versions > 0);
    let heard = heard.ok_or(Refusal::NotTranscribed)?;
    let (segments, words) = (read(heard.segments)?, read(heard.words)?);
    let cues = cues(&segments, &words);
    let (media_type, text) = match input.format.map_or_else(SubtitleFormat::default, |of| of.0) {
        SubtitleFormat::Vtt => ("text/vtt; charset=utf-8", vtt(&cues)),
        SubtitleFormat::Srt => ("application/x-subrip; charset=utf-8", srt(&cues)),
    };
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    Ok((content_type, text).into_response())
}

fn read<T: DeserializeOwned>(stored: Option<Value>) -> Result<Vec<T>> {
    let stored = stored.map(serde_json::from_value).transpose();
    Ok(stored.map_err(anyhow::Error::from)?.unwrap_or_default())
}
