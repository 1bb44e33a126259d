//! Decoded sound: how long it is, where it is loud, and where it can be cut.

use std::{io, ops::Range, path::Path};

use tokio::io::AsyncReadExt as _;

use super::{error::SoundError, parts::Part};

/// Samples of a second: what engines of speech are made for.
pub(super) const SAMPLE_RATE: u32 = 16_000;
/// Of 16 bits, one channel.
pub(super) const BYTES_PER_SECOND: u64 = 2 * SAMPLE_RATE as u64;
/// Samples whose loudness is one number: 20 ms.
const FRAME: usize = SAMPLE_RATE as usize / 50;
const FRAMES_PER_SECOND: usize = 50;
/// Loudness below which nobody hears anything: -60 dB of the loudest that can be, as a mean square.
const SILENCE: f32 = 32_768.0 * 32_768.0 * 1e-6;
/// Longest part: what servers take in one request (25 MB are 13 minutes even uncompressed), and what is worth a step of
/// the progress.
const LONGEST_PART: usize = 600 * FRAMES_PER_SECOND;
/// A part ends in the quietest moment of its last minute, but for the last seconds, so that the next one is not tiny.
const SEARCHED: usize = 60 * FRAMES_PER_SECOND;
const LEFT: usize = 5 * FRAMES_PER_SECOND;
/// How long a pause between words is: 300 ms.
const PAUSE: usize = 15;
/// Shortest sound that servers take (`OpenAI`'s API: "Minimum audio length is 0.1 seconds").
const SHORTEST_SECONDS: f64 = 0.1;

/// What is known of decoded samples.
#[derive(Debug)]
pub(super) struct Samples {
    count: u64,
    /// Mean square of each frame.
    loudness: Vec<f32>,
}

impl Samples {
    /// Reads a file of samples, piece by piece.
    pub(super) async fn measure(raw: &Path) -> io::Result<Self> {
        let file = match tokio::fs::File::open(raw).await {
            // Nothing could be decoded.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    count: 0,
                    loudness: Vec::new(),
                });
            }
            file => file?,
        };
        let mut count = 0;
        let mut loudness = Vec::new();
        let mut reader = tokio::io::BufReader::with_capacity(1 << 16, file);
        let mut frame = Vec::with_capacity(2 * FRAME);
        loop {
            frame.clear();
            let read = (&mut reader)
                .take(2 * FRAME as u64)
                .read_to_end(&mut frame)
                .await?;
            let samples = frame.chunks_exact(2);
            count += samples.len() as u64;
            if samples.len() > 0 {
                loudness.push(mean_square(
                    samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]])),
                ));
            }
            if read < 2 * FRAME {
                return Ok(Self { count, loudness });
            }
        }
    }

    /// How long it is.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a day has fewer than 2^31 samples"
    )]
    pub(super) fn seconds(&self) -> f64 {
        self.count as f64 / f64::from(SAMPLE_RATE)
    }

    /// Cuts it into parts.
    ///
    /// # Errors
    /// [`SoundError::TooShort`], [`SoundError::Silent`].
    pub(super) fn parts(&self) -> Result<Vec<Part>, SoundError> {
        if self.seconds() < SHORTEST_SECONDS {
            return Err(SoundError::TooShort);
        }
        if self.is_silent(0..self.loudness.len()) {
            return Err(SoundError::Silent);
        }
        let mut parts = Vec::new();
        let mut begin = 0;
        while begin < self.loudness.len() {
            let end = self.end_of_part(begin);
            let sample = |frame: usize| (frame * FRAME) as u64;
            parts.push(Part {
                begin: sample(begin),
                end: sample(end).min(self.count),
                is_silent: self.is_silent(begin..end),
            });
            begin = end;
        }
        Ok(parts)
    }

    fn is_silent(&self, frames: Range<usize>) -> bool {
        self.loudness[frames]
            .iter()
            .all(|&loudness| loudness < SILENCE)
    }

    fn end_of_part(&self, begin: usize) -> usize {
        let latest = begin + LONGEST_PART;
        if latest >= self.loudness.len() {
            return self.loudness.len();
        }
        let searched = latest - SEARCHED..latest - LEFT;
        let quietest = searched.min_by(|&one, &other| {
            let around =
                |frame: usize| -> f32 { self.loudness[frame - PAUSE / 2..][..PAUSE].iter().sum() };
            around(one).total_cmp(&around(other))
        });
        quietest.unwrap_or(latest)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a frame has 320 samples")]
fn mean_square(samples: impl ExactSizeIterator<Item = i16>) -> f32 {
    let count = samples.len() as f32;
    samples.map(|sample| f32::from(sample).powi(2)).sum::<f32>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loud for the given numbers of seconds, with pauses of a second between.
    fn spoken(seconds: &[usize]) -> Samples {
        let mut loudness = Vec::new();
        for &seconds in seconds {
            loudness.extend(vec![1e6; seconds * FRAMES_PER_SECOND]);
            loudness.extend(vec![0.0; FRAMES_PER_SECOND]);
        }
        Samples {
            count: (loudness.len() * FRAME) as u64,
            loudness,
        }
    }

    #[test]
    fn a_long_sound_is_cut_in_its_pauses() {
        let samples = spoken(&[570, 1000, 20]);
        let parts = samples.parts().unwrap();
        let ends: Vec<u64> = parts
            .iter()
            .map(|part| part.end / u64::from(SAMPLE_RATE))
            .collect();
        assert_eq!(parts.len(), 3, "{parts:?}");
        assert_eq!(ends[0], 570);
        // Nobody pauses in the last minute of the second part.
        assert!((1110..=1165).contains(&ends[1]), "{ends:?}");
        assert_eq!(parts.last().unwrap().end, samples.count);
        for pair in parts.windows(2) {
            assert_eq!(pair[0].end, pair[1].begin);
        }
    }

    #[test]
    fn ten_minutes_are_one_part() {
        assert_eq!(spoken(&[599]).parts().unwrap().len(), 1);
        assert_eq!(spoken(&[600]).parts().unwrap().len(), 2);
    }

    #[test]
    fn silence_and_next_to_nothing_are_refused() {
        let mut silent = spoken(&[1]);
        silent.loudness.fill(SILENCE / 2.0);
        assert!(matches!(silent.parts(), Err(SoundError::Silent)));
        let mut short = spoken(&[1]);
        short.count = 1_599;
        assert!(matches!(short.parts(), Err(SoundError::TooShort)));
        let nothing = Samples {
            count: 0,
            loudness: Vec::new(),
        };
        assert!(matches!(nothing.parts(), Err(SoundError::TooShort)));
    }

    #[test]
    fn a_silent_part_is_known() {
        let mut samples = spoken(&[570, 1000, 20]);
        let end = samples.loudness.len();
        samples.loudness[570 * FRAMES_PER_SECOND..1180 * FRAMES_PER_SECOND].fill(0.0);
        let parts = samples.parts().unwrap();
        assert!(
            parts.iter().any(|part| part.is_silent) && end > 0,
            "{parts:?}"
        );
    }

    #[tokio::test]
    async fn samples_are_counted_and_measured() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("sound.raw");
        let loud: Vec<u8> = std::iter::repeat_n(1000_i16.to_le_bytes(), FRAME + 10)
            .flatten()
            .collect();
        std::fs::write(&raw, loud).unwrap();
        let samples = Samples::measure(&raw).await.unwrap();
        assert_eq!(samples.count, FRAME as u64 + 10);
        assert_eq!(samples.loudness, [1e6, 1e6]);
        let none = Samples::measure(&folder.path().join("none")).await.unwrap();
        assert_eq!(none.count, 0);
    }
}
