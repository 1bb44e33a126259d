//! What is asked for, read and checked.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use shared::picture::{self, Fit, Format, MAX_MADE_SIDE, Misfit, Position, Recipe};
use utoipa::ToSchema;

use crate::{
    error::{Error, FieldProblem, Result},
    extract::{Fields, Rule},
    text::{Line, Param, refuse},
};

/// Longest side of an uploaded picture.
const SIDE: u32 = picture::MAX_SIDE;
/// Quality, unless told otherwise.
const QUALITY: u8 = 80;
/// Opacity of a watermark in percent, unless told otherwise.
const OPACITY: u8 = 50;
/// Height of a watermark's letters in percent of the shorter side, unless told otherwise.
const LETTERS: u8 = 5;

/// What is to be made of a picture: at least one of these. It is cropped, then resized, then marked, then encoded. Of an
/// animation it is the first frame.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase", min_properties = 1)]
#[schema(example = json!({ "resize": { "width": 640, "height": 480, "fit": "cover" }, "format": "webp", "quality": 75 }))]
pub(super) struct CreateVariant {
    /// The part that is taken.
    #[deserr(default)]
    crop: Option<Crop>,
    /// Its new size.
    #[deserr(default)]
    resize: Option<Resize>,
    /// Text that is drawn over it.
    #[deserr(default)]
    watermark: Option<Watermark>,
    /// How it is encoded; unless told otherwise like the upload, and PNG if that is a GIF.
    #[deserr(default)]
    #[schema(value_type = Option<Format>)]
    format: Option<Param<Format>>,
    /// 1 to 100; 80 unless told otherwise. Not for PNG, which loses nothing.
    #[deserr(default)]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 100)]
    quality: Option<Whole<1, 100>>,
}

/// A part of the upright picture, in its pixels.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase", as = VariantCrop)]
pub(super) struct Crop {
    /// From the left.
    #[schema(value_type = u32, minimum = 0, maximum = 32_000, example = 0)]
    x: Whole<0, SIDE>,
    /// From the top.
    #[schema(value_type = u32, minimum = 0, maximum = 32_000, example = 0)]
    y: Whole<0, SIDE>,
    #[schema(value_type = u32, minimum = 1, maximum = 32_000, example = 100)]
    width: Whole<1, SIDE>,
    #[schema(value_type = u32, minimum = 1, maximum = 32_000, example = 100)]
    height: Whole<1, SIDE>,
}

/// A size. `inside` takes a width, a height or both, and never enlarges; `cover` and `fill` take both.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase", as = VariantResize, min_properties = 1)]
pub(super) struct Resize {
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 4_096, example = 640)]
    width: Option<Whole<1, MAX_MADE_SIDE>>,
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 4_096, example = 480)]
    height: Option<Whole<1, MAX_MADE_SIDE>>,
    /// `inside` unless told otherwise.
    #[deserr(default)]
    #[schema(value_type = Option<Fit>)]
    fit: Option<Param<Fit>>,
}

/// A line of text in any script.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase", as = VariantWatermark)]
pub(super) struct Watermark {
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "© बातचीत بات چیت")]
    text: Line<1, 200>,
    /// `bottomRight` unless told otherwise.
    #[deserr(default)]
    #[schema(value_type = Option<Position>)]
    position: Option<Param<Position>>,
    /// In percent; 50 unless told otherwise.
    #[deserr(default)]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 100)]
    opacity: Option<Whole<1, 100>>,
    /// Height of its letters in percent of the shorter side; 5 unless told otherwise. A line that is too long gets smaller.
    #[deserr(default)]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 50)]
    size: Option<Whole<1, 50>>,
    /// White unless told otherwise.
    #[deserr(default)]
    #[schema(value_type = Option<String>, pattern = "^#[0-9a-fA-F]{6}$", example = "#ffffff")]
    color: Option<Colour>,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// For those that are small by their type.
    fn small(self) -> u8 {
        u8::try_from(self.0).unwrap_or(u8::MAX)
    }
}

impl<const MIN: u32, const MAX: u32> Deserr<Fields> for Whole<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        let number = match value {
            Value::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        };
        number
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| {
                let rule = format!("must be a whole number from {MIN} to {MAX}");
                refuse(Rule::new(rule), location)
            })
    }
}

/// `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Colour::parse -> Rule)]
struct Colour([u8; 3]);

impl Colour {
    fn parse(text: &str) -> Result<Self, Rule> {
        let mut colour = [0; 3];
        text.strip_prefix('#')
            .and_then(|digits| hex::decode_to_slice(digits, &mut colour).ok())
            .map(|()| Self(colour))
            .ok_or_else(|| Rule::new("must be a colour like #ffffff"))
    }
}

