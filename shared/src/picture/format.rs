//! The formats that pictures are encoded in, and the variants that every picture has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{MAX_MADE_SIDE, MAX_PIXELS, MAX_SIDE};

/// A file format that pictures are encoded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PictureFormat)]
pub enum Format {
    /// Lossy, without transparency.
    Jpeg,
    /// Lossless.
    Png,
    /// Lossy, smaller than JPEG.
    Webp,
    /// Lossy, the smallest, and slow to make.
    Avif,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::Webp, Self::Avif];

    /// Its type on the wire.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
        }
    }

    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Avif => "avif",
        }
    }

    /// The format of a variant of an upload of this type, unless another one is asked for. Of GIF it is the one that
    /// loses nothing.
    pub fn of_upload(media_type: &str) -> Self {
        match media_type {
            "image/jpeg" => Self::Jpeg,
            "image/webp" => Self::Webp,
            _ => Self::Png,
        }
    }

    /// Whether something is lost, and how much can be chosen.
    pub fn has_quality(self) -> bool {
        self != Self::Png
    }

    /// Most pixels, and the longest side. WebP has no longer ones (RFC 9649 §2.5), and its encoder takes four times the memory of
    /// others; of AVIF, more pixels would take too long.
    pub fn limits(self) -> (u64, u32) {
        match self {
            Self::Jpeg | Self::Png => (MAX_PIXELS, MAX_SIDE),
            Self::Webp => (16_777_216, 16_383),
            Self::Avif => (4_194_304, MAX_MADE_SIDE),
        }
    }
}

/// The variants that are made of every picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// For looking at.
    Display,
    /// Small.
    Thumbnail256,
    /// Middling.
    Thumbnail768,
}

impl Standard {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Display, Self::Thumbnail256, Self::Thumbnail768];

    /// Its permanent name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Display => "display",
            Self::Thumbnail256 => "thumbnail256",
            Self::Thumbnail768 => "thumbnail768",
        }
    }

    /// The square into which it is fitted.
    pub fn side(self) -> u32 {
        match self {
            Self::Display => 1_920,
            Self::Thumbnail256 => 256,
            Self::Thumbnail768 => 768,
        }
    }
}
