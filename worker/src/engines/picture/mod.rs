//! Turns any uploaded picture into the grey one that is read.
//!
//! Tesseract takes a file that is not a picture for a list of file names and reads *those*, so it never sees an upload,
//! only what was decoded and written here.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "lengths of pictures are far below 2^24, and negative coordinates are sorted out before"
)]

mod decode;
mod ink;
mod skew;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf, absolute},
};

use image::{
    DynamicImage, GrayImage, Luma,
    imageops::{self, FilterType},
    metadata::Orientation,
};

pub use decode::PictureError;
use decode::{decode, decode_pgm};
use ink::Sample;
use skew::Turn;

/// Shortest side that Tesseract's thresholding takes, with room to spare: it fails at 3 pixels.
const MIN_SIDE: u32 = 16;

/// Smaller pictures are scaled up until the long side is this long.
///
/// Measured on pages of 1,000 to 1,600 pixels, JPEG quality 55: 2,000 reads as well as 2,400 to 3,500 (English
/// 0.0–0.1 % wrong characters, Hindi 0.0–0.6 %, Urdu 0.7–2.4 against up to 5.6 %) in 15 to 30 % less time. Larger
/// pictures are kept: scaling 4,600 down to 3,500 changes nothing but the time (2.6 instead of 3.8 s), and would ruin
/// long screenshots.
const LONG_SIDE: u32 = 2_000;

/// Enlarging more only blurs.
const MAX_ENLARGEMENT: f64 = 3.0;

/// A picture that is ready to be read, and the way back to the one that was uploaded.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The grey picture, as PGM; absolute, since programs run in folders of their own.
    pub path: PathBuf,
    /// Of the grey picture, in pixels.
    pub width: u32,
    /// Of the grey picture, in pixels.
    pub height: u32,
    /// Of the uploaded picture with its EXIF orientation applied, in pixels: the frame of [`Prepared::upright`].
    pub upright_width: u32,
    /// See `upright_width`.
    pub upright_height: u32,
    /// EXIF orientation, 1 (as stored) to 8.
    pub orientation: u8,
    /// Length in the grey picture of one pixel of the upright one, 1 to 3.
    pub scale: f64,
    /// By how much the lines of text fell to the right, before they were levelled; 0 when nothing was turned.
    pub skew_degrees: f32,
}

/// A rectangle in pixels, from the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// At least 1.
    pub width: u32,
    /// At least 1.
    pub height: u32,
}

impl Prepared {
    /// Where an area of the grey picture lies in the upright one: the smallest upright rectangle around it.
    pub fn upright(&self, area: Area) -> Area {
        let scaled = enlarged(self.upright_width, self.upright_height);
        let turn = Turn::new(scaled, self.skew_degrees);
        let (left, top) = (area.x as f32, area.y as f32);
        let (right, bottom) = (left + area.width as f32, top + area.height as f32);
        let corners = [(left, top), (right, top), (left, bottom), (right, bottom)]
            .map(|(x, y)| turn.back(x, y));

        let edges = |along: fn((f32, f32)) -> f32, scaled: u32, upright: u32| {
            let ratio = upright as f32 / scaled as f32;
            let first = corners.map(along).into_iter().fold(f32::INFINITY, f32::min) * ratio;
            let last = corners
                .map(along)
                .into_iter()
                .fold(f32::NEG_INFINITY, f32::max)
                * ratio;
            let start = (first.round().max(0.0) as u32).min(upright.saturating_sub(1));
            let end = (last.round().max(0.0) as u32).clamp(start + 1, upright.max(start + 1));
            (start, end - start)
        };
        let (x, width) = edges(|corner| corner.0, scaled.0, self.upright_width);
        let (y, height) = edges(|corner| corner.1, scaled.1, self.upright_height);
        Area {
            x,
            y,
            width,
            height,
        }
    }
}

/// Decodes a picture and writes it to `target` as 8-bit grey PGM: EXIF orientation applied, transparency on white,
/// light text on dark inverted, lines of text
/// levelled, small pictures enlarged. Of an animation the first frame is taken.
///
/// It works for up to some seconds: call it by [`run_aside`](super::aside::run_aside). Beside the upload it held at most 310 MB (for 31
/// megapixels of 16-bit RGBA; 240 MB for 40 megapixels of 8-bit RGBA).
///
/// # Errors
///
/// See [`PictureError`]. Pictures over 40 million pixels are refused by their header.
pub fn prepare(upload: &[u8], target: &Path) -> Result<Prepared, PictureError> {
    let (grey, orientation) = decode(upload)?;
    let mut upright = DynamicImage::ImageLuma8(grey);
    upright.apply_orientation(orientation);
    make_ready(upright.into_luma8(), orientation, target)
}

/// As [`prepare`], for a page that a helper program has drawn as PGM.
///
/// # Errors
///
/// See [`PictureError`].
pub fn prepare_page(drawn: &[u8], target: &Path) -> Result<Prepared, PictureError> {
    make_ready(decode_pgm(drawn)?, Orientation::NoTransforms, target)
}

fn make_ready(
    mut upright: GrayImage,
    orientation: Orientation,
    target: &Path,
) -> Result<Prepared, PictureError> {
    let mut sample = Sample::of(&upright);
    if sample.is_light_on_dark() {
        // Measured on white on black: without this the first and last lines are lost, of Urdu all.
        imageops::invert(&mut upright);
        sample = Sample::of(&upright);
    }
    let (upright_width, upright_height) = upright.dimensions();
    let scaled = enlarged(upright_width, upright_height);
    let mut grey = if scaled == upright.dimensions() {
        upright
    } else {
        imageops::resize(&upright, scaled.0, scaled.1, FilterType::CatmullRom)
    };
    let skew_degrees = skew::measure(&sample);
    if skew_degrees != 0.0 {
        grey = skew::level(&grey, skew_degrees);
    }
    let grey = at_least(grey, MIN_SIDE);
    write_pgm(&grey, target)?;
    Ok(Prepared {
        path: absolute(target)?,
        width: grey.width(),
        height: grey.height(),
        upright_width,
        upright_height,
        orientation: orientation.to_exif(),
        scale: f64::from(scaled.0) / f64::from(upright_width),
        skew_degrees,
    })
}

/// The size at which a picture of this size is read.
fn enlarged(width: u32, height: u32) -> (u32, u32) {
    let long = width.max(height);
    let scale = (f64::from(LONG_SIDE) / f64::from(long.max(1))).clamp(1.0, MAX_ENLARGEMENT);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    (side(width), side(height))
}

/// Adds white to the right and below, which leaves all coordinates as they are.
fn at_least(picture: GrayImage, side: u32) -> GrayImage {
    if picture.width() >= side && picture.height() >= side {
        return picture;
    }
    let (width, height) = (picture.width().max(side), picture.height().max(side));
    let mut padded = GrayImage::from_pixel(width, height, Luma([255]));
    imageops::replace(&mut padded, &picture, 0, 0);
    padded
}

/// The simplest format that Tesseract reads: no compression to wait for.
fn write_pgm(picture: &GrayImage, target: &Path) -> io::Result<()> {
    let mut file = File::create(target)?;
    write!(file, "P5\n{} {}\n255\n", picture.width(), picture.height())?;
    file.write_all(picture.as_raw())
}
