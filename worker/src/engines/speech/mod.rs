//! Writes down what is said in a sound: decoded by ffmpeg, cut at pauses into parts that engines can take, and heard by the
//! first engine of a chain that can. An engine that fails is left out from there on, and the next one goes on.

mod error;
mod ffmpeg;
mod parts;
mod pocketsphinx;
mod samples;
#[cfg(test)]
mod tests;
mod whisper;

use std::{path::Path, time::Duration};

use futures::future::BoxFuture;
use shared::{
    clients::transcriber::{Note, TranscribeError, Transcriber},
    language::Language,
    models::transcription::Transcript,
    speech::Heard,
};
use tokio::sync::OnceCell;

pub use self::{
    error::{Again, EngineError, SoundError, SpeechError},
    ffmpeg::Ffmpeg,
    pocketsphinx::PocketSphinx,
    whisper::{PROGRAM as WHISPER, Whisper},
};
use self::{parts::Part, samples::Samples};

/// What was asked of a sound.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints {
    /// The language that the user named.
    pub asked: Option<Language>,
    /// The language of the conversation it was sent to. It is not forced upon engines that find out for themselves.
    pub likely: Option<Language>,
}

/// Something that hears.
#[derive(Debug, Clone)]
pub enum Engine {
    /// A server.
    Remote(Transcriber),
    /// whisper.cpp on this machine.
    Whisper(Whisper),
    /// A program of Debian's.
    PocketSphinx(PocketSphinx),
}

impl Engine {
    /// Permanent name.
    pub fn name(&self) -> &str {
        match self {
            Self::Remote(remote) => remote.name(),
            Self::Whisper(_) => "whisper.cpp",
            Self::PocketSphinx(_) => "pocketsphinx",
        }
    }

    /// What it hears with.
    pub fn model(&self) -> &str {
        match self {
            Self::Remote(remote) => remote.model(),
            Self::Whisper(whisper) => whisper.model(),
            Self::PocketSphinx(_) => "en-us",
        }
    }

    /// Whether it can be asked: an administrator may give keys to a server, and take them away, while a worker runs.
    fn is_set_up(&self) -> bool {
        match self {
            Self::Remote(remote) => remote.has_keys(),
            Self::Whisper(_) | Self::PocketSphinx(_) => true,
        }
    }

    /// Whether it may know the language.
    fn knows(&self, hints: Hints) -> bool {
        match self {
            Self::Remote(_) | Self::Whisper(_) => true,
            // It writes English whatever it hears.
            Self::PocketSphinx(_) => hints
                .asked
                .or(hints.likely)
                .is_none_or(|language| language.code() == Some("en")),
        }
    }
}

/// Hears which part of how many is about to be heard.
pub type Progress<'a> = dyn Fn(usize, usize) -> BoxFuture<'a, ()> + Send + Sync + 'a;

/// What sounds are heard with.
#[derive(Debug, Clone)]
pub struct Speech {
    /// Decodes them.
    pub ffmpeg: Ffmpeg,
    /// Who hears, in the order in which they are tried.
    pub engines: Vec<Engine>,
    /// Longer sounds are refused.
    pub longest: Duration,
}

impl Speech {
    /// The same without servers, which cost something.
    #[must_use]
    pub fn without_servers(&self) -> Self {
        let mut here = self.clone();
        here.engines
            .retain(|engine| !matches!(engine, Engine::Remote(_)));
        here
    }

