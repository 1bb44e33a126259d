//! From the bytes of an upload to grey pixels.

use std::io::{self, Cursor};

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageDecoder as _, ImageError, ImageFormat,
    ImageReader, Limits, Luma, metadata::Orientation,
};
use shared::picture::is_too_large;

use crate::engines::jpeg;

/// What decoding may allocate. 40 million pixels of 8-bit RGBA are 160 MB; of 16-bit RGBA they are too many.
const MAX_DECODED_BYTES: u64 = 256_000_000;

/// Why a picture cannot be read. All but [`PictureError::Io`] are final, and their messages are for its owner.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The content is none of the formats that are read, whatever its name says.
    #[error("the file is not a PNG, JPEG, WebP or GIF picture")]
    NotAPicture,
    /// More than 40 million pixels, a side over 32,000, or too large when decoded.
    #[error("the picture is too large: at most 40 million pixels and 32,000 on a side are read")]
    TooLarge,
    /// The format is known, but not this kind of it.
    #[error("the picture uses a feature that is not supported: {0}")]
    Unsupported(String),
    /// The content breaks the rules of its format or ends too early.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The upload cannot be read, or the result not written. This may heal.
    #[error("the picture cannot be read or written")]
    Io(#[from] io::Error),
}

impl PictureError {
    /// Permanent code for clients; none for what is not the picture's fault.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::NotAPicture => Some("image_not_recognized"),
            Self::TooLarge => Some("image_too_large"),
            Self::Unsupported(_) => Some("image_not_supported"),
            Self::Damaged(_) => Some("image_damaged"),
            Self::Io(_) => None,
        }
    }
}

/// Decodes a PNG, JPEG, WebP or GIF picture to grey, still turned as it is stored.
pub(super) fn decode(upload: &[u8]) -> Result<(GrayImage, Orientation), PictureError> {
    let mut reader = ImageReader::new(Cursor::new(upload)).with_guessed_format()?;
    if !matches!(
        reader.format(),
        Some(ImageFormat::Gif | ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)
    ) {
        return Err(PictureError::NotAPicture);
    }
    let ends_early = reader.format() == Some(ImageFormat::Jpeg) && !jpeg::survey(upload).is_whole;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(from_image)?;

    let (width, height) = decoder.dimensions();
    if is_too_large(width, height) || decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(PictureError::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged("it has no pixels".to_owned()));
    }
    if ends_early {
        return Err(PictureError::Damaged("it ends too early".to_owned()));
    }
    // A broken EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(from_image)?;
    let grey = if picture.color().has_alpha() {
        on_white(&picture.into_luma_alpha8())
    } else {
        picture.into_luma8()
    };
    Ok((grey, orientation))
}

/// Decodes 8-bit grey PGM: a helper program's own output, still not trusted.
pub(super) fn decode_pgm(file: &[u8]) -> Result<GrayImage, PictureError> {
    let damaged = || PictureError::Damaged("the page was not drawn whole".to_owned());
    let mut rest = file.strip_prefix(b"P5").ok_or_else(damaged)?;
    // Width, height and the value of white, each after white space; one byte of it before the pixels.
    let mut numbers = [0_u32; 3];
    for number in &mut numbers {
        rest = rest.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..digits]).map_err(|_| damaged())?;
        *number = text.parse().map_err(|_| damaged())?;
        rest = &rest[digits..];
    }
    let [width, height, white] = numbers;
    if is_too_large(width, height) {
        return Err(PictureError::TooLarge);
    }
    let pixels = rest
        .get(1..)
        .filter(|_| white == 255 && width > 0 && height > 0);
    let pixels = pixels.ok_or_else(damaged)?.to_vec();
    if pixels.len() != width as usize * height as usize {
        return Err(damaged());
    }
    GrayImage::from_raw(width, height, pixels).ok_or_else(damaged)
}

fn from_image(error: ImageError) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::TooLarge,
        ImageError::Unsupported(error) => PictureError::Unsupported(error.to_string()),
        ImageError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            PictureError::Io(error)
        }
        error => PictureError::Damaged(error.to_string()),
    }
}

fn on_white(picture: &GrayAlphaImage) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [value, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Luma([((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8])
    })
}
