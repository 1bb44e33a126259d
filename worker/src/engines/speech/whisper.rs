//! whisper.cpp, in a program of its own: `baatcheet-whisper`, which is built with the feature `whisper-local`. Whatever
//! becomes of it, the worker goes on.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    thread::available_parallelism,
    time::Duration,
};

use serde::Deserialize;
use shared::{
    language::Language,
    speech::{Heard, Segment, Word, to_thousandths},
};

use super::{
    super::process::{self, Isolation, Limits, ProcessError},
    error::EngineError,
};

/// The program's name.
pub const PROGRAM: &str = "baatcheet-whisper";
/// Memory besides the model: twice what the largest one needs for a part (measured by whisper.cpp's authors: 1 GB).
const WORKING_BYTES: u64 = 2 << 30;
/// Time for a part, besides its own length: loading the model.
const LOADING: Duration = Duration::from_mins(2);
/// Seconds that a second of sound may take. Two hours of sound must be done within the time of the job.
const SLOWNESS: f64 = 2.5;

/// The program, and the model that it hears with.
#[derive(Debug, Clone)]
pub struct Whisper {
    program: PathBuf,
    model: PathBuf,
    name: String,
    limits: Limits,
}

/// What the program prints.
#[derive(Debug, Deserialize)]
struct Printed {
    language: Option<String>,
    segments: Vec<Segment>,
    words: Vec<Word>,
}

impl Whisper {
    /// Looks for the program and the model; once, at start.
    ///
    /// # Errors
    /// When the program is missing, or the model cannot be read.
    pub fn discover(
        program: &Path,
        model: &Path,
        isolation: Isolation,
    ) -> Result<Self, ProcessError> {
        let program = process::find(program)?;
        let size = std::fs::File::open(model).and_then(|file| file.metadata());
        let size = size.map_err(|source| ProcessError::Io {
            program: PROGRAM.to_owned(),
            source,
        })?;
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            program,
            model: model.to_owned(),
            // Models are called like ggml-large-v3-turbo.bin.
            name: name.strip_prefix("ggml-").unwrap_or(&name).to_owned(),
            limits: Limits {
                address_space_bytes: 2 * size.len() + WORKING_BYTES,
                cpu: Duration::ZERO,
                file_bytes: 0,
                timeout: Duration::ZERO,
                isolation,
            },
        })
    }

    /// The model's name.
    pub(super) fn model(&self) -> &str {
        &self.name
    }

    /// Hears a RIFF/WAVE file of the given length.
    pub(super) async fn transcribe(
        &self,
        file: &Path,
        seconds: f64,
        language: Option<Language>,
    ) -> Result<Heard, EngineError> {
        // One core is left to others.
        let threads =
            available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).clamp(1, 8));
        let threads = threads.to_string();
        let mut args = vec![
            OsStr::new("--model"),
            self.model.as_os_str(),
            OsStr::new("--threads"),
            OsStr::new(&threads),
        ];
        if let Some(code) = language.and_then(Language::code) {
            args.extend([OsStr::new("--language"), OsStr::new(code)]);
        }
        args.push(file.as_os_str());
        let timeout = LOADING + Duration::from_secs_f64(SLOWNESS * seconds);
        let limits = Limits {
            cpu: timeout * 8,
            timeout,
            ..self.limits
        };
        let folder = file.parent().unwrap_or(Path::new("/"));
        let output = process::run(&self.program, args, &[], folder, &limits).await?;
        let printed: Printed =
            serde_json::from_slice(&output.stdout).map_err(|source| EngineError::Unreadable {
                program: PROGRAM,
                source,
            })?;
        Ok(printed.heard())
    }
}

impl Printed {
    fn heard(self) -> Heard {
        let texts: Vec<&str> = self
            .segments
            .iter()
            .map(|segment| segment.text.trim())
            .collect();
        let text = texts.join(" ");
        let rounded = |time: &mut f64, confidence: &mut Option<f64>| {
            *time = to_thousandths(*time);
            *confidence = confidence.map(|share| to_thousandths(share.clamp(0.0, 1.0)));
        };
        let (mut segments, mut words) = (self.segments, self.words);
        for Segment {
            start,
            end,
            confidence,
            ..
        } in &mut segments
        {
            rounded(start, confidence);
            rounded(end, confidence);
        }
        for Word {
            start,
            end,
            confidence,
            ..
        } in &mut words
        {
            rounded(start, confidence);
            rounded(end, confidence);
        }
        Heard {
            text: text.trim().to_owned(),
            language: self.language.as_deref().and_then(Language::of_recognizer),
            segments,
            words,
        }
    }
}
