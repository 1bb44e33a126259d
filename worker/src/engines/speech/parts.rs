//! Pieces of a decoded sound, and the files that engines get.

use std::{
    io::{self, SeekFrom},
    path::{Path, PathBuf},
};

use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use super::samples::{BYTES_PER_SECOND, SAMPLE_RATE};

/// A piece of a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first sample.
    pub(super) begin: u64,
    /// The sample after its last one.
    pub(super) end: u64,
    /// Nobody could hear anything in it.
    pub(super) is_silent: bool,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a day has fewer than 2^31 samples"
)]
impl Part {
    /// When it begins.
    pub(super) fn begin_seconds(&self) -> f64 {
        self.begin as f64 / f64::from(SAMPLE_RATE)
    }

    /// How long it is.
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.begin) as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Writes a part as RIFF/WAVE, over the one before it.
pub(super) async fn write_wave(raw: &Path, part: &Part, folder: &Path) -> io::Result<PathBuf> {
    let target = folder.join("part.wav");
    let length = 2 * (part.end - part.begin);
    let mut samples = File::open(raw).await?;
    samples.seek(SeekFrom::Start(2 * part.begin)).await?;
    let mut file = File::create(&target).await?;
    file.write_all(&wave_header(length)).await?;
    tokio::io::copy(&mut samples.take(length), &mut file).await?;
    file.flush().await?;
    Ok(target)
}

/// What stands before samples (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0").
fn wave_header(length: u64) -> Vec<u8> {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = Vec::with_capacity(44);
    header.extend(b"RIFF");
    header.extend(size(36 + length));
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    header.extend([1, 0, 1, 0]);
    header.extend(SAMPLE_RATE.to_le_bytes());
    header.extend(size(BYTES_PER_SECOND));
    // Two bytes a sample, of 16 bits.
    header.extend([2, 0, 16, 0]);
    header.extend(b"data");
    header.extend(size(length));
    header
}
