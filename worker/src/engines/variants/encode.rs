//! From pixels to a file.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use mozjpeg::{ColorSpace, Compress};
use ravif::{Encoder, Img};
use shared::picture::Format;

use super::{
    error::Refused,
    pixels::{Pixels, on_white},
};

/// How much time AVIF may take, from 1 (all of it) to 10.
const AVIF_SPEED: u8 = 8;

/// Rows that are laid on white at once.
const ROWS_AT_ONCE: usize = 64;

/// Encodes a picture. Nothing is in the file but its pixels; of them, opacity only where the format has such.
///
/// # Errors
/// When the format cannot hold it, or an encoder gives up.
pub(super) fn encode(pixels: &Pixels, format: Format, quality: u8) -> Result<Vec<u8>, Refused> {
    match format {
        Format::Jpeg => catch_unwind(AssertUnwindSafe(|| jpeg(pixels, quality)))
            .ok()
            .and_then(Result::ok)
            .ok_or(Refused::Crashed),
        Format::Png => png(pixels).map_err(|_| Refused::Crashed),
        Format::Webp => webp(pixels, quality).ok_or(Refused::Crashed),
        Format::Avif => avif(pixels, quality).ok_or(Refused::Crashed),
    }
}

/// As libjpeg-turbo does it, with Huffman tables of the picture's own. What mozjpeg could do besides makes it a fifth
/// smaller and takes seven times as long.
fn jpeg(pixels: &Pixels, quality: u8) -> io::Result<Vec<u8>> {
    let mut encoder = Compress::new(ColorSpace::JCS_RGB);
    encoder.set_fastest_defaults();
    encoder.set_size(pixels.width as usize, pixels.height as usize);
    encoder.set_quality(quality.into());
    encoder.set_optimize_coding(true);
    let mut started = encoder.start_compress(Vec::new())?;
    let rows_bytes = pixels.channels() * pixels.width as usize * ROWS_AT_ONCE;
    for rows in pixels.bytes.chunks(rows_bytes) {
        started.write_scanlines(&on_white(rows, pixels.has_alpha))?;
    }
    started.finish()
}

fn png(pixels: &Pixels) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width, pixels.height);
    encoder.set_color(if pixels.has_alpha {
        png::ColorType::Rgba
    } else {
        png::ColorType::Rgb
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels.bytes)?;
    writer.finish()?;
    Ok(file)
}

fn webp(pixels: &Pixels, quality: u8) -> Option<Vec<u8>> {
    let (bytes, width, height) = (&pixels.bytes, pixels.width, pixels.height);
    let encoder = if pixels.has_alpha {
        webp::Encoder::from_rgba(bytes, width, height)
    } else {
        webp::Encoder::from_rgb(bytes, width, height)
    };
    let file = encoder.encode_simple(false, quality.into()).ok()?;
    Some(file.to_vec())
}

fn avif(pixels: &Pixels, quality: u8) -> Option<Vec<u8>> {
    let encoder = Encoder::new()
        .with_quality(quality.into())
        .with_alpha_quality(quality.into())
        .with_speed(AVIF_SPEED)
        .with_num_threads(Some(1));
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let made = if pixels.has_alpha {
        let colours: Vec<_> = pixels
            .bytes
            .chunks_exact(4)
            .map(|pixel| ravif::RGBA8::new(pixel[0], pixel[1], pixel[2], pixel[3]))
            .collect();
        encoder.encode_rgba(Img::new(&colours, width, height))
    } else {
        let colours: Vec<_> = pixels
            .bytes
            .chunks_exact(3)
            .map(|pixel| ravif::RGB8::new(pixel[0], pixel[1], pixel[2]))
            .collect();
        encoder.encode_rgb(Img::new(&colours, width, height))
    };
    made.ok().map(|made| made.avif_file)
}
