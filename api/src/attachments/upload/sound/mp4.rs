//! The tracks of an MP4 (ISO/IEC 14496-12), wherever in the file they stand: phones write them behind the sound.

use super::{Found, NoSound};

/// Bytes of a box's header: length and name.
const HEADER: usize = 8;
/// With a length that does not fit in 32 bits.
const LONG_HEADER: usize = 16;
/// From the header of `hdlr` to behind the name of its handler: version, flags, and a field that is always 0 (§8.4.3).
const HANDLER: usize = 12;

/// Goes over a file's boxes, one after the other. Boxes that hold others are entered by not being passed over, so there
/// is no depth that a file could exhaust.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    /// What is left of a box that does not matter.
    skip: u64,
    /// The beginning of the box that is being looked at.
    seen: Vec<u8>,
    /// The boxes cannot be followed any further.
    ended: bool,
    found: Found,
}

impl Tracks {
    /// Looks at the next piece.
    ///
    /// # Errors
    /// At the first track of a film.
    pub(super) fn look(&mut self, mut piece: &[u8]) -> Result<(), NoSound> {
        while !piece.is_empty() && !self.ended {
            if self.skip > 0 {
                let passed =
                    usize::try_from(self.skip).map_or(piece.len(), |skip| skip.min(piece.len()));
                self.skip -= passed as u64;
                piece = &piece[passed..];
                continue;
            }
            let taken = (self.wanted() - self.seen.len()).min(piece.len());
            self.seen.extend_from_slice(&piece[..taken]);
            piece = &piece[taken..];
            if self.seen.len() == self.wanted() {
                self.pass();
            }
        }
        if self.found.film {
            Err(NoSound::Film)
        } else {
            Ok(())
        }
    }

    /// Whether a track of sound was found, in a file that has ended.
    pub(super) fn has_sound(&self) -> bool {
        self.found.judge().is_ok()
    }

    fn header(&self) -> usize {
        if self.seen.starts_with(&[0, 0, 0, 1]) {
            LONG_HEADER
        } else {
            HEADER
        }
    }

    /// How much of the present box must be seen before it can be passed.
    fn wanted(&self) -> usize {
        match self.seen.get(4..HEADER) {
            Some(b"hdlr") => self.header() + HANDLER,
            _ => self.header(),
        }
    }

    /// Notes what matters of a box, and goes on behind it or inside it.
    fn pass(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        let header = if seen.starts_with(&[0, 0, 0, 1]) {
            LONG_HEADER
        } else {
            HEADER
        };
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let length = match number(&seen[..4]) {
            // To the end of the file.
            0 => u64::MAX,
            1 => number(&seen[HEADER..LONG_HEADER]),
            length => length,
        };
        match &seen[4..HEADER] {
            b"moov" | b"trak" | b"mdia" => self.ended = length < header as u64,
            name => {
                if name == b"hdlr" {
                    match &seen[header + HANDLER - 4..] {
                        b"soun" => self.found.sound = true,
                        b"vide" => self.found.film = true,
                        _ => {}
                    }
                }
                match length.checked_sub(seen.len() as u64) {
                    Some(rest) => self.skip = rest,
                    None => self.ended = true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::judge, *};

    fn boxed(name: &[u8], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + HEADER).unwrap();
        [&length.to_be_bytes(), name, content].concat()
    }

    fn track(handler: &[u8]) -> Vec<u8> {
        let handler = boxed(b"hdlr", &[&[0; 8], handler, &[0; 13]].concat());
        let media = [
            boxed(b"mdhd", &[0; 24]),
            handler,
            boxed(b"minf", b"hdlr vide"),
        ]
        .concat();
        boxed(
            b"trak",
            &[boxed(b"tkhd", &[0; 84]), boxed(b"mdia", &media)].concat(),
        )
    }

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        [boxed(b"ftyp", b"M4A \0\0\0\0"), parts.concat()].concat()
    }

    #[test]
    fn tracks_are_found_before_and_behind_the_content() {
        let sound = boxed(
            b"moov",
            &[boxed(b"mvhd", &[0; 100]), track(b"soun")].concat(),
        );
        let film = boxed(b"moov", &[track(b"soun"), track(b"vide")].concat());
        let content = boxed(b"mdat", &[7; 5_000]);
        let long = [
            &1_u32.to_be_bytes(),
            b"mdat".as_slice(),
            &5_016_u64.to_be_bytes(),
            &[7; 5_000],
        ]
        .concat();
        for piece in [1, 7, 5_000] {
            for head in [40, 9_999] {
                let judge = |parts: &[Vec<u8>]| judge(&file(parts), head, piece).unwrap();
                for parts in [
                    vec![sound.clone(), content.clone()],
                    vec![content.clone(), sound.clone()],
                    vec![long.clone(), sound.clone()],
                ] {
                    assert_eq!(judge(&parts), Ok("audio/mp4"));
                }
                for parts in [
                    vec![film.clone(), content.clone()],
                    vec![content.clone(), film.clone()],
                ] {
                    assert_eq!(judge(&parts), Err(NoSound::Film));
                }
                for parts in [
                    vec![],
                    vec![content.clone()],
                    vec![boxed(b"moov", &track(b"text"))],
                ] {
                    assert_eq!(judge(&parts), Err(NoSound::Silent));
                }
            }
        }
    }

    #[test]
    fn lengths_that_make_no_sense_end_the_search() {
        let sound = boxed(b"moov", &track(b"soun"));
        for length in [2_u32, 7] {
            let broken = [&length.to_be_bytes(), b"mdat".as_slice()].concat();
            assert_eq!(
                judge(&file(&[broken, sound.clone()]), 999, 9),
                Some(Err(NoSound::Silent))
            );
        }
        let endless = [&0_u32.to_be_bytes(), b"mdat".as_slice(), &sound].concat();
        assert_eq!(judge(&file(&[endless]), 999, 9), Some(Err(NoSound::Silent)));
        let huge = [
            &1_u32.to_be_bytes(),
            b"mdat".as_slice(),
            &u64::MAX.to_be_bytes(),
        ]
        .concat();
        assert_eq!(
            judge(&file(&[huge, sound]), 999, 9),
            Some(Err(NoSound::Silent))
        );
    }
}
