//! Decoded pixels, and what is done with them before they are encoded.

use std::borrow::Cow;

use fast_image_resize::{FilterType, MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
use image::{DynamicImage, RgbImage, RgbaImage, metadata::Orientation};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Rows that are resized at once where the picture is large: what is kept between the two directions is as wide as the
/// result and as high as the source.
const STRIP_ROWS: u32 = 256;
/// What is not in strips: so many pixels of a source take 32 MB.
const SMALL_PIXELS: u64 = 8_000_000;

/// A picture of 8 bits per channel: red, green, blue and, where it has such, opacity.
///
/// With opacity the colours are multiplied by it while a picture is resized: else invisible pixels would colour their
/// neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) has_alpha: bool,
    pub(super) bytes: Vec<u8>,
}

/// A part of a picture, in its own pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Pixels {
    /// Bytes of a pixel.
    pub(super) fn channels(&self) -> usize {
        if self.has_alpha { 4 } else { 3 }
    }

    /// All of it.
    pub(super) fn whole(&self) -> Part {
        Part {
            left: 0.0,
            top: 0.0,
            width: self.width.into(),
            height: self.height.into(),
        }
    }

    fn kind(&self) -> PixelType {
        if self.has_alpha {
            PixelType::U8x4
        } else {
            PixelType::U8x3
        }
    }

    /// Resizes a part of it. With opacity, colours must be multiplied by it.
    pub(super) fn resized(&self, part: Part, width: u32, height: u32) -> Self {
        if part == self.whole() && (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let mut made = vec![0; self.channels() * width as usize * height as usize];
        let source = images::ImageRef::new(self.width, self.height, &self.bytes, self.kind())
            .expect("the bytes are those of all pixels");
        let is_small = u64::from(self.width) * u64::from(self.height) <= SMALL_PIXELS;
        let rows = if is_small { height } else { STRIP_ROWS };
        let mut resizer = Resizer::new();
        // What is scaled or added up may be a hair more than there is.
        let wide = part.width.min(f64::from(self.width) - part.left);
        let strips = made.chunks_mut(self.channels() * width as usize * rows as usize);
        for (start, strip) in (0..height).step_by(rows as usize).zip(strips) {
            let count = rows.min(height - start);
            let per_row = part.height / f64::from(height);
            let top = part.top + per_row * f64::from(start);
            let high = (per_row * f64::from(count)).min(f64::from(self.height) - top);
            let options = ResizeOptions::new()
                .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
                .use_alpha(false)
                .crop(part.left, top, wide, high);
            let mut target = images::Image::from_slice_u8(width, count, strip, self.kind())
                .expect("the bytes are those of all pixels");
            resizer
                .resize(&source, &mut target, &options)
                .expect("both are of one kind, and the part lies within the source");
        }
        Self {
            width,
            height,
            has_alpha: self.has_alpha,
            bytes: made,
        }
    }

    /// As [`Pixels::resized`], without a copy where nothing changes.
    pub(super) fn into_resized(self, part: Part, width: u32, height: u32) -> Self {
        if part == self.whole() && (width, height) == (self.width, self.height) {
            return self;
        }
        self.resized(part, width, height)
    }

    /// All of it in another size, from colours that are not multiplied.
    pub(super) fn fitted(&self, width: u32, height: u32) -> Self {
        if !self.has_alpha {
            return self.resized(self.whole(), width, height);
        }
        let mut multiplied = self.clone();
        multiplied.multiply();
        let mut fitted = multiplied.resized(self.whole(), width, height);
        fitted.divide();
        fitted
    }

    /// Multiplies the colours by the opacity.
    pub(super) fn multiply(&mut self) {
        self.with_opacity(|all, image| all.multiply_alpha_inplace(image));
    }

    /// Undoes [`Pixels::multiply`].
    pub(super) fn divide(&mut self) {
        self.with_opacity(|all, image| all.divide_alpha_inplace(image));
    }

    fn with_opacity(
        &mut self,
        change: impl Fn(&MulDiv, &mut images::Image<'_>) -> Result<(), fast_image_resize::ImageError>,
    ) {
        if !self.has_alpha {
            return;
        }
        let kind = self.kind();
        let mut image =
            images::Image::from_slice_u8(self.width, self.height, &mut self.bytes, kind)
                .expect("the bytes are those of all pixels");
        change(&MulDiv::new(), &mut image).expect("it has four channels");
    }

    /// Turns it as it is meant to be seen.
    pub(super) fn upright(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let all = "the bytes are those of all pixels";
        let mut image = if self.has_alpha {
            let image = RgbaImage::from_raw(self.width, self.height, self.bytes);
            DynamicImage::ImageRgba8(image.expect(all))
        } else {
            let image = RgbImage::from_raw(self.width, self.height, self.bytes);
            DynamicImage::ImageRgb8(image.expect(all))
        };
        image.apply_orientation(orientation);
        Self {
            width: image.width(),
            height: image.height(),
            has_alpha: self.has_alpha,
            bytes: image.into_bytes(),
        }
    }

    /// Drops an opacity that hides nothing.
    pub(super) fn without_needless_alpha(self) -> Self {
        let is_needed = |bytes: &[u8]| bytes.chunks_exact(4).any(|pixel| pixel[3] != 255);
        if !self.has_alpha || is_needed(&self.bytes) {
            return self;
        }
        let bytes = self.bytes.chunks_exact(4).flat_map(|pixel| &pixel[..3]);
        Self {
            bytes: bytes.copied().collect(),
            has_alpha: false,
            ..self
        }
    }

    /// Turns colours of a profile into those of sRGB, which is what everybody takes for granted of a picture without a
    /// profile. One that cannot be applied is not: colours are then a little off.
    pub(super) fn in_srgb(&mut self, profile: &[u8]) {
        let layout = if self.has_alpha {
            Layout::Rgba
        } else {
            Layout::Rgb
        };
        let transform = ColorProfile::new_from_slice(profile)
            .ok()
            .filter(|profile| profile.color_space == DataColorSpace::Rgb)
            .and_then(|profile| {
                let srgb = ColorProfile::new_srgb();
                let options = TransformOptions::default();
                profile
                    .create_transform_8bit(layout, &srgb, layout, options)
                    .ok()
            });
        if let Some(transform) = transform {
            let mut changed = vec![0; self.bytes.len()];
            if transform.transform(&self.bytes, &mut changed).is_ok() {
                self.bytes = changed;
            }
        }
    }
}

impl Part {
    /// The same part of a picture that is still turned as it is stored; `width` and `height` are those of the upright one.
    pub(super) fn as_stored(self, orientation: Orientation, width: f64, height: f64) -> Self {
        let (right, bottom) = (
            width - self.left - self.width,
            height - self.top - self.height,
        );
        let (left, top, is_across) = match orientation {
            Orientation::NoTransforms => (self.left, self.top, false),
            Orientation::FlipHorizontal => (right, self.top, false),
            Orientation::Rotate180 => (right, bottom, false),
            Orientation::FlipVertical => (self.left, bottom, false),
            Orientation::Rotate90FlipH => (self.top, self.left, true),
            Orientation::Rotate90 => (self.top, right, true),
            Orientation::Rotate270FlipH => (bottom, right, true),
            Orientation::Rotate270 => (bottom, self.left, true),
        };
        let (width, height) = if is_across {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        };
        Self {
            left: left.max(0.0),
            top: top.max(0.0),
            width,
            height,
        }
    }

    /// The same part of a smaller copy.
    pub(super) fn scaled(self, across: f64, down: f64) -> Self {
        Self {
            left: self.left * across,
            top: self.top * down,
            width: self.width * across,
            height: self.height * down,
        }
    }
}

/// Lays pixels on white, for what has no opacity.
pub(super) fn on_white(bytes: &[u8], has_alpha: bool) -> Cow<'_, [u8]> {
    if !has_alpha {
        return Cow::Borrowed(bytes);
    }
    let opaque = bytes.chunks_exact(4).flat_map(|pixel| {
        let alpha = u32::from(pixel[3]);
        [pixel[0], pixel[1], pixel[2]].map(|colour| {
            let mixed = (u32::from(colour) * alpha + 255 * (255 - alpha) + 127) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        })
    });
    Cow::Owned(opaque.collect())
}

