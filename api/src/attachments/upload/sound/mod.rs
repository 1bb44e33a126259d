//! Sound by content. `WebM`, Ogg and MP4 hold films as well, so their headers are read until the tracks are known.
//!
//! Nothing is decoded, and no length is trusted: the parsers go over hostile bytes once, with a few bytes of memory.

mod mp4;
mod mpeg;
mod ogg;
mod webm;

/// How FLAC begins (RFC 9639, 6), and a program stream of MPEG (ISO 11172-1, 2.4.3.2).
const FLAC: &[u8] = b"fLaC";
const MPEG_PROGRAM: &[u8] = b"\0\0\x01\xba";

/// Why a file that looks like sound is not taken, in words that follow "the file".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSound {
    /// It has pictures that move.
    #[error("is a film")]
    Film,
    /// There is nothing to be heard, as far as its header tells.
    #[error("holds no sound that is known here")]
    Silent,
}

/// What the beginning of a file says.
#[derive(Debug)]
pub(super) struct Sound {
    /// Its type.
    pub(super) media_type: &'static str,
    /// What remains to be seen in the rest of the file.
    pub(super) rest: Rest,
}

/// What remains to be seen of a file whose beginning looks like sound.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing.
    Known,
    /// The tracks of an MP4, which may stand at its end.
    Mp4(mp4::Tracks),
    /// The first frame of an MP3 behind a long tag, such as one with a picture.
    Mpeg(mpeg::AfterTag),
}

impl Rest {
    /// Looks at the next piece of the file.
    ///
    /// # Errors
    /// As soon as it is a film.
    pub(super) fn look(&mut self, piece: &[u8]) -> Result<(), NoSound> {
        match self {
            Self::Known => Ok(()),
            Self::Mp4(tracks) => tracks.look(piece),
            Self::Mpeg(after) => {
                after.look(piece);
                Ok(())
            }
        }
    }

    /// Judges the file at its end.
    ///
    /// # Errors
    /// When no sound was found.
    pub(super) fn finish(self) -> Result<(), NoSound> {
        let is_sound = match self {
            Self::Known => true,
            Self::Mp4(tracks) => tracks.has_sound(),
            Self::Mpeg(after) => after.is_sound(),
        };
        if is_sound {
            Ok(())
        } else {
            Err(NoSound::Silent)
        }
    }
}

/// Looks at the beginning of a file; nothing where it is none of the containers that are known here. `head` must be
/// given to [`Rest::look`] too.
pub(super) fn recognize(head: &[u8]) -> Option<Result<Sound, NoSound>> {
    let known = |media_type| {
        move |()| Sound {
            media_type,
            rest: Rest::Known,
        }
    };
    if head.get(4..8) == Some(b"ftyp") {
        return Some(Ok(Sound {
            media_type: "audio/mp4",
            rest: Rest::Mp4(mp4::Tracks::default()),
        }));
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE") {
        return Some(wave(head).map(known("audio/wav")));
    }
    if head.starts_with(b"OggS") {
        return Some(ogg::tracks(head).map(known("audio/ogg")));
    }
    if head.starts_with(&webm::EBML) {
        return Some(webm::tracks(head).map(known("audio/webm")));
    }
    if let Some(after) = mpeg::AfterTag::of(head) {
        return Some(Ok(Sound {
            media_type: "audio/mpeg",
            rest: Rest::Mpeg(after),
        }));
    }
    mpeg::is_stream(head).then(|| Ok(known("audio/mpeg")(())))
}

/// Whether a file may be heard by who takes more than uploads may be: FLAC, and films with sound. For the rest of the file
/// its listener is asked.
pub(crate) fn is_audible(head: &[u8]) -> bool {
    if head.starts_with(FLAC) || head.starts_with(MPEG_PROGRAM) {
        return true;
    }
    matches!(recognize(head), Some(Ok(_) | Err(NoSound::Film)))
}

/// RIFF/WAVE: chunks of a name, a length (little-endian) and that many bytes, padded to an even number. The format
/// comes before the samples (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0").
fn wave(head: &[u8]) -> Result<(), NoSound> {
    let mut rest = &head[12..];
    while let Some((chunk, after)) = rest.split_at_checked(8) {
        if chunk.starts_with(b"fmt ") {
            return Ok(());
        }
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        let padded = (length as usize).saturating_add(length as usize % 2);
        rest = after.get(padded..).unwrap_or_default();
    }
    Err(NoSound::Silent)
}

/// Tracks that were found in a header.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    sound: bool,
    film: bool,
}

impl Found {
    fn judge(self) -> Result<(), NoSound> {
        match self {
            Self { film: true, .. } => Err(NoSound::Film),
            Self { sound: true, .. } => Ok(()),
            Self { .. } => Err(NoSound::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of a file that is read in pieces of some bytes.
    pub(super) fn judge(
        file: &[u8],
        head: usize,
        piece: usize,
    ) -> Option<Result<&'static str, NoSound>> {
        let head = &file[..head.min(file.len())];
        let sound = match recognize(head)? {
            Ok(sound) => sound,
            Err(error) => return Some(Err(error)),
        };
        let mut rest = sound.rest;
        for piece in std::iter::once(head).chain(file[head.len()..].chunks(piece.max(1))) {
            if let Err(error) = rest.look(piece) {
                return Some(Err(error));
            }
        }
        Some(rest.finish().map(|()| sound.media_type))
    }

    #[test]
    fn a_wave_needs_its_format() {
        let chunk = |name: &[u8; 4], length: u32| {
            [
                name.as_slice(),
                &length.to_le_bytes(),
                &vec![0; length as usize],
            ]
            .concat()
        };
        let file = |chunks: &[Vec<u8>]| [b"RIFF\0\0\0\0WAVE".as_slice(), &chunks.concat()].concat();
        let good = file(&[chunk(b"JUNK", 28), chunk(b"fmt ", 16), chunk(b"data", 8)]);
        assert_eq!(judge(&good, 999, 9), Some(Ok("audio/wav")));
        for bad in [
            file(&[]),
            file(&[chunk(b"data", 8)]),
            file(&[b"JUNK\xff\xff\xff\xff".to_vec(), chunk(b"fmt ", 16)]),
        ] {
            assert_eq!(judge(&bad, 999, 9), Some(Err(NoSound::Silent)));
        }
        assert_eq!(judge(b"RIFF\0\0\0\0AVI LIST", 999, 9), None);
    }

    #[test]
    fn films_and_flac_may_be_heard_and_other_things_not() {
        for (head, expected) in [
            (&b"fLaC\0\0\0\x22"[..], true),
            (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", true),
            (b"\0\0\0\x18ftypisom", true),
            (b"RIFF\0\0\0\0WAVE", false),
            (b"no sound at all", false),
            (b"\x89PNG\r\n\x1a\n", false),
            (b"", false),
        ] {
            assert_eq!(is_audible(head), expected, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            start in prop::sample::select(vec![
                b"\x1a\x45\xdf\xa3".to_vec(), b"OggS\0\x02".to_vec(), b"\0\0\0\x18ftypM4A ".to_vec(),
                b"RIFF\0\0\0\0WAVE".to_vec(), b"ID3\x04\0\0".to_vec(), b"\xff\xfb\x90".to_vec(), Vec::new(),
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..600),
            head in 0usize..300,
            piece in 1usize..100,
        ) {
            judge(&[start, rest].concat(), head, piece);
        }
    }
}
