//! What transcribes: variables and their values.

use std::{path::PathBuf, sync::Arc, time::Duration};

use shared::{
    clients::transcriber::TIMEOUT,
    config::{AiConfig, Problems, given},
};

/// Longest sound: what the slowest engine hears within the time of its job.
const MAX_SECONDS: u64 = 7_200;

/// Variables of transcription.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SpeechArgs {
    /// The model that transcribes at Groq [default: whisper-large-v3-turbo]
    #[arg(long, env = "GROQ_TRANSCRIPTION_MODEL")]
    pub groq_transcription_model: Option<String>,
    /// The model that transcribes at `OpenAI` [default: whisper-1]
    #[arg(long, env = "OPENAI_TRANSCRIPTION_MODEL")]
    pub openai_transcription_model: Option<String>,
    /// Model file of whisper.cpp, like ggml-large-v3-turbo.bin, for the program baatcheet-whisper [default: none]
    #[arg(long, env = "WHISPER_MODEL_PATH")]
    pub whisper_model_path: Option<String>,
    /// The program that transcribes English where nothing else does [default: `pocketsphinx_continuous`]
    #[arg(long, env = "POCKETSPHINX")]
    pub pocketsphinx: Option<String>,
    /// Folder of ffmpeg and ffprobe, which decode sounds [default: where programs are]
    #[arg(long, env = "FFMPEG_PATH")]
    pub ffmpeg_path: Option<String>,
    /// Longest sound that is transcribed, in seconds, 1 to 7200 [default: 7200]
    #[arg(long, env = "MAX_AUDIO_SECONDS")]
    pub max_audio_seconds: Option<String>,
}

/// What transcribes.
#[derive(Debug, Clone)]
pub struct SpeechConfig {
    /// Servers with their models, in the order in which they are asked; whether they have keys or not.
    pub remotes: Vec<(Arc<str>, String)>,
    /// Longest time for one request to a server.
    pub timeout: Duration,
    /// The model of whisper.cpp.
    pub whisper_model: Option<PathBuf>,
    /// The program that knows English.
    pub pocketsphinx: PathBuf,
    /// Folder of the programs that decode; where programs are, unless told otherwise.
    pub ffmpeg: Option<PathBuf>,
    /// Longer sounds are refused.
    pub longest: Duration,
}

impl SpeechArgs {
    /// Checks everything; what is wrong goes to `problems`. `ai` is there unless something else is wrong.
    pub(super) fn check(&self, ai: Option<&AiConfig>, problems: &mut Problems) -> SpeechConfig {
        let model = |text, default: &str| given(text).unwrap_or(default).to_owned();
        let servers = [
            (
                "groq",
                model(&self.groq_transcription_model, "whisper-large-v3-turbo"),
            ),
            (
                "openai",
                model(&self.openai_transcription_model, "whisper-1"),
            ),
        ];
        let longest = problems.number(
            "MAX_AUDIO_SECONDS",
            &self.max_audio_seconds,
            MAX_SECONDS,
            1..=MAX_SECONDS,
        );
        SpeechConfig {
            remotes: servers
                .into_iter()
                .filter(|(name, _)| ai.is_some_and(|ai| ai.catalogue.provider(name).is_some()))
                .map(|(name, model)| (name.into(), model))
                .collect(),
            timeout: TIMEOUT,
            whisper_model: given(&self.whisper_model_path).map(PathBuf::from),
            pocketsphinx: given(&self.pocketsphinx)
                .unwrap_or("pocketsphinx_continuous")
                .into(),
            ffmpeg: given(&self.ffmpeg_path).map(PathBuf::from),
            longest: Duration::from_secs(longest),
        }
    }
}
