//! `baatcheet-whisper`: writes down what is said in a RIFF/WAVE file, by whisper.cpp, and prints it as JSON:
//! `{language, segments: [{start, end, text, confidence}], words: [the same]}`, times in seconds.
//!
//! It is a program of its own so that a crash of C++ or the end of the memory touches nothing else: the worker runs it
//! like any other helper program.

mod wave;

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperSegment,
    WhisperState, get_lang_id, get_lang_str, install_logging_hooks,
};

/// What whisper.cpp itself takes unless told otherwise.
const BEAMS: i32 = 5;
const PATIENCE: f32 = -1.0;

#[derive(clap::Parser)]
#[command(
    name = "baatcheet-whisper",
    version,
    about = "Writes down what is said in a sound"
)]
struct Args {
    /// Model file of whisper.cpp, like ggml-large-v3-turbo.bin
    #[arg(long)]
    model: PathBuf,
    /// Threads to use
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// The language that is spoken, as an ISO 639-1 code; found out unless told
    #[arg(long)]
    language: Option<String>,
    /// RIFF/WAVE of one channel with 16,000 samples a second, 16 bits each
    file: PathBuf,
}

#[derive(Serialize)]
struct Heard {
    language: Option<&'static str>,
    segments: Vec<Said>,
    words: Vec<Said>,
}

#[derive(Serialize)]
struct Said {
    start: f64,
    end: f64,
    text: String,
    confidence: Option<f32>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Without these it prints to standard output and error; with them, nowhere.
    install_logging_hooks();
    let samples = wave::read(&args.file)?;
    let context = WhisperContext::new_with_params(&args.model, WhisperContextParameters::default())
        .context("the model cannot be loaded")?;
    let mut state = context
        .create_state()
        .context("there is not enough memory")?;
    // A language that it does not know is found out instead.
    let language = args
        .language
        .as_deref()
        .map(name_of)
        .filter(|code| get_lang_id(code).is_some());
    let mut params = FullParams::new(SamplingStrategy::BeamSearch {
        beam_size: BEAMS,
        patience: PATIENCE,
    });
    params.set_n_threads(args.threads);
    params.set_language(Some(language.unwrap_or("auto")));
    params.set_token_timestamps(true);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_timestamps(false);
    params.set_print_special(false);
    state
        .full(params, &samples)
        .context("the sound cannot be heard")?;
    let heard = heard(&state, context.token_eot())?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&heard)?)?;
    Ok(())
}

/// What whisper.cpp calls a language: it keeps to an old code.
fn name_of(code: &str) -> &str {
    match code {
        "jv" => "jw",
        "fil" => "tl",
        code => code,
    }
}

fn heard(state: &WhisperState, end_of_text: i32) -> anyhow::Result<Heard> {
    let mut heard = Heard {
        language: get_lang_str(state.full_lang_id_from_state()),
        segments: Vec::new(),
        words: Vec::new(),
    };
    for segment in state.as_iter() {
        let text = segment.to_str_lossy()?.trim().to_owned();
        if text.is_empty() {
            continue;
        }
        let words = words(&segment, end_of_text)?;
        heard.segments.push(Said {
            start: seconds(segment.start_timestamp()),
            end: seconds(segment.end_timestamp()),
            text,
            confidence: mean(words.iter().filter_map(|word| word.confidence)),
        });
        heard.words.extend(words);
    }
    Ok(heard)
}

/// Tokens are pieces of words; a word begins with a space. A letter may be spread over several tokens, so words are put
/// together as bytes.
fn words(segment: &WhisperSegment<'_>, end_of_text: i32) -> anyhow::Result<Vec<Said>> {
    let mut words: Vec<(Said, Vec<u8>, Vec<f32>)> = Vec::new();
    for at in 0..segment.n_tokens() {
        let Some(token) = segment.get_token(at) else {
            continue;
        };
        // What follows the end of text are marks: languages, times.
        if token.token_id() >= end_of_text {
            continue;
        }
        let (bytes, data) = (token.to_bytes()?, token.token_data());
        if bytes.first() == Some(&b' ') || words.is_empty() {
            let said = Said {
                start: seconds(data.t0),
                end: seconds(data.t1),
                text: String::new(),
                confidence: None,
            };
            words.push((said, Vec::new(), Vec::new()));
        }
        if let Some((said, text, certain)) = words.last_mut() {
            said.end = seconds(data.t1);
            text.extend_from_slice(bytes);
            certain.push(data.p);
        }
    }
    let words = words.into_iter().map(|(mut said, text, certain)| {
        String::from_utf8_lossy(&text)
            .trim()
            .clone_into(&mut said.text);
        said.confidence = mean(certain.into_iter());
        said
    });
    Ok(words.filter(|said| !said.text.is_empty()).collect())
}

fn mean(numbers: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), number| {
        (sum + number, count + 1.0)
    });
    (count > 0.0).then(|| sum / count)
}

/// Whisper counts hundredths.
#[expect(
    clippy::cast_precision_loss,
    reason = "a part of a sound is minutes long"
)]
fn seconds(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}
