//! The streams of an Ogg file (RFC 3533): each begins with a page of its own, before any content.

use super::{Found, NoSound};

/// Bytes of a page's header before its table of lengths (§6).
const HEADER: usize = 27;
/// Flag of a stream's first page.
const BEGINS: u8 = 0x02;

/// What a stream of sound begins with (RFC 7845, Vorbis I, Ogg FLAC 1.0, the Speex manual, and OGM).
const SOUND: [&[u8]; 6] = [
    b"OpusHead",
    b"\x01vorbis",
    b"\x7fFLAC",
    b"Speex   ",
    b"\x01audio",
    b"PCM     ",
];
/// What a film's stream begins with.
const FILM: [&[u8]; 5] = [
    b"\x80theora",
    b"\x01video",
    b"BBCD\0",
    b"OVP80",
    b"\x00dirac",
];

/// Looks at the beginnings of all streams.
pub(super) fn tracks(head: &[u8]) -> Result<(), NoSound> {
    let mut found = Found::default();
    let mut rest = head;
    while let Some((header, after)) = rest.split_at_checked(HEADER) {
        if !header.starts_with(b"OggS") || header[5] & BEGINS == 0 {
            break;
        }
        let Some((lengths, content)) = after.split_at_checked(usize::from(header[26])) else {
            break;
        };
        let length: usize = lengths.iter().copied().map(usize::from).sum();
        let begins = |names: &[&[u8]]| names.iter().any(|name| content.starts_with(name));
        found.sound |= begins(&SOUND);
        found.film |= begins(&FILM);
        rest = content.get(length..).unwrap_or_default();
    }
    found.judge()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(flags: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend([0; 20]);
        page.extend([1, length]);
        page.extend(content);
        page
    }

    #[test]
    fn every_stream_counts() {
        let sound = page(BEGINS, b"OpusHead\x01\x02");
        let film = page(BEGINS, b"\x80theora\x03");
        let index = page(BEGINS, b"fishead\0");
        assert_eq!(tracks(&sound), Ok(()));
        assert_eq!(tracks(&[index.clone(), sound.clone()].concat()), Ok(()));
        assert_eq!(tracks(&film), Err(NoSound::Film));
        assert_eq!(
            tracks(&[sound.clone(), film.clone()].concat()),
            Err(NoSound::Film)
        );
        assert_eq!(
            tracks(&[index, page(0, b"OpusHead")].concat()),
            Err(NoSound::Silent)
        );
        assert_eq!(tracks(b"OggS"), Err(NoSound::Silent));
        // What comes behind the first content begins no stream of this file.
        assert_eq!(tracks(&[sound, page(0, b"..."), film].concat()), Ok(()));
    }
}
