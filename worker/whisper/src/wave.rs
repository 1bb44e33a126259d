//! The samples of a RIFF/WAVE file, as the worker writes it.

use std::path::Path;

use anyhow::{Context as _, ensure};

/// What stands before the samples.
const HEADER_BYTES: usize = 44;

/// Reads samples between -1 and 1.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<f32>> {
    let bytes = std::fs::read(file).context("the sound cannot be read")?;
    let (header, samples) = bytes
        .split_at_checked(HEADER_BYTES)
        .context("the sound has no header")?;
    // One channel, 16,000 samples a second, 16 bits.
    let is_known = header.starts_with(b"RIFF")
        && header[8..16] == *b"WAVEfmt "
        && header[22..24] == [1, 0]
        && header[24..28] == 16_000_u32.to_le_bytes()
        && header[34..36] == [16, 0]
        && header[36..40] == *b"data";
    ensure!(is_known, "the sound is not of the one kind that is read");
    let sample = |pair: &[u8]| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0;
    Ok(samples.chunks_exact(2).map(sample).collect())
}