/// Whether an orientation swaps width and height.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture whose pixels all differ.
    fn numbered(width: u32, height: u32, has_alpha: bool) -> Pixels {
        let channels = if has_alpha { 4 } else { 3 };
        let length = channels * width as usize * height as usize;
        let mut seed = 1_u32;
        let bytes = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        });
        Pixels {
            width,
            height,
            has_alpha,
            bytes: bytes.take(length).collect(),
        }
    }

    proptest::proptest! {
        /// The sides of a smaller copy are no multiples of the whole's, and `968.0 / 1290.0 * 1290.0` is more than 968.
        #[test]
        fn a_part_of_a_smaller_copy_lies_within_it(
            whole in 1_u32..6_000, less in 0.1..1.0_f64, from in 0.0..1.0_f64, to in 0.0..1.0_f64, exif in 1_u8..=8,
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of 6,000")]
            let copied = ((f64::from(whole) * less) as u32).max(1);
            let (from, to) = (from.min(to), from.max(to));
            let side = f64::from(whole);
            for (left, width) in [(0.0, side), (side * from, side * (to - from).max(0.001)), (side * from, side * (1.0 - from))] {
                let upright = Part { left, top: left, width: width.min(side - left), height: width.min(side - left) };
                let orientation = Orientation::from_exif(exif).unwrap();
                let scale = f64::from(copied) / side;
                let part = upright.as_stored(orientation, side, side).scaled(scale, scale);
                let across = numbered(copied, 1, false).resized(Part { top: 0.0, height: 1.0, ..part }, 5, 1);
                let down = numbered(1, copied, false).resized(Part { left: 0.0, width: 1.0, ..part }, 1, 5);
                proptest::prop_assert_eq!((across.width, down.height), (5, 5));
            }
        }
    }

    #[test]
    fn a_part_is_found_however_the_picture_is_turned() {
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let stored = numbered(7, 5, false);
            let upright = stored.clone().upright(orientation);
            let part = Part {
                left: 1.0,
                top: 2.0,
                width: 3.0,
                height: 2.0,
            };
            let (width, height) = (f64::from(upright.width), f64::from(upright.height));
            let of_stored = part.as_stored(orientation, width, height);
            let (across, down) = if swaps_sides(orientation) {
                (2, 3)
            } else {
                (3, 2)
            };
            let cut = stored.resized(of_stored, across, down).upright(orientation);
            assert_eq!(cut, upright.resized(part, 3, 2), "orientation {exif}");
        }
    }

    #[test]
    fn strips_fit_together() {
        let source = numbered(2_900, 2_800, true);
        assert!(u64::from(source.width) * u64::from(source.height) > SMALL_PIXELS);
        let part = Part {
            left: 10.5,
            top: 20.25,
            width: 2_800.0,
            height: 2_700.0,
        };
        let strips = source.resized(part, 300, 1_000);
        // As wide as it is high, it is done at once.
        let mut whole = vec![0; strips.bytes.len()];
        let image =
            images::ImageRef::new(source.width, source.height, &source.bytes, PixelType::U8x4)
                .unwrap();
        let mut target =
            images::Image::from_slice_u8(300, 1_000, &mut whole, PixelType::U8x4).unwrap();
        let options = ResizeOptions::new().use_alpha(false).crop(
            part.left,
            part.top,
            part.width,
            part.height,
        );
        Resizer::new()
            .resize(&image, &mut target, &options)
            .unwrap();
        let differ = strips
            .bytes
            .iter()
            .zip(&whole)
            .filter(|(one, other)| one.abs_diff(**other) > 1)
            .count();
        assert_eq!(differ, 0);
    }

    #[test]
    fn invisible_pixels_colour_nothing() {
        let mut pixels = Pixels {
            width: 2,
            height: 1,
            has_alpha: true,
            bytes: vec![255, 0, 0, 0, 0, 0, 255, 255],
        };
        pixels.multiply();
        let mut one = pixels.resized(pixels.whole(), 1, 1);
        one.divide();
        assert_eq!(&one.bytes[..3], [0, 0, 255]);
        assert_eq!(on_white(&one.bytes, true).len(), 3);
        assert_eq!(on_white(&[255, 0, 0, 0], true)[..], [255; 3]);
        assert_eq!(on_white(&[1, 2, 3], false)[..], [1, 2, 3]);
    }
}
