//! How large pictures may be, and what may be made of them.
//!
//! The upload of a larger one is refused, and no worker decodes it.

mod format;
mod plan;
mod recipe;

pub use self::{
    format::{Format, Standard},
    plan::{Misfit, Plan},
    recipe::{Crop, Fit, Position, Recipe, Resize, Watermark},
};

/// Most pixels.
pub const MAX_PIXELS: u64 = 40_000_000;

/// Longest side, which is what Tesseract takes (`TDimension` is a 16-bit number).
pub const MAX_SIDE: u32 = 32_000;

/// Longest side that a picture is resized to. What is only cropped or encoded anew keeps its size.
pub const MAX_MADE_SIDE: u32 = 4_096;

/// Frames of an animation, each as large as the picture, that are kept: decoded, they are what a viewer goes through. Ten
/// seconds at 25 a second in full HD are 518 million pixels.
pub const MAX_ANIMATED_PIXELS: u64 = 1_000_000_000;

/// Whether a picture of so many pixels is too large.
pub fn is_too_large(width: u32, height: u32) -> bool {
    u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_and_side_are_limited() {
        for (width, height, is_too) in [
            (8_000, 5_000, false),
            (8_000, 5_001, true),
            (32_000, 1_250, false),
            (1, 32_001, true),
            (32_001, 1, true),
            (u32::MAX, u32::MAX, true),
        ] {
            assert_eq!(is_too_large(width, height), is_too, "{width}×{height}");
        }
    }
}
