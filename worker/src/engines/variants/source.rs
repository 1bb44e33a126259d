//! From the bytes of an upload to pixels, no more of them than are needed.

use std::{
    any::Any,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, metadata::Orientation,
};
use mozjpeg::{ColorSpace, Decompress, Marker};
use png::{ColorType, Transformations};
use shared::picture::{MAX_ANIMATED_PIXELS, is_too_large};

use super::{
    error::{Refused, from_image},
    file::Blocks,
    pixels::{Pixels, swaps_sides},
    shrink::Shrink,
};
use crate::engines::jpeg::{Survey, survey};

/// What decoding may keep at once: 40 million pixels of 8-bit RGBA are 160 MB.
const MAX_DECODED_BYTES: u64 = 256_000_000;
/// What libjpeg may keep of a file with several scans: 40 million pixels at half the colour resolution are 120 MB.
const MAX_KEPT_BYTES: u64 = 192_000_000;
/// Pixels of an animation's frames; two copies of one are kept while it is decoded.
const MAX_FRAME_PIXELS: u64 = 16_777_216;
/// Most scans of a JPEG file. Programs write about ten; each one is a pass over the whole picture.
const MAX_SCANS: u32 = 100;

/// An upload whose header was read and found within the limits.
pub(super) struct Source<'a> {
    file: &'a [u8],
    format: ImageFormat,
    /// As stored.
    width: u32,
    /// As stored.
    height: u32,
    pub(super) orientation: Orientation,
    profile: Option<Vec<u8>>,
    pub(super) blocks: Blocks,
}

impl<'a> Source<'a> {
    /// Reads the header of an upload. Nothing is decoded yet.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, Refused> {
        let format = image::guess_format(file).map_err(|_| Refused::NotAPicture)?;
        if !matches!(
            format,
            ImageFormat::Gif | ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP
        ) {
            return Err(Refused::NotAPicture);
        }
        let mut decoder = reader(file, format)
            .into_decoder()
            .map_err(|error| from_image(&error))?;
        let (width, height) = decoder.dimensions();
        if is_too_large(width, height) {
            return Err(Refused::TooLarge);
        }
        if width == 0 || height == 0 {
            return Err(Refused::Damaged("it has no pixels".to_owned()));
        }
        // A broken EXIF block or profile is no reason to refuse the picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let profile = decoder.icc_profile().ok().flatten();
        let blocks = Blocks::of(file, format, orientation)?;
        let pixels = u64::from(width) * u64::from(height);
        if blocks.frames > 1 && pixels * u64::from(blocks.frames) > MAX_ANIMATED_PIXELS {
            return Err(Refused::TooLong);
        }
        if blocks.frames > 1 && pixels > MAX_FRAME_PIXELS {
            return Err(Refused::TooHeavy);
        }
        if format == ImageFormat::Jpeg {
            check(&survey(file))?;
        }
        Ok(Self {
            file,
            format,
            width,
            height,
            orientation,
            profile,
            blocks,
        })
    }

    /// Width and height as it is meant to be seen.
    pub(super) fn upright_size(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        }
    }

    /// The format it is stored in.
    pub(super) fn format(&self) -> ImageFormat {
        self.format
    }

    /// The file without what only tells of its making; for animations.
    pub(super) fn cleaned(&self) -> Vec<u8> {
        self.blocks.cleaned(self.file)
    }

    /// Brings the colours of what was made of it to sRGB.
    pub(super) fn correct(&self, pixels: &mut Pixels) {
        if let Some(profile) = &self.profile {
            pixels.in_srgb(profile);
        }
    }

    /// Decodes it as it is stored: whole, or smaller where that is quicker, but with at least so many pixels across and
    /// down. Of an animation it is the first frame. Colours are multiplied by the opacity.
    pub(super) fn decode(&self, across: f64, down: f64) -> Result<Pixels, Refused> {
        let mut pixels = match self.format {
            ImageFormat::Jpeg => self.jpeg(across, down)?,
            ImageFormat::Png => self.png(across, down)?,
            _ => self.other()?,
        };
        pixels.multiply();
        Ok(pixels)
    }

    /// By libjpeg, which leaves out frequencies that are not needed.
    fn jpeg(&self, across: f64, down: f64) -> Result<Pixels, Refused> {
        let eighths = |needed: f64, there: u32| (needed * 8.0 / f64::from(there)).ceil();
        let scale = eighths(across, self.width).max(eighths(down, self.height));
        let scale = (1..=8_u8)
            .find(|eighths| f64::from(*eighths) >= scale)
            .unwrap_or(8);
        // It says what is wrong by unwinding.
        catch_unwind(AssertUnwindSafe(|| decode_jpeg(self.file, scale)))
            .unwrap_or_else(|said| Err(Refused::Damaged(words(&*said))))
    }

    /// Row by row, so that of a large one there is never more than what it is shrunk to.
    fn png(&self, across: f64, down: f64) -> Result<Pixels, Refused> {
        let limits = png::Limits {
            bytes: usize::try_from(MAX_DECODED_BYTES).unwrap_or(usize::MAX),
        };
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(self.file), limits);
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        decoder.set_ignore_text_chunk(true);
        let mut reader = decoder.read_info().map_err(from_png)?;
        let (kind, _) = reader.output_color_type();
        let has_alpha = matches!(kind, ColorType::Rgba | ColorType::GrayscaleAlpha);
        let by = Shrink::factor((self.width, self.height), (across, down));
        let mut shrink = Shrink::new((self.width, self.height), by, has_alpha);
        let mut wide = Vec::new();
        if reader.info().interlaced {
            let length = reader.output_buffer_size().unwrap_or(usize::MAX);
            if length as u64 > MAX_DECODED_BYTES {
                return Err(Refused::TooHeavy);
            }
            let mut all = vec![0; length];
            let frame = reader.next_frame(&mut all).map_err(from_png)?;
            for row in all.chunks_exact(frame.line_size) {
                shrink.take(widened(row, kind, &mut wide));
            }
        } else {
            while let Some(row) = reader.next_row().map_err(from_png)? {
                shrink.take(widened(row.data(), kind, &mut wide));
            }
        }
        Ok(shrink.finish())
    }

    fn other(&self) -> Result<Pixels, Refused> {
        let failed = |error| from_image(&error);
        let decoder = reader(self.file, self.format)
            .into_decoder()
            .map_err(failed)?;
        if decoder.total_bytes() > MAX_DECODED_BYTES {
            return Err(Refused::TooHeavy);
        }
        let has_alpha = decoder.color_type().has_alpha();
        let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
        let bytes = if has_alpha {
            image.into_rgba8().into_raw()
        } else {
            image.into_rgb8().into_raw()
        };
        Ok(Pixels {
            width: self.width,
            height: self.height,
            has_alpha,
            bytes,
        })
    }
}

