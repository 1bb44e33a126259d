//! Applying a recipe to a picture of a certain size, before there are any pixels.

use serde::{Deserialize, Serialize};

use super::recipe::{Crop, Fit, Recipe, Resize};

/// A recipe for a picture of a certain size: which part of it is taken, and how large that becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Left edge in the upright picture.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width in the upright picture.
    pub taken_width: f64,
    /// Height in the upright picture.
    pub taken_height: f64,
    /// Width of what is made.
    pub width: u32,
    /// Height of what is made.
    pub height: u32,
}

/// Why a recipe does not fit a picture. The messages are for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Misfit {
    /// The crop is not within the picture.
    #[error("goes beyond the upright picture, which has {width}×{height} pixels")]
    Crop {
        /// Width of the upright picture.
        width: u32,
        /// Height of the upright picture.
        height: u32,
    },
    /// The format does not hold so many pixels.
    #[error(
        "is not for a variant of {width}×{height} pixels; it may have {max_pixels} in all, and {max_side} on a side"
    )]
    Format {
        /// Width of the variant.
        width: u32,
        /// Height of the variant.
        height: u32,
        /// Most pixels of the format.
        max_pixels: u64,
        /// Longest side of the format.
        max_side: u32,
    },
}

impl Misfit {
    /// The field of the request that is wrong.
    pub fn field(self) -> &'static str {
        match self {
            Self::Crop { .. } => "crop",
            Self::Format { .. } => "format",
        }
    }
}

impl Recipe {
    /// Applies the recipe to an upright picture of this size.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn plan(&self, width: u32, height: u32) -> Result<Plan, Misfit> {
        let whole = Crop {
            x: 0,
            y: 0,
            width,
            height,
        };
        let crop = self.crop.unwrap_or(whole);
        let ends = |start: u32, length: u32| u64::from(start) + u64::from(length);
        if crop.width == 0
            || crop.height == 0
            || ends(crop.x, crop.width) > width.into()
            || ends(crop.y, crop.height) > height.into()
        {
            return Err(Misfit::Crop { width, height });
        }
        let plan = Plan {
            left: crop.x.into(),
            top: crop.y.into(),
            taken_width: crop.width.into(),
            taken_height: crop.height.into(),
            width: crop.width,
            height: crop.height,
        };
        let plan = self.resize.map_or(plan, |resize| plan.resized(resize));
        let (max_pixels, max_side) = self.format.limits();
        let pixels = u64::from(plan.width) * u64::from(plan.height);
        if pixels > max_pixels || plan.width.max(plan.height) > max_side {
            return Err(Misfit::Format {
                width: plan.width,
                height: plan.height,
                max_pixels,
                max_side,
            });
        }
        Ok(plan)
    }
}