impl CreateVariant {
    /// What is asked for of an upload of this type, with what was left out.
    ///
    /// # Errors
    /// Which fields do not go together.
    pub(super) fn recipe(self, media_type: &str) -> Result<Recipe> {
        let mut problems = Vec::new();
        let mut problem = |pointer: &str, detail: &str| {
            problems.push(FieldProblem {
                pointer: pointer.to_owned(),
                detail: detail.to_owned(),
            });
        };
        let is_empty = self.crop.is_none()
            && self.resize.is_none()
            && self.watermark.is_none()
            && self.format.is_none()
            && self.quality.is_none();
        if is_empty {
            problem("", "must have at least one field");
        }
        let format = self
            .format
            .map_or_else(|| Format::of_upload(media_type), |format| format.0);
        if self.quality.is_some() && !format.has_quality() {
            problem("/quality", "is not for png, which loses nothing");
        }
        if let Some(resize) = &self.resize {
            let fit = resize.fit.map_or(Fit::Inside, |fit| fit.0);
            match (resize.width, resize.height) {
                (None, None) => problem("/resize", "must have a width or a height"),
                (None, Some(_)) if fit != Fit::Inside => {
                    problem("/resize/width", "is missing, as the fit is not inside");
                }
                (Some(_), None) if fit != Fit::Inside => {
                    problem("/resize/height", "is missing, as the fit is not inside");
                }
                _ => {}
            }
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let quality = self.quality.map_or(QUALITY, Whole::small);
        Ok(Recipe {
            crop: self.crop.map(Into::into),
            resize: self.resize.map(Into::into),
            watermark: self.watermark.map(Into::into),
            format,
            quality: format.has_quality().then_some(quality),
        })
    }
}

impl From<Crop> for picture::Crop {
    fn from(input: Crop) -> Self {
        Self {
            x: input.x.0,
            y: input.y.0,
            width: input.width.0,
            height: input.height.0,
        }
    }
}

impl From<Resize> for picture::Resize {
    fn from(input: Resize) -> Self {
        Self {
            width: input.width.map(|width| width.0),
            height: input.height.map(|height| height.0),
            fit: input.fit.map_or(Fit::Inside, |fit| fit.0),
        }
    }
}

impl From<Watermark> for picture::Watermark {
    fn from(input: Watermark) -> Self {
        Self {
            text: input.text.0,
            position: input
                .position
                .map_or(Position::BottomRight, |position| position.0),
            opacity: input.opacity.map_or(OPACITY, Whole::small),
            size: input.size.map_or(LETTERS, Whole::small),
            color: input.color.map_or([255; 3], |colour| colour.0),
        }
    }
}

/// What is wrong with a recipe for a picture of a certain size.
pub(super) fn misfit(misfit: Misfit) -> Error {
    Error::field(format!("/{}", misfit.field()), misfit.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::extract;

    fn read(body: serde_json::Value, media_type: &str) -> Result<Recipe> {
        extract::read::<CreateVariant>(body)?.recipe(media_type)
    }

    fn pointers(body: serde_json::Value) -> Vec<String> {
        let Err(Error::Invalid(fields)) = read(body, "image/jpeg") else {
            panic!("it was taken");
        };
        fields.into_iter().map(|field| field.pointer).collect()
    }

    #[test]
    fn what_is_left_out_is_the_same_as_what_it_means() {
        let short = read(json!({ "resize": { "width": 100 } }), "image/jpeg").unwrap();
        let long = json!({
            "resize": { "width": 100, "height": null, "fit": "inside" }, "format": "jpeg", "quality": 80, "crop": null,
        });
        let long = read(long, "image/png").unwrap();
        assert_eq!(short.fingerprint(), long.fingerprint());
        let png = read(json!({ "resize": { "width": 100 } }), "image/gif").unwrap();
        assert_eq!((png.format, png.quality), (Format::Png, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, wrong) in [
            (json!({}), &[""][..]),
            (json!({ "quality": 0 }), &["/quality"]),
            (json!({ "quality": 80.5 }), &["/quality"]),
            (json!({ "quality": 80, "format": "png" }), &["/quality"]),
            (json!({ "format": "gif" }), &["/format"]),
            (json!({ "resize": {} }), &["/resize"]),
            (json!({ "resize": { "width": 4097 } }), &["/resize/width"]),
            (
                json!({ "resize": { "width": 9, "fit": "cover" } }),
                &["/resize/height"],
            ),
            (
                json!({ "resize": { "height": 9, "fit": "fill" } }),
                &["/resize/width"],
            ),
            (
                json!({ "crop": { "x": -1, "y": 0, "width": 0 } }),
                &["/crop/x", "/crop/width", "/crop/height"],
            ),
            (
                json!({ "watermark": { "text": "", "opacity": 101, "color": "red" } }),
                &["/watermark/text", "/watermark/opacity", "/watermark/color"],
            ),
            (json!({ "rotate": 90 }), &["/rotate"]),
        ] {
            let mut found = pointers(body.clone());
            let mut wrong: Vec<String> = wrong.iter().map(|&pointer| pointer.to_owned()).collect();
            found.sort();
            wrong.sort();
            assert_eq!(found, wrong, "{body}");
        }
        let Err(Error::Invalid(fields)) = read(json!({ "format": "gif" }), "image/png") else {
            panic!("it was taken");
        };
        assert_eq!(
            fields[0].detail,
            "must be one of `jpeg`, `png`, `webp`, `avif`"
        );
    }
}
