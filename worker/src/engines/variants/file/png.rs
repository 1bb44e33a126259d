//! The chunks of PNG and APNG (PNG, third edition, §5 and §11).

use image::metadata::Orientation;

use super::{Blocks, ends_early, turned};
use crate::engines::variants::error::Refused;

const SIGNATURE: usize = 8;
/// Length, type and checksum of a chunk.
const AROUND: usize = 12;
/// What is needed to show the frames. All else (texts, times, EXIF, what programs invent) tells of their making.
const KEPT: [&[u8; 4]; 19] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB",
    b"cICP", b"mDCV", b"cLLI", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"sPLT",
];

/// See [`Blocks::of`].
pub(super) fn blocks(file: &[u8], orientation: Orientation) -> Result<Blocks, Refused> {
    let mut blocks = Blocks::default();
    let mut at = SIGNATURE;
    file.get(..at).ok_or_else(ends_early)?;
    blocks.keep(0..at);
    let (mut frames, mut is_animated) = (0, false);
    loop {
        let head = file.get(at..at + 8).ok_or_else(ends_early)?;
        let (length, kind) = head.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default());
        let end = at + AROUND + usize::try_from(length).unwrap_or(usize::MAX / 2);
        file.get(..end).ok_or_else(ends_early)?;
        match kind {
            b"acTL" => is_animated = true,
            b"fcTL" => frames += 1,
            _ => {}
        }
        if KEPT.iter().any(|kept| kind == &kept[..]) {
            blocks.keep(at..end);
        }
        if kind == b"IHDR"
            && let Some(exif) = turned(orientation)
        {
            blocks.add(chunk(*b"eXIf", &exif));
        }
        at = end;
        if kind == b"IEND" {
            break;
        }
    }
    blocks.frames = if is_animated { frames.max(1) } else { 1 };
    Ok(blocks)
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or_default();
    let mut chunk = length.to_be_bytes().to_vec();
    chunk.extend_from_slice(&kind);
    chunk.extend_from_slice(data);
    let checksum = crc(&chunk[4..]);
    chunk.extend(checksum.to_be_bytes());
    chunk
}

/// Annex D.
pub(in super::super) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_checksum() {
        // The end of every PNG.
        assert_eq!(chunk(*b"IEND", b""), b"\0\0\0\0IEND\xae\x42\x60\x82");
    }
}
