//! MP3: frames that begin with eleven bits (ISO/IEC 11172-3, 13818-3), maybe behind a tag (ID3v2.4.0 §3).

/// Kilobits a second of layer III by index, for MPEG-1 and for MPEG-2 and 2.5.
const BIT_RATES: [[u32; 14]; 2] = [
    [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// Samples a second by index, for MPEG-1; half of it for MPEG-2, a quarter for MPEG-2.5.
const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];
const FRAME_HEADER: usize = 4;

/// The length in bytes of the layer III frame that begins here.
fn frame(bytes: &[u8]) -> Option<usize> {
    let &[sync, kind, rates, _] = bytes.first_chunk()?;
    // Eleven ones, a version that exists, layer III.
    if sync != 0xff || kind & 0xe0 != 0xe0 || kind & 0x06 != 0x02 {
        return None;
    }
    let (is_first, divisor) = match kind & 0x18 {
        0x18 => (true, 1),
        0x10 => (false, 2),
        0x00 => (false, 4),
        _ => return None,
    };
    let rate = usize::from(rates >> 4).checked_sub(1)?;
    let bit_rate = BIT_RATES[usize::from(!is_first)].get(rate)? * 1_000;
    let sample_rate = SAMPLE_RATES.get(usize::from(rates >> 2 & 3))? / divisor;
    let samples_by_eight = if is_first { 144 } else { 72 };
    let padding = u32::from(rates >> 1 & 1);
    Some((samples_by_eight * bit_rate / sample_rate + padding) as usize)
}

/// Whether a file without a tag is MP3: a frame, and where that one ends another one or the end.
pub(super) fn is_stream(head: &[u8]) -> bool {
    frame(head).is_some_and(|length| {
        let next = head.get(length..).unwrap_or_default();
        next.len() < FRAME_HEADER || frame(next).is_some()
    })
}

/// Looks for the first frame behind a tag, however long that is.
#[derive(Debug)]
pub(crate) struct AfterTag {
    skip: usize,
    seen: Vec<u8>,
}

impl AfterTag {
    /// Reads the tag that a file begins with, if it does.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let &[b'I', b'D', b'3', version, _, flags, a, b, c, d] = head.first_chunk()? else {
            return None;
        };
        // Seven bits of each byte, so that the length looks like no frame.
        let length = [a, b, c, d]
            .iter()
            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let footer = if version >= 4 && flags & 0x10 != 0 {
            10
        } else {
            0
        };
        Some(Self {
            skip: 10 + length + footer,
            seen: Vec::new(),
        })
    }

    /// Looks at the next piece.
    pub(super) fn look(&mut self, piece: &[u8]) {
        let passed = self.skip.min(piece.len());
        self.skip -= passed;
        let mut piece = &piece[passed..];
        if self.seen.is_empty() {
            // Some programs pad their tags beyond what they say.
            piece = &piece[piece.iter().take_while(|byte| **byte == 0).count()..];
        }
        let taken = (FRAME_HEADER - self.seen.len()).min(piece.len());
        self.seen.extend_from_slice(&piece[..taken]);
    }

    /// Whether a frame was found.
    pub(super) fn is_sound(&self) -> bool {
        frame(&self.seen).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{NoSound, tests::judge},
        *,
    };

    /// MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    const HEADER: [u8; 4] = [0xff, 0xfb, 0x90, 0x00];

    fn frames(count: usize) -> Vec<u8> {
        let mut one = HEADER.to_vec();
        one.resize(417, 0x55);
        one.repeat(count)
    }

    #[test]
    fn frames_have_their_length() {
        for (header, length) in [
            (HEADER, Some(417)),
            ([0xff, 0xfb, 0x92, 0], Some(418)),
            ([0xff, 0xf3, 0x84, 0], Some(192)), // MPEG-2, 64 kbit/s, 24 kHz
            ([0xff, 0xf1, 0x50, 0], None),      // AAC
            ([0xff, 0xfd, 0x90, 0], None),      // layer II
            ([0xff, 0xfb, 0xf0, 0], None),
            ([0xff, 0xfb, 0x00, 0], None),
            ([0xff, 0xfb, 0x9c, 0], None),
            ([0xff, 0xeb, 0x90, 0], None),
            ([0xff, 0xd8, 0xff, 0xe0], None), // JPEG
        ] {
            assert_eq!(frame(&header), length, "{header:x?}");
        }
    }

    #[test]
    fn a_stream_needs_two_frames_or_an_end() {
        assert_eq!(judge(&frames(3), 999, 9), Some(Ok("audio/mpeg")));
        assert_eq!(judge(&frames(1), 999, 9), Some(Ok("audio/mpeg")));
        let mut other = frames(2);
        other[417] = 0;
        assert_eq!(judge(&other, 999, 9), None);
    }

    #[test]
    fn a_frame_is_found_behind_a_long_tag() {
        let tag = |length: usize, flags: u8| {
            let lengths = [21, 14, 7, 0].map(|bits| u8::try_from(length >> bits & 0x7f).unwrap());
            [
                b"ID3\x04\0".as_slice(),
                &[flags],
                &lengths,
                &vec![b'x'; length],
            ]
            .concat()
        };
        for piece in [1, 9, 999] {
            let long = [tag(3_000, 0), frames(1)].concat();
            assert_eq!(judge(&long, 20, piece), Some(Ok("audio/mpeg")));
            let footed = [
                tag(3_000, 0x10),
                b"3DI.......".to_vec(),
                vec![0; 50],
                frames(1),
            ]
            .concat();
            assert_eq!(judge(&footed, 20, piece), Some(Ok("audio/mpeg")));
            for rest in [Vec::new(), b"fLaC".to_vec(), vec![0; 50]] {
                let other = [tag(3_000, 0), rest].concat();
                assert_eq!(judge(&other, 20, piece), Some(Err(NoSound::Silent)));
            }
        }
    }
}
