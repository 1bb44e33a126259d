//! ffmpeg's programs: whether a file is a sound, and its samples.
//!
//! Both options that bound what is opened are needed: with the list of protocols alone, an upload that is really a
//! playlist makes ffmpeg read other files of this machine (measured with 5.1).

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    super::process::{self, Isolation, Limits, Output, ProcessError},
    error::SoundError,
    parts::Part,
    samples::{BYTES_PER_SECOND, SAMPLE_RATE},
};

/// What one call may use. Two hours of sound are decoded in 10 s, by 60 MB (measured).
const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_mins(2),
    file_bytes: 64 << 20,
    timeout: Duration::from_mins(2),
    isolation: Isolation::None,
};

/// What looking at a header may use.
const PROBE_LIMITS: Limits = Limits {
    cpu: Duration::from_secs(20),
    file_bytes: 0,
    timeout: Duration::from_secs(20),
    ..LIMITS
};

/// Containers that are opened: those that uploads may be, by ffmpeg's names.
const CONTAINERS: &str = "wav,mp3,ogg,matroska,webm,mov,mp4,m4a,aac";

/// The programs, as installed on this machine.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    decoder: PathBuf,
    prober: PathBuf,
    isolation: Isolation,
}

#[derive(Debug, Deserialize)]
struct Probed {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Stream {
    codec_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Format {
    duration: Option<String>,
}

impl Ffmpeg {
    /// Looks for the programs, in a folder or where programs are; once, at start.
    ///
    /// # Errors
    /// When one is missing.
    pub fn discover(folder: Option<&Path>, isolation: Isolation) -> Result<Self, ProcessError> {
        let find = |program: &str| {
            process::find(&folder.map_or_else(|| program.into(), |folder| folder.join(program)))
        };
        Ok(Self {
            decoder: find("ffmpeg")?,
            prober: find("ffprobe")?,
            isolation,
        })
    }

    /// Checks that a file has a track of sound, and by its header that this is not longer than `longest`. Headers lie, so
    /// what is decoded must be measured.
    pub(super) async fn probe(&self, file: &Path, longest: Duration) -> Result<(), SoundError> {
        let args = [
            "-v",
            "error",
            "-protocol_whitelist",
            "file",
            "-format_whitelist",
            CONTAINERS,
            "-show_entries",
            "format=duration:stream=codec_type",
            "-of",
            "json",
        ];
        let args: Vec<&OsStr> = args
            .iter()
            .map(OsStr::new)
            .chain([file.as_os_str()])
            .collect();
        let output = self
            .run(&self.prober, &args, folder_of(file), &PROBE_LIMITS)
            .await
            .map_err(damaged)?;
        let probed: Probed =
            serde_json::from_slice(&output.stdout).map_err(std::io::Error::from)?;
        let is_sound = |stream: &Stream| stream.codec_type.as_deref() == Some("audio");
        if !probed.streams.iter().any(is_sound) {
            return Err(SoundError::NoTrack);
        }
        let told = probed
            .format
            .duration
            .and_then(|text| text.parse::<f64>().ok());
        if told.is_some_and(|seconds| seconds > longest.as_secs_f64()) {
            return Err(SoundError::TooLong(longest));
        }
        Ok(())
    }

    /// Decodes the first track of a file to samples: one channel, 16,000 a second, 16 bits, little-endian. At most a
    /// second more than `longest` is written.
    pub(super) async fn decode(
        &self,
        file: &Path,
        target: &Path,
        longest: Duration,
    ) -> Result<(), SoundError> {
        let seconds = longest.as_secs() + 1;
        let limit = seconds.to_string();
        let rate = SAMPLE_RATE.to_string();
        let (input, output) = (file.as_os_str(), target.as_os_str());
        let args = [
            "-nostdin",
            "-hide_banner",
            "-v",
            "error",
            "-y",
            "-threads",
            "1",
            "-protocol_whitelist",
            "file,pipe",
            "-format_whitelist",
            CONTAINERS,
            "-t",
            &limit,
            "-i",
        ];
        let after = [
            "-map",
            "0:a:0",
            "-vn",
            "-sn",
            "-dn",
            "-map_metadata",
            "-1",
            "-t",
            &limit,
            "-ac",
            "1",
            "-ar",
            &rate,
            "-f",
            "s16le",
        ];
        let args: Vec<&OsStr> = args
            .iter()
            .map(OsStr::new)
            .chain([input])
            .chain(after.iter().map(OsStr::new))
            .chain([output])
            .collect();
        let limits = Limits {
            file_bytes: (seconds + 1) * BYTES_PER_SECOND,
            ..LIMITS
        };
        self.run(&self.decoder, &args, folder_of(target), &limits)
            .await
            .map_err(damaged)?;
        Ok(())
    }

    /// Writes a part of decoded samples as FLAC: nothing is lost, and half as much is sent.
    pub(super) async fn pack(
        &self,
        raw: &Path,
        part: &Part,
        target: &Path,
    ) -> Result<(), SoundError> {
        let rate = SAMPLE_RATE.to_string();
        let (begin, length) = (part.begin_seconds().to_string(), part.seconds().to_string());
        let (input, output) = (raw.as_os_str(), target.as_os_str());
        let args = [
            "-nostdin",
            "-hide_banner",
            "-v",
            "error",
            "-y",
            "-threads",
            "1",
            "-protocol_whitelist",
            "file,pipe",
            "-f",
            "s16le",
            "-ar",
            &rate,
            "-ac",
            "1",
            "-ss",
            &begin,
            "-t",
            &length,
            "-i",
        ];
        let args: Vec<&OsStr> = args
            .iter()
            .map(OsStr::new)
            .chain([input, OsStr::new("-c:a"), OsStr::new("flac"), output])
            .collect();
        self.run(&self.decoder, &args, folder_of(target), &LIMITS)
            .await
            .map_err(SoundError::Process)?;
        Ok(())
    }

    async fn run(
        &self,
        program: &Path,
        args: &[&OsStr],
        within: &Path,
        limits: &Limits,
    ) -> Result<Output, ProcessError> {
        let limits = Limits {
            isolation: self.isolation,
            ..*limits
        };
        process::run(program, args, &[], within, &limits).await
    }
}

/// A program that ends with an error of its own has seen a broken file; anything else may heal.
fn damaged(error: ProcessError) -> SoundError {
    match error {
        ProcessError::Failed { .. } | ProcessError::TooMuchOutput { .. }
            if !error.is_of_machine() =>
        {
            SoundError::Damaged(error)
        }
        error => SoundError::Process(error),
    }
}

/// Where a file is; the programs run in a folder beside it.
fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}
