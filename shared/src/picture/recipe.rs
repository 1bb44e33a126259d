//! What a variant of a picture is to be: what the API writes down, and the worker carries out.
//!
//! Steps are taken in this order: the upright picture is cropped, resized, marked and encoded.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Format;
use crate::keyring::sha256;

/// How a picture is fitted into a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PictureFit)]
pub enum Fit {
    /// The whole of it, in its own proportions, within the size. It is never enlarged.
    #[default]
    Inside,
    /// Its middle, in its own proportions, of exactly this size.
    Cover,
    /// The whole of it, stretched to exactly this size.
    Fill,
}

/// Where a watermark stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WatermarkPosition)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Position {
    TopLeft,
    Top,
    TopRight,
    Left,
    Center,
    Right,
    BottomLeft,
    Bottom,
    #[default]
    BottomRight,
}

/// A rectangle of the upright picture, in its pixels, from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crop {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// At least 1.
    pub width: u32,
    /// At least 1.
    pub height: u32,
}

/// A size to be fitted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// 1 to [`MAX_MADE_SIDE`](super::MAX_MADE_SIDE); may be missing only where the fit is `inside` and the height is there.
    pub width: Option<u32>,
    /// As the width.
    pub height: Option<u32>,
    /// How it is fitted.
    pub fit: Fit,
}

/// Text that is drawn over the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// One line, in any script.
    pub text: String,
    /// Where it stands.
    pub position: Position,
    /// In percent.
    pub opacity: u8,
    /// Height of its letters in percent of the shorter side.
    pub size: u8,
    /// Red, green and blue.
    pub color: [u8; 3],
}

/// What a variant is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// What is kept of the upright picture; all of it unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Its new size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// What is drawn over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// How it is encoded.
    pub format: Format,
    /// 1 to 100; none for what has no quality to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
}

impl Recipe {
    /// A recipe that fits the whole picture into a square.
    pub fn fitting(side: u32, format: Format, quality: u8) -> Self {
        Self {
            crop: None,
            resize: Some(Resize {
                width: Some(side),
                height: Some(side),
                fit: Fit::Inside,
            }),
            watermark: None,
            format,
            quality: format.has_quality().then_some(quality),
        }
    }

    /// What tells this recipe from another one: the same for the same request.
    pub fn fingerprint(&self) -> [u8; 32] {
        let text = serde_json::to_vec(self).expect("a recipe is plain data");
        sha256(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_has_the_same_fingerprint() {
        let one = Recipe::fitting(256, Format::Webp, 80);
        let text = serde_json::to_string(&one).unwrap();
        let again: Recipe = serde_json::from_str(&text).unwrap();
        assert_eq!(one.fingerprint(), again.fingerprint());
        let other = Recipe::fitting(256, Format::Webp, 81);
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
