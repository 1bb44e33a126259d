//! The chunks of WebP (RFC 9649 §2).

use std::ops::Range;

use image::metadata::Orientation;

use super::{Blocks, ends_early, turned};
use crate::engines::variants::error::Refused;

/// `RIFF`, a length, and `WEBP`.
const HEAD: usize = 12;
/// Type and length of a chunk.
const CHUNK: usize = 8;
/// What is needed to show the frames; `EXIF`, `XMP ` and unknown chunks tell of their making.
const KEPT: [&[u8; 4]; 6] = [b"ICCP", b"ANIM", b"ANMF", b"VP8 ", b"VP8L", b"ALPH"];
/// In `VP8X`: there are EXIF data, and there are XMP data.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;
/// Of a frame, before its chunks: where it stands, how large it is, and how long it is shown.
const FRAME_HEAD: usize = 16;

/// See [`Blocks::of`].
pub(super) fn blocks(file: &[u8], orientation: Orientation) -> Result<Blocks, Refused> {
    let mut blocks = Blocks::default();
    let length = u32_at(file, 4)?;
    let end = (CHUNK + length).min(file.len());
    let exif = turned(orientation);
    let mut body = Blocks::default();
    let mut size = 4;
    for chunk in Chunks::of(file, HEAD..end) {
        let (kind, range) = chunk?;
        match kind {
            b"VP8X" => {
                let mut header = file[range].to_vec();
                header[CHUNK] &= !(HAS_EXIF | HAS_XMP);
                header[CHUNK] |= if exif.is_some() { HAS_EXIF } else { 0 };
                size += header.len();
                body.add(header);
            }
            b"ANMF" => {
                body.frames += 1;
                let frame = frame(file, range)?;
                size += frame.len();
                body.add(frame);
            }
            kind if KEPT.iter().any(|kept| kind == &kept[..]) => {
                size += range.len();
                body.keep(range);
            }
            _ => {}
        }
    }
    if let Some(exif) = exif {
        let chunk = chunk(*b"EXIF", &exif);
        size += chunk.len();
        body.add(chunk);
    }
    let length = u32::try_from(size).unwrap_or_default();
    blocks.add([b"RIFF", &length.to_le_bytes()[..], b"WEBP"].concat());
    blocks.kept.extend(body.kept);
    blocks.frames = body.frames.max(1);
    Ok(blocks)
}

/// A frame without chunks that are not needed to show it.
fn frame(file: &[u8], range: Range<usize>) -> Result<Vec<u8>, Refused> {
    let inner = range.start + CHUNK + FRAME_HEAD;
    let data_end = range.start + CHUNK + u32_at(file, range.start + 4)?;
    let mut data = file
        .get(range.start + CHUNK..inner)
        .ok_or_else(ends_early)?
        .to_vec();
    for chunk in Chunks::of(file, inner..data_end) {
        let (kind, range) = chunk?;
        if matches!(kind, b"ALPH" | b"VP8 " | b"VP8L") {
            data.extend_from_slice(&file[range]);
        }
    }
    Ok(chunk(*b"ANMF", &data))
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or_default();
    let mut chunk = [&kind[..], &length.to_le_bytes(), data].concat();
    if data.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

fn u32_at(file: &[u8], at: usize) -> Result<usize, Refused> {
    let bytes = file.get(at..at + 4).ok_or_else(ends_early)?;
    let number = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
    Ok(usize::try_from(number).unwrap_or(usize::MAX / 2))
}

/// Chunks within a range of a file, each with its type and where it is, its head and its padding included.
struct Chunks<'a> {
    file: &'a [u8],
    rest: Range<usize>,
}

impl<'a> Chunks<'a> {
    fn of(file: &'a [u8], rest: Range<usize>) -> Self {
        Self { file, rest }
    }

    fn chunk(&mut self) -> Result<(&'a [u8; 4], Range<usize>), Refused> {
        let start = self.rest.start;
        let kind = self.file.get(start..start + 4).ok_or_else(ends_early)?;
        let kind: &[u8; 4] = kind.try_into().map_err(|_| ends_early())?;
        let length = u32_at(self.file, start + 4)?;
        // The last one may lack its padding.
        let end = start + CHUNK + length;
        if end > self.rest.end || length < least(*kind) {
            return Err(ends_early());
        }
        self.rest.start = (end + length % 2).min(self.rest.end);
        Ok((kind, start..self.rest.start))
    }
}

/// What is read of a chunk here.
fn least(kind: [u8; 4]) -> usize {
    match &kind {
        b"VP8X" => 10,
        b"ANMF" => FRAME_HEAD,
        _ => 0,
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8; 4], Range<usize>), Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        // A byte that is left over is padding.
        if self.rest.len() < 2 {
            return None;
        }
        let chunk = self.chunk();
        if chunk.is_err() {
            self.rest.start = self.rest.end;
        }
        Some(chunk)
    }
}
