//! The blocks of GIF (version 89a, 31 July 1990).

use super::{Blocks, ends_early};
use crate::engines::variants::error::Refused;

/// Header and logical screen descriptor.
const HEAD: usize = 13;
const TRAILER: u8 = 0x3b;
/// Extensions that say how often an animation is repeated; all others tell of its making.
const LOOPS: [&[u8]; 2] = [b"NETSCAPE2.0", b"ANIMEXTS1.0"];

/// See [`Blocks::of`].
pub(super) fn blocks(file: &[u8]) -> Result<Blocks, Refused> {
    let mut blocks = Blocks::default();
    let mut at = HEAD + colours(file, 10)?;
    file.get(..at).ok_or_else(ends_early)?;
    blocks.keep(0..at);
    // What is said of the picture that follows: how long it is shown, and which colour is transparent.
    let mut control = None;
    loop {
        let start = at;
        match file.get(at..) {
            // Many files lack the trailer, and viewers do not miss it.
            None | Some([] | [0, ..]) => {
                blocks.add([TRAILER]);
                break;
            }
            Some([TRAILER, ..]) => {
                blocks.keep(at..at + 1);
                break;
            }
            Some([0x2c, ..]) => {
                // Its descriptor, its colours, and the size of its first codes.
                at += 10 + colours(file, at + 9)? + 1;
                at = after_sub_blocks(file, at)?;
                if let Some(control) = control.take() {
                    blocks.keep(control);
                }
                blocks.keep(start..at);
                blocks.frames += 1;
            }
            Some([0x21, label, rest @ ..]) => {
                at = after_sub_blocks(file, at + 2)?;
                match label {
                    0xf9 => control = Some(start..at),
                    0xff if LOOPS.iter().any(|name| rest.get(1..12) == Some(name)) => {
                        blocks.keep(start..at);
                    }
                    // Text that is drawn by no viewer takes what is said of it along.
                    0x01 => control = None,
                    _ => {}
                }
            }
            Some([other, ..]) => {
                return Err(Refused::Damaged(format!("it has a block of type {other}")));
            }
        }
    }
    if blocks.frames == 0 {
        return Err(Refused::Damaged("it has no picture in it".to_owned()));
    }
    Ok(blocks)
}

/// Length of the table of colours that the byte of flags at `at` tells of.
fn colours(file: &[u8], at: usize) -> Result<usize, Refused> {
    let flags = *file.get(at).ok_or_else(ends_early)?;
    let has_table = flags & 0x80 != 0;
    Ok(if has_table { 3 << ((flags & 7) + 1) } else { 0 })
}

fn after_sub_blocks(file: &[u8], mut at: usize) -> Result<usize, Refused> {
    loop {
        let length = usize::from(*file.get(at).ok_or_else(ends_early)?);
        at += 1 + length;
        if length == 0 {
            return Ok(at);
        }
    }
}
