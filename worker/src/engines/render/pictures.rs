//! Pictures of an export: decoded within limits, turned upright, made smaller, and written anew as JPEG.
//!
//! So neither what lays them out nor whoever opens the export sees a byte of an upload. One that cannot be decoded is left
//! out; it is still listed.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Cursor, Write as _},
    path::{Path, PathBuf},
};

use image::{
    DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, RgbImage,
    codecs::jpeg::JpegEncoder, metadata::Orientation,
};
use shared::picture::is_too_large;

use super::source::{Folder, Shown};

/// What decoding may allocate.
const MAX_DECODED_BYTES: u64 = 256_000_000;

/// Longest side in an export: 20 cm at 200 dots per inch.
const LONG_SIDE: u32 = 1_600;

/// 0 to 100; a photo of the longest side takes some 300 kB.
const QUALITY: u8 = 82;

/// A picture that can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    /// A JPEG of ours.
    pub(super) path: PathBuf,
    /// In pixels.
    pub(super) width: u32,
    /// In pixels.
    pub(super) height: u32,
}

/// The pictures of an export; each is decoded once, when it is shown first.
#[derive(Debug)]
pub(super) struct Pictures {
    folder: Folder,
    known: HashMap<String, Option<Picture>>,
}

impl Pictures {
    pub(super) fn new(folder: Folder) -> Self {
        Self {
            folder,
            known: HashMap::new(),
        }
    }

    /// The picture of an attachment, if there is one that can be shown.
    pub(super) fn of(&mut self, shown: &Shown) -> Option<Picture> {
        let name = shown.picture.as_ref()?;
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let target = self.folder.picture(&format!("{name}.jpg"));
        let made = make(&self.folder.picture(name), &target).ok().flatten();
        self.known.insert(name.clone(), made.clone());
        made
    }
}

fn make(upload: &Path, target: &Path) -> io::Result<Option<Picture>> {
    let upload = fs::read(upload)?;
    let Some(picture) = decode(&upload) else {
        return Ok(None);
    };
    let mut out = BufWriter::new(File::create(target)?);
    JpegEncoder::new_with_quality(&mut out, QUALITY)
        .encode_image(&picture)
        .map_err(io::Error::other)?;
    out.flush()?;
    Ok(Some(Picture {
        path: target.to_owned(),
        width: picture.width(),
        height: picture.height(),
    }))
}

fn decode(upload: &[u8]) -> Option<RgbImage> {
    let mut reader = ImageReader::new(Cursor::new(upload))
        .with_guessed_format()
        .ok()?;
    let is_known = matches!(
        reader.format(),
        Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP | ImageFormat::Gif)
    );
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok().filter(|_| is_known)?;
    let (width, height) = decoder.dimensions();
    if is_too_large(width, height)
        || decoder.total_bytes() > MAX_DECODED_BYTES
        || width.min(height) == 0
    {
        return None;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    if width.max(height) > LONG_SIDE {
        picture = picture.thumbnail(LONG_SIDE, LONG_SIDE);
    }
    picture.apply_orientation(orientation);
    Some(on_white(picture))
}

/// What can be seen through shows paper.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        let mixed =
            [red, green, blue].map(|value| (value * alpha + 255 * (255 - alpha) + 127) / 255);
        image::Rgb(mixed.map(|value| u8::try_from(value).unwrap_or(u8::MAX)))
    })
}