impl Plan {
    fn resized(self, resize: Resize) -> Self {
        let ratio = |to: Option<u32>, from: f64| to.map(|to| f64::from(to) / from);
        let across = ratio(resize.width, self.taken_width);
        let down = ratio(resize.height, self.taken_height);
        let exact = resize.width.zip(resize.height);
        match (resize.fit, exact) {
            (Fit::Fill, Some((width, height))) => Self {
                width,
                height,
                ..self
            },
            (Fit::Cover, Some((width, height))) => {
                let scale = across.unwrap_or(1.0).max(down.unwrap_or(1.0));
                let (taken_width, taken_height) = (
                    (f64::from(width) / scale).min(self.taken_width),
                    (f64::from(height) / scale).min(self.taken_height),
                );
                Self {
                    left: self.left + (self.taken_width - taken_width) / 2.0,
                    top: self.top + (self.taken_height - taken_height) / 2.0,
                    taken_width,
                    taken_height,
                    width,
                    height,
                }
            }
            _ => {
                let scale = across.into_iter().chain(down).fold(1.0, f64::min);
                Self {
                    width: scaled(self.taken_width, scale),
                    height: scaled(self.taken_height, scale),
                    ..self
                }
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a scale is at most 1, and sides of pictures are small"
)]
fn scaled(length: f64, scale: f64) -> u32 {
    ((length * scale).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::picture::{Format, MAX_MADE_SIDE};

    fn recipe(crop: Option<Crop>, resize: Option<(Option<u32>, Option<u32>, Fit)>) -> Recipe {
        Recipe {
            crop,
            resize: resize.map(|(width, height, fit)| Resize { width, height, fit }),
            watermark: None,
            format: Format::Jpeg,
            quality: Some(80),
        }
    }

    fn size(recipe: &Recipe, width: u32, height: u32) -> (u32, u32) {
        let plan = recipe.plan(width, height).unwrap();
        (plan.width, plan.height)
    }

    #[test]
    fn inside_keeps_proportions_and_never_enlarges() {
        let square = Recipe::fitting(1_920, Format::Jpeg, 80);
        for (from, to) in [
            ((3_000, 4_000), (1_440, 1_920)),
            ((1_920, 1_920), (1_920, 1_920)),
            ((640, 480), (640, 480)),
            ((32_000, 1_000), (1_920, 60)),
            ((32_000, 1), (1_920, 1)),
        ] {
            assert_eq!(size(&square, from.0, from.1), to, "{from:?}");
        }
        let wide = recipe(None, Some((Some(100), None, Fit::Inside)));
        assert_eq!(size(&wide, 200, 50), (100, 25));
        let high = recipe(None, Some((None, Some(100), Fit::Inside)));
        assert_eq!(size(&high, 200, 50), (200, 50));
    }

    #[test]
    fn cover_takes_the_middle_and_fill_takes_all() {
        let cover = recipe(None, Some((Some(100), Some(100), Fit::Cover)));
        let plan = cover.plan(400, 200).unwrap();
        assert_eq!((plan.width, plan.height), (100, 100));
        assert_eq!((plan.left, plan.top), (100.0, 0.0));
        assert_eq!((plan.taken_width, plan.taken_height), (200.0, 200.0));
        let fill = recipe(None, Some((Some(10), Some(300), Fit::Fill)));
        let plan = fill.plan(400, 200).unwrap();
        assert_eq!((plan.width, plan.height), (10, 300));
        assert_eq!((plan.taken_width, plan.taken_height), (400.0, 200.0));
    }

    #[test]
    fn a_crop_is_within_the_picture() {
        let crop = |x, y, width, height| Crop {
            x,
            y,
            width,
            height,
        };
        assert_eq!(
            size(&recipe(Some(crop(10, 20, 90, 80)), None), 100, 100),
            (90, 80)
        );
        for bad in [
            crop(11, 20, 90, 80),
            crop(10, 21, 90, 80),
            crop(u32::MAX, 0, u32::MAX, 1),
            crop(0, 0, 0, 1),
        ] {
            let misfit = recipe(Some(bad), None).plan(100, 100).unwrap_err();
            assert!(matches!(misfit, Misfit::Crop { .. }), "{bad:?}");
        }
    }

    #[test]
    fn a_format_holds_so_much() {
        let mut large = recipe(None, None);
        assert_eq!(size(&large, 8_000, 5_000), (8_000, 5_000));
        large.format = Format::Avif;
        let misfit = large.plan(8_000, 5_000).unwrap_err();
        assert!(misfit.to_string().contains("8000×5000"), "{misfit}");
        large.resize = Some(Resize {
            width: Some(2_048),
            height: None,
            fit: Fit::Inside,
        });
        assert_eq!(size(&large, 8_000, 5_000), (2_048, 1_280));
    }

    fn any_fit() -> impl Strategy<Value = Fit> {
        prop_oneof![Just(Fit::Inside), Just(Fit::Cover), Just(Fit::Fill)]
    }

    proptest! {
        #[test]
        fn a_plan_is_within_the_picture_and_the_limits(
            (width, height) in (1u32..=32_000, 1u32..=1_250),
            to_width in 1..=MAX_MADE_SIDE, to_height in 1..=MAX_MADE_SIDE, fit in any_fit(),
        ) {
            let plan = recipe(None, Some((Some(to_width), Some(to_height), fit))).plan(width, height).unwrap();
            prop_assert!(plan.width >= 1 && plan.width <= to_width && plan.height >= 1 && plan.height <= to_height);
            prop_assert!(plan.left >= 0.0 && plan.left + plan.taken_width <= f64::from(width) + 1e-6);
            prop_assert!(plan.top >= 0.0 && plan.top + plan.taken_height <= f64::from(height) + 1e-6);
        }
    }
}
