//! `PocketSphinx`: what hears without keys and without a network. It knows English only, and guesses a third of the words
//! of a good recording wrong; its own certainty is stored with them.

use std::{
    env::temp_dir,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use shared::speech::{Heard, Segment, Word, to_thousandths};

use super::{
    super::process::{self, Isolation, Limits, ProcessError},
    error::EngineError,
};

/// What one call may use, but for its time: 107 MB (measured).
const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_secs(10),
    file_bytes: 0,
    timeout: Duration::from_secs(10),
    isolation: Isolation::None,
};
/// Time for a part, besides its own length: loading the model. A second is heard in 0.2 to 0.4 s of a busy core.
const LOADING: Duration = Duration::from_mins(1);
/// The option of the file; without options, it complains and lists them all.
const FILE: &str = "-infile";

/// The program, as installed on this machine.
#[derive(Debug, Clone)]
pub struct PocketSphinx {
    program: PathBuf,
    isolation: Isolation,
}

impl PocketSphinx {
    /// Asks the program for its options; once, at start.
    ///
    /// # Errors
    /// When it is missing or does not work. Whether there is a model only shows when it is used.
    pub async fn discover(program: &Path, isolation: Isolation) -> Result<Self, ProcessError> {
        let asked = process::run(program, [""; 0], &[], &temp_dir(), &LIMITS).await;
        match asked {
            Err(ProcessError::Failed { stderr, .. }) if stderr.contains(FILE) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(Self {
            program: program.to_owned(),
            isolation,
        })
    }

    /// Hears a RIFF/WAVE file of the given length.
    pub(super) async fn transcribe(&self, file: &Path, seconds: f64) -> Result<Heard, EngineError> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let limit = LOADING + Duration::from_secs_f64(2.0 * seconds);
        let printed = self.run(file, folder, limit).await?;
        Ok(parse(&printed))
    }

    async fn run(
        &self,
        file: &Path,
        within: &Path,
        limit: Duration,
    ) -> Result<String, ProcessError> {
        let args = [
            OsStr::new(FILE),
            file.as_os_str(),
            OsStr::new("-time"),
            OsStr::new("yes"),
            OsStr::new("-logfn"),
            OsStr::new("/dev/null"),
        ];
        let limits = Limits {
            cpu: limit,
            timeout: limit,
            isolation: self.isolation,
            ..LIMITS
        };
        let output = process::run(&self.program, args, &[], within, &limits).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Reads what it prints: for each utterance a line with its text, then one for each word, with begin, end (seconds) and
/// certainty. What is no word stands in `<>` or `[]`; variants of a word end in a number in brackets.
fn parse(printed: &str) -> Heard {
    let mut heard = Heard::default();
    let mut sentence: Vec<Word> = Vec::new();
    for line in printed.lines() {
        match Line::parse(line) {
            Line::Word(word) => sentence.push(word),
            Line::Noise => {}
            Line::Utterance => close(&mut heard, &mut sentence),
        }
    }
    close(&mut heard, &mut sentence);
    let texts: Vec<&str> = heard
        .segments
        .iter()
        .map(|segment| &*segment.text)
        .collect();
    heard.text = texts.join("\n");
    if !heard.segments.is_empty() {
        heard.language = "en".parse().ok();
    }
    heard
}

/// What a line says.
enum Line {
    /// The text of the next utterance.
    Utterance,
    Word(Word),
    /// What is heard and is no word.
    Noise,
}

impl Line {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, times @ ..] = &fields[..] else {
            return Self::Utterance;
        };
        let times: Vec<f64> = times.iter().flat_map(|text| text.parse()).collect();
        let [start, end, certainty] = times[..] else {
            return Self::Utterance;
        };
        let text = name.split('(').next().unwrap_or_default();
        if text.is_empty() || name.starts_with(['<', '[']) {
            return Self::Noise;
        }
        Self::Word(Word {
            start: to_thousandths(start),
            end: to_thousandths(end),
            text: text.to_owned(),
            // By rounding it may be a little above 1.
            confidence: Some(to_thousandths(certainty.clamp(0.0, 1.0))),
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody says 2^52 words in one breath"
)]
fn close(heard: &mut Heard, sentence: &mut Vec<Word>) {
    let (Some(first), Some(last)) = (sentence.first(), sentence.last()) else {
        return;
    };
    let texts: Vec<&str> = sentence.iter().map(|word| word.text.as_str()).collect();
    let sum: f64 = sentence.iter().filter_map(|word| word.confidence).sum();
    heard.segments.push(Segment {
        start: first.start,
        end: last.end,
        text: texts.join(" "),
        confidence: Some(to_thousandths(sum / sentence.len() as f64)),
    });
    heard.words.append(sentence);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utterances_and_words_are_told_apart() {
        let heard = parse(
            "the library opens\n<s> 0.140 0.230 1.000100\nthe(2) 0.240 0.450 0.5\nlibrary 0.460 0.660 1.0001\n\
             [NOISE] 0.7 0.8 0.1\nopens 0.670 0.970 0.300\n</s> 0.980 1.000 1.000000\nat nine\nat 2.1 2.2 0.9\n\
             nine 2.200 2.610 0.700000\n",
        );
        assert_eq!(heard.text, "the library opens\nat nine");
        assert_eq!(heard.language.unwrap().code(), Some("en"));
        let [first, second] = &heard.segments[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(
            (first.start, first.end, first.confidence),
            (0.24, 0.97, Some(0.6))
        );
        assert_eq!(
            (second.text.as_str(), second.confidence),
            ("at nine", Some(0.8))
        );
        assert_eq!(heard.words.len(), 5);
        assert_eq!(
            (heard.words[0].text.as_str(), heard.words[1].confidence),
            ("the", Some(1.0))
        );
    }

    #[test]
    fn nothing_said_is_nothing_heard() {
        assert_eq!(parse(""), Heard::default());
        assert_eq!(
            parse("\n<s> 0 1 1\n<sil> 1 2 0.5\n</s> 2 3 1\n"),
            Heard::default()
        );
    }
}
