//! The tracks of a `WebM` file (RFC 8794, RFC 9559): elements of an id, a length and content, some inside others.

use super::{Found, NoSound};

/// Id of the element that every file begins with.
pub(super) const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

/// Ids of what is looked at (RFC 9559, "Matroska Element IDs").
const EBML_HEADER: u32 = 0x1a45_dfa3;
const DOC_TYPE: u32 = 0x4282;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_TYPE: u32 = 0x83;

/// Looks for the tracks, which stand before the content.
pub(super) fn tracks(head: &[u8]) -> Result<(), NoSound> {
    let mut found = Found::default();
    let mut is_webm = false;
    let mut rest = head;
    while let Some((id, after)) = id(rest)
        && let Some((length, content)) = length(after)
    {
        match id {
            // All tracks must be seen, or the last one could be a film's.
            TRACKS if length.is_none_or(|length| content.len() < length) => break,
            // Entered, so there is no depth that a file could exhaust.
            EBML_HEADER | SEGMENT | TRACKS | TRACK_ENTRY => {
                rest = content;
                continue;
            }
            CLUSTER => break,
            _ => {}
        }
        // Only a segment and its clusters may be of unknown length.
        let Some((content, behind)) = length.and_then(|length| content.split_at_checked(length))
        else {
            break;
        };
        rest = behind;
        match (id, content) {
            (DOC_TYPE, name) => is_webm = name == b"webm",
            (TRACK_TYPE, [.., 1]) => found.film = true,
            (TRACK_TYPE, [.., 2]) => found.sound = true,
            _ => {}
        }
    }
    // Matroska, of which WebM is a part, has codecs that nobody plays in a browser.
    if !is_webm && !found.film {
        return Err(NoSound::Silent);
    }
    found.judge()
}

/// An id: one to four bytes, the first of which tells how many by its leading zeros.
fn id(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let (id, rest) = bytes.split_at_checked(length).filter(|_| length <= 4)?;
    let id = id.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    Some((id, rest))
}

/// A length: one to eight bytes, without the bit that tells how many. All ones is unknown.
fn length(bytes: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let (number, rest) = bytes.split_at_checked(length).filter(|_| length <= 8)?;
    let number = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let all = (1_u64 << (7 * length)) - 1;
    let number = Some(number & all).filter(|number| *number != all);
    Some((number.and_then(|number| usize::try_from(number).ok()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: u32, content: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes();
        let id = &id[id.iter().take_while(|byte| **byte == 0).count()..];
        let length = 0x4000 | u16::try_from(content.len()).unwrap();
        [id, &length.to_be_bytes(), content].concat()
    }

    fn file(name: &str, types: &[u8]) -> Vec<u8> {
        let entry = |kind: &u8| {
            let parts = [
                element(0xd7, &[1]),
                element(TRACK_TYPE, &[*kind]),
                element(0x86, b"A_OPUS"),
            ];
            element(TRACK_ENTRY, &parts.concat())
        };
        let tracks: Vec<u8> = types.iter().flat_map(entry).collect();
        let header = element(
            EBML_HEADER,
            &[element(0x4286, &[1]), element(DOC_TYPE, name.as_bytes())].concat(),
        );
        // As browsers record: a segment and a cluster of unknown length.
        let segment = [
            &SEGMENT.to_be_bytes(),
            [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff].as_slice(),
        ]
        .concat();
        let body = [element(0xec, &[0; 90]), element(TRACKS, &tracks)].concat();
        let cluster = [
            &CLUSTER.to_be_bytes(),
            [0xff].as_slice(),
            &element(TRACK_TYPE, &[1]),
        ]
        .concat();
        [header, segment, body, cluster].concat()
    }

    #[test]
    fn only_sound_in_webm_is_taken() {
        assert_eq!(tracks(&file("webm", &[2])), Ok(()));
        assert_eq!(tracks(&file("webm", &[2, 17])), Ok(()));
        assert_eq!(tracks(&file("webm", &[1])), Err(NoSound::Film));
        assert_eq!(tracks(&file("webm", &[2, 1])), Err(NoSound::Film));
        assert_eq!(tracks(&file("matroska", &[1])), Err(NoSound::Film));
        assert_eq!(tracks(&file("matroska", &[2])), Err(NoSound::Silent));
        assert_eq!(tracks(&file("webm", &[])), Err(NoSound::Silent));
        assert_eq!(tracks(&EBML), Err(NoSound::Silent));
        let film = file("webm", &[2, 1]);
        for cut in 0..film.len() {
            assert_ne!(tracks(&film[..cut]), Ok(()), "{cut}");
        }
    }
}
