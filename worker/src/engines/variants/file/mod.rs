//! What a file is made of, found by its blocks alone: how many frames an animation has, and how to leave out what only
//! tells of its making.
//!
//! An animation is shown as it was uploaded, since none of its frames is decoded but the first; so what cameras and
//! programs wrote beside the frames is left out here, and the frames stay as they are, byte for byte.

mod gif;
mod png;
#[cfg(test)]
mod tests;
mod webp;

use std::ops::Range;

use image::{ImageFormat, metadata::Orientation};

#[cfg(test)]
pub(super) use self::png::crc;
use super::error::Refused;

/// The blocks of a file.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Pictures that are shown one after another; one where nothing moves.
    pub frames: u32,
    kept: Vec<Piece>,
}

/// A piece of a file that leaves something out.
#[derive(Debug)]
enum Piece {
    Old(Range<usize>),
    New(Vec<u8>),
}

impl Blocks {
    /// Looks through the blocks of a file. Of a format that has no animations nothing is looked at.
    ///
    /// # Errors
    /// When the blocks break the rules of the format.
    pub(super) fn of(
        file: &[u8],
        format: ImageFormat,
        orientation: Orientation,
    ) -> Result<Self, Refused> {
        match format {
            ImageFormat::Gif => gif::blocks(file),
            ImageFormat::Png => png::blocks(file, orientation),
            ImageFormat::WebP => webp::blocks(file, orientation),
            _ => Ok(Self {
                frames: 1,
                kept: Vec::new(),
            }),
        }
    }

    /// The file without what only tells of its making.
    pub(super) fn cleaned(&self, file: &[u8]) -> Vec<u8> {
        let mut cleaned = Vec::with_capacity(file.len());
        for piece in &self.kept {
            cleaned.extend_from_slice(match piece {
                Piece::Old(range) => &file[range.clone()],
                Piece::New(bytes) => bytes,
            });
        }
        cleaned
    }

    fn keep(&mut self, range: Range<usize>) {
        match self.kept.last_mut() {
            Some(Piece::Old(last)) if last.end == range.start => last.end = range.end,
            _ => self.kept.push(Piece::Old(range)),
        }
    }

    fn add(&mut self, bytes: impl Into<Vec<u8>>) {
        self.kept.push(Piece::New(bytes.into()));
    }
}

fn ends_early() -> Refused {
    Refused::Damaged("it ends too early".to_owned())
}

/// EXIF data that say nothing but how the picture is turned (EXIF 2.32 §4.6: a TIFF header, and one directory of one
/// entry); none where it is not.
fn turned(orientation: Orientation) -> Option<Vec<u8>> {
    if orientation == Orientation::NoTransforms {
        return None;
    }
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation.to_exif(), 0, 0, 0, 0, 0, 0, 0]);
    Some(exif)
}