fn reader(file: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    reader
}

fn check(survey: &Survey) -> Result<(), Refused> {
    if !survey.is_whole {
        return Err(Refused::Damaged("it ends too early".to_owned()));
    }
    if survey.kept_bytes > MAX_KEPT_BYTES || survey.scans > MAX_SCANS {
        return Err(Refused::TooHeavy);
    }
    Ok(())
}

fn decode_jpeg(file: &[u8], eighths: u8) -> Result<Pixels, Refused> {
    let damaged = |error: std::io::Error| Refused::Damaged(error.to_string());
    let adobe = [Marker::APP(14)];
    let mut decoder = Decompress::with_markers(&adobe)
        .from_mem(file)
        .map_err(damaged)?;
    decoder.scale(eighths);
    let is_print = matches!(
        decoder.color_space(),
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK
    );
    // Adobe's programs store the opposite of ink.
    let is_inverted = is_print && decoder.markers().next().is_some();
    let mut started = if is_print {
        decoder.to_colorspace(ColorSpace::JCS_CMYK)
    } else {
        decoder.rgb()
    }
    .map_err(damaged)?;
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or_default();
    let (width, height) = (side(started.width()), side(started.height()));
    let mut bytes: Vec<u8> = started.read_scanlines().map_err(damaged)?;
    started.finish().map_err(damaged)?;
    if is_print {
        bytes = ink_to_light(&bytes, is_inverted);
    }
    Ok(Pixels {
        width,
        height,
        has_alpha: false,
        bytes,
    })
}

/// Colours of CMYK without its profile, as browsers show them.
fn ink_to_light(bytes: &[u8], is_inverted: bool) -> Vec<u8> {
    let light = |ink: u8| u16::from(if is_inverted { ink } else { 255 - ink });
    let pixels = bytes.chunks_exact(4).flat_map(|pixel| {
        let black = light(pixel[3]);
        [pixel[0], pixel[1], pixel[2]]
            .map(|ink| u8::try_from(light(ink) * black / 255).unwrap_or(u8::MAX))
    });
    pixels.collect()
}

/// What libjpeg said.
fn words(said: &(dyn Any + Send)) -> String {
    let text = said.downcast_ref::<String>().map_or("", String::as_str);
    let text = text.trim_start_matches("libjpeg fatal error: ").trim();
    if text.is_empty() {
        "it cannot be decoded".to_owned()
    } else {
        text.to_owned()
    }
}

fn from_png(error: png::DecodingError) -> Refused {
    match error {
        png::DecodingError::LimitsExceeded => Refused::TooHeavy,
        error => Refused::Damaged(error.to_string()),
    }
}

/// A row with three or four channels.
fn widened<'a>(row: &'a [u8], kind: ColorType, wide: &'a mut Vec<u8>) -> &'a [u8] {
    match kind {
        ColorType::Grayscale => {
            wide.clear();
            wide.extend(row.iter().flat_map(|grey| [*grey; 3]));
            wide
        }
        ColorType::GrayscaleAlpha => {
            wide.clear();
            wide.extend(
                row.chunks_exact(2)
                    .flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]),
            );
            wide
        }
        _ => row,
    }
}
