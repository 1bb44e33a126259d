//! Bodies of variants.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    ids::VariantId,
    models::{
        image::{self, Status},
        image_variant,
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{extract::Fields, jobs::dto::Job, page::Limit};

/// What a picture is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Image {
    status: Status,
    /// Pixels of the upright picture; of an animation, of each frame.
    #[schema(minimum = 1, example = 3000)]
    width: Option<i32>,
    /// Pixels of the upright picture.
    #[schema(minimum = 1, example = 4000)]
    height: Option<i32>,
    /// Whether it moves.
    is_animated: Option<bool>,
    /// Pictures of an animation; else 1.
    #[schema(minimum = 1)]
    frame_count: Option<i32>,
    /// The colour of most pixels, as `#rrggbb`.
    #[schema(example = "#c8b478")]
    dominant_color: Option<String>,
    /// A blur of it, to be shown until it is there: [BlurHash](https://blurha.sh) of 4 by 3 components, transparency on
    /// white.
    #[schema(example = "LEHV6nWB2yk8pyo0adR*.7kCMdnj")]
    blur_hash: Option<String>,
    /// Why it could not be processed, for people.
    error: Option<String>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<image::Model> for Image {
    fn from(row: image::Model) -> Self {
        let image::Model {
            attachment_id: _,
            job_id: _,
            status,
            width,
            height,
            frame_count,
            dominant_color,
            blur_hash,
            error,
            created_at: _,
            finished_at,
        } = row;
        Self {
            status,
            width,
            height,
            is_animated: frame_count.map(|frames| frames > 1),
            frame_count,
            dominant_color,
            blur_hash,
            error,
            finished_at,
        }
    }
}

/// A picture made of an uploaded one. Nothing but the picture is in its file: neither where nor by whom it was taken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variant {
    id: VariantId,
    /// Of those that every picture has: `display` (fits into 1920×1920; of an animation, the animation itself),
    /// `thumbnail256` and `thumbnail768` (fit into such squares; of an animation, its first frame). Null for one that was
    /// asked for.
    #[schema(example = "thumbnail256")]
    name: Option<String>,
    status: Status,
    /// What was asked for, with what was left out; null for those that every picture has.
    #[schema(value_type = Option<Object>)]
    request: Option<Value>,
    /// Null until it is made, like all that follows.
    #[schema(example = "image/webp")]
    media_type: Option<String>,
    /// In pixels.
    #[schema(minimum = 1, example = 192)]
    width: Option<i32>,
    /// In pixels.
    #[schema(minimum = 1, example = 256)]
    height: Option<i32>,
    #[schema(minimum = 0, example = 9214)]
    size_bytes: Option<i64>,
    /// In lower-case hex.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: Option<String>,
    /// The file, without credentials, for an hour.
    #[schema(
        format = "uri",
        example = "https://api.example.com/api/v1/attachments/019aa5c1-7d3a-7c62-9f0b-5e1d2a3b4c5d/variants/019aa5c1-7d3a-7c62-9f0b-5e1d2a3b4c5e/content?exp=1795255200&sig=6f1c"
    )]
    url: Option<String>,
    /// When `url` ends; the variant then has a new one.
    url_expires_at: Option<DateTime<Utc>>,
    /// Why it could not be made, for people.
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl Variant {
    /// Puts a variant together.
    pub(super) fn new(row: image_variant::Model, url: Option<(String, DateTime<Utc>)>) -> Self {
        let image_variant::Model {
            id,
            attachment_id: _,
            name,
            recipe,
            fingerprint: _,
            job_id: _,
            status,
            storage_key: _,
            media_type,
            width,
            height,
            size_bytes,
            sha256,
            error,
            created_at,
            finished_at,
        } = row;
        let (url, url_expires_at) = url.unzip();
        Self {
            id,
            name,
            status,
            request: recipe,
            media_type,
            width,
            height,
            size_bytes,
            sha256: sha256.map(hex::encode),
            url,
            url_expires_at,
            error,
            created_at,
            finished_at,
        }
    }
}

/// A variant that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RequestedVariant {
    pub(super) variant: Variant,
    /// The job that makes it; null if it is made already.
    pub(super) job: Option<Job>,
}

/// Which variants are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListVariants {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}
