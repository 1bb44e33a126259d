//! What the markers of a JPEG file tell before anything is decoded (ITU-T T.81, annex B).

/// The shape of a JPEG file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// It has an end marker after its scans. Decoders take a missing rest for grey, and the lost half of a page would look
    /// like success.
    pub is_whole: bool,
    /// Passes over the picture: one, or some more where it is shown better and better.
    pub scans: u32,
    /// What a decoder must keep of it before it can show anything, in bytes; nothing where it has one scan.
    pub kept_bytes: u64,
}

/// A frame, as its header describes it.
#[derive(Default)]
struct Frame {
    is_progressive: bool,
    components: usize,
    /// Values that describe it.
    coefficients: u64,
}

/// Looks through the markers of a file.
///
/// What follows the end marker (previews, a phone's own data) is no concern; nor is a marker inside a segment, such as
/// that of an EXIF thumbnail.
pub(super) fn survey(file: &[u8]) -> Survey {
    let mut survey = Survey::default();
    let mut frame = Frame::default();
    let mut rest = file.get(2..).unwrap_or_default();
    while let Some(start) = rest.iter().position(|byte| *byte == 0xff) {
        rest = &rest[start + 1..];
        // Table B.1: what a marker's second byte means.
        match rest.first() {
            Some(0xd9) => {
                survey.is_whole = true;
                break;
            }
            // Padding, a stuffed byte of a scan, restart markers and others without a segment.
            Some(0xff) => {}
            Some(0x00 | 0x01 | 0xd0..=0xd8) => rest = &rest[1..],
            Some(&marker) => {
                let length = rest
                    .get(1..3)
                    .map(|length| u16::from_be_bytes([length[0], length[1]]));
                let Some(end) = length.map(|length| 1 + usize::from(length)) else {
                    break;
                };
                let Some(segment) = rest.get(3.min(end)..end) else {
                    break;
                };
                match marker {
                    // All starts of frames; c4, c8 and cc are something else.
                    0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                        frame = Frame::of(marker, segment);
                    }
                    0xda => {
                        survey.scans += 1;
                        let of_scan = usize::from(segment.first().copied().unwrap_or_default());
                        if frame.is_progressive || of_scan < frame.components {
                            survey.kept_bytes = 2 * frame.coefficients;
                        }
                    }
                    _ => {}
                }
                rest = &rest[end..];
            }
            None => break,
        }
    }
    survey
}

impl Frame {
    /// B.2.2: precision, height, width, number of components, and for each its name, sampling factors and table.
    fn of(marker: u8, segment: &[u8]) -> Self {
        let &[
            _,
            high,
            low,
            wide_high,
            wide_low,
            components,
            ref factors @ ..,
        ] = segment
        else {
            return Self::default();
        };
        let pixels = u64::from(u16::from_be_bytes([high, low]))
            * u64::from(u16::from_be_bytes([wide_high, wide_low]));
        let sampled: Vec<(u64, u64)> = factors
            .chunks_exact(3)
            .take(components.into())
            .map(|component| (u64::from(component[1] >> 4), u64::from(component[1] & 15)))
            .collect();
        let most = sampled.iter().fold((1, 1), |most, factors| {
            (most.0.max(factors.0), most.1.max(factors.1))
        });
        let coefficients = sampled
            .iter()
            .map(|(across, down)| pixels * across * down / (most.0 * most.1))
            .sum();
        Self {
            is_progressive: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
            components: components.into(),
            coefficients,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 8,000×4,000 pixels whose three components are sampled so, with scans of so many components.
    fn file(start: u8, factors: [u8; 3], scans: &[u8]) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8, 0xff, start, 0, 17, 8];
        file.extend(4_000_u16.to_be_bytes());
        file.extend(8_000_u16.to_be_bytes());
        file.push(3);
        for (name, factors) in (1..).zip(factors) {
            file.extend([name, factors, 0]);
        }
        for scan in scans {
            file.extend([0xff, 0xda, 0, 3, *scan, 1, 2, 0xff, 0, 3]);
        }
        file
    }

    #[test]
    fn what_is_kept_follows_from_the_frame() {
        let whole = |mut file: Vec<u8>| {
            file.extend([0xff, 0xd9, 1, 2, 3]);
            survey(&file)
        };
        let one = whole(file(0xc0, [0x22, 0x11, 0x11], &[3]));
        assert_eq!((one.is_whole, one.scans, one.kept_bytes), (true, 1, 0));
        let three = whole(file(0xc0, [0x22, 0x11, 0x11], &[1, 1, 1]));
        assert_eq!((three.scans, three.kept_bytes), (3, 96_000_000));
        let progressive = whole(file(0xc2, [0x11, 0x11, 0x11], &[3]));
        assert_eq!(
            (progressive.scans, progressive.kept_bytes),
            (1, 192_000_000)
        );
    }

    #[test]
    fn what_ends_early_is_not_whole() {
        let cut = file(0xc0, [0x22, 0x11, 0x11], &[3]);
        assert!(!survey(&cut).is_whole);
        for end in 0..cut.len() {
            assert!(!survey(&cut[..end]).is_whole);
        }
    }
}