    /// Writes down what is said in a file; `folder` is for what is made on the way. Each call of a server is noted
    /// by `note` before.
    /// Dropping the future kills the programs and closes the connections.
    ///
    /// # Errors
    /// See [`SpeechError`].
    pub async fn transcribe(
        &self,
        file: &Path,
        folder: &Path,
        hints: Hints,
        progress: &Progress<'_>,
        note: &Note<'_>,
    ) -> Result<Transcript, SpeechError> {
        self.ffmpeg.probe(file, self.longest).await?;
        let raw = folder.join("sound.raw");
        self.ffmpeg.decode(file, &raw, self.longest).await?;
        let samples = Samples::measure(&raw).await?;
        if samples.seconds() > self.longest.as_secs_f64() {
            return Err(SoundError::TooLong(self.longest).into());
        }
        let parts = samples.parts()?;

        let mut chain = Chain::new(&self.engines, hints);
        let mut all: Vec<Heard> = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            progress(number + 1, parts.len()).await;
            if !part.is_silent {
                let heard = self.hear(&mut chain, &raw, part, folder, note).await?;
                all.push(heard.later(part.begin_seconds()));
            }
        }
        let heard = join(all);
        if heard.text.is_empty() {
            return Err(SoundError::NoSpeech.into());
        }
        Ok(Transcript {
            duration_seconds: samples.seconds(),
            engine: chain.used(|engine| engine.name()),
            model: chain.used(|engine| engine.model()),
            heard,
        })
    }

    /// Has a part heard by the first engine that can; those before it are not asked again.
    async fn hear(
        &self,
        chain: &mut Chain<'_>,
        raw: &Path,
        part: &Part,
        folder: &Path,
        note: &Note<'_>,
    ) -> Result<Heard, SpeechError> {
        // Each is made for the first engine that wants it.
        let (packed, plain) = (OnceCell::new(), OnceCell::new());
        while let Some(engine) = chain.current() {
            let asked = chain.hints.asked;
            let write_wave = || parts::write_wave(raw, part, folder);
            let heard = match engine {
                Engine::Remote(remote) => {
                    let file = folder.join("part.flac");
                    let pack = || self.ffmpeg.pack(raw, part, &file);
                    packed.get_or_try_init(pack).await?;
                    let seconds = part.seconds();
                    let heard = remote.transcribe(&file, "audio/flac", seconds, asked, note);
                    match heard.await {
                        // That is no fault of the server's, so none is asked in its place.
                        Err(TranscribeError::Unnoted(error)) => {
                            return Err(SpeechError::Unnoted(error));
                        }
                        heard => heard.map_err(EngineError::from),
                    }
                }
                Engine::Whisper(whisper) => {
                    let file = plain.get_or_try_init(write_wave).await?;
                    whisper.transcribe(file, part.seconds(), asked).await
                }
                Engine::PocketSphinx(sphinx) => {
                    let file = plain.get_or_try_init(write_wave).await?;
                    sphinx.transcribe(file, part.seconds()).await
                }
            };
            match heard {
                Ok(heard) => {
                    chain.succeeded();
                    return Ok(heard);
                }
                Err(error) => chain.failed(error),
            }
        }
        Err(chain.exhausted())
    }
}

/// The engines that are left, and what became of the others.
struct Chain<'a> {
    engines: Vec<&'a Engine>,
    hints: Hints,
    current: usize,
    used: Vec<&'a Engine>,
    errors: Vec<EngineError>,
}

impl<'a> Chain<'a> {
    fn new(engines: &'a [Engine], hints: Hints) -> Self {
        Self {
            engines: engines
                .iter()
                .filter(|engine| engine.is_set_up() && engine.knows(hints))
                .collect(),
            hints,
            current: 0,
            used: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn current(&self) -> Option<&'a Engine> {
        self.engines.get(self.current).copied()
    }

    fn succeeded(&mut self) {
        let engine = self.engines[self.current];
        if self
            .used
            .last()
            .is_none_or(|last| !std::ptr::eq(*last, engine))
        {
            self.used.push(engine);
        }
    }

    fn failed(&mut self, error: EngineError) {
        let engine = self.engines[self.current].name();
        let source: &dyn std::error::Error = &error;
        tracing::warn!(
            engine,
            error = source,
            "{engine} did not transcribe a sound"
        );
        self.errors.push(error);
        self.current += 1;
    }

    fn exhausted(&self) -> SpeechError {
        let names: Vec<&str> = self.engines.iter().map(|engine| engine.name()).collect();
        SpeechError::unavailable(&names, &self.errors, self.hints)
    }

    /// Those that heard, joined by `+`.
    fn used(&self, name: impl Fn(&Engine) -> &str) -> String {
        let names: Vec<&str> = self.used.iter().map(|engine| name(engine)).collect();
        names.join("+")
    }
}

/// Puts parts together. The language is the one in which most is said.
fn join(parts: Vec<Heard>) -> Heard {
    let mut whole = Heard::default();
    let mut lengths: Vec<(Language, usize)> = Vec::new();
    for part in parts {
        let text = part.text.trim();
        if text.is_empty() {
            continue;
        }
        if !whole.text.is_empty() {
            whole.text.push(' ');
        }
        whole.text.push_str(text);
        if let Some(language) = part.language {
            match lengths.iter_mut().find(|(known, _)| *known == language) {
                Some((_, length)) => *length += text.len(),
                None => lengths.push((language, text.len())),
            }
        }
        whole.segments.extend(part.segments);
        whole.words.extend(part.words);
    }
    // The first of several that are as long.
    whole.language = lengths
        .into_iter()
        .rev()
        .max_by_key(|(_, length)| *length)
        .map(|(language, _)| language);
    // U+0000 cannot be stored, and no engine means it.
    let segments = whole.segments.iter_mut().map(|segment| &mut segment.text);
    let words = whole.words.iter_mut().map(|word| &mut word.text);
    for text in segments.chain(words).chain([&mut whole.text]) {
        text.retain(|letter| letter != '\0');
    }
    whole
}
