//! With the real programs, on what Debian's flite says.

use std::{path::PathBuf, process::Command, sync::Mutex};

use futures::FutureExt as _;
use shared::{
    clients::transcriber::{Asked, Told},
    database,
};

use super::*;
use crate::engines::process::Isolation;

const MINUTE: Duration = Duration::from_mins(1);

async fn speech() -> Speech {
    let sphinx = Path::new("pocketsphinx_continuous");
    let sphinx = PocketSphinx::discover(sphinx, Isolation::None)
        .await
        .unwrap();
    Speech {
        ffmpeg: Ffmpeg::discover(None, Isolation::None).unwrap(),
        engines: vec![Engine::PocketSphinx(sphinx)],
        longest: MINUTE,
    }
}

fn ffmpeg(args: &[&str], target: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(args)
        .arg(target)
        .status();
    assert!(status.unwrap().success(), "{args:?}");
}

fn no_server(_: Asked) -> BoxFuture<'static, database::Result<Told>> {
    unreachable!("there is none")
}

/// What a file in a folder of its own becomes.
async fn transcribe(
    make: impl FnOnce(&Path) -> PathBuf,
    hints: Hints,
) -> Result<Transcript, SpeechError> {
    let folder = tempfile::tempdir().unwrap();
    let file = make(folder.path());
    let within = tempfile::tempdir().unwrap();
    let progress = |_, _| async {}.boxed();
    speech()
        .await
        .transcribe(&file, within.path(), hints, &progress, &no_server)
        .await
}

fn say(text: &str, file: &Path) {
    let status = Command::new("flite")
        .args(["-voice", "slt", "-t", text])
        .arg(file)
        .status();
    assert!(
        status.unwrap().success(),
        "flite is of the packages of bin/test"
    );
}

fn reason(result: Result<Transcript, SpeechError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn what_is_said_is_written_down_with_times_and_certainty() {
    let said = transcribe(
        |folder| {
            let file = folder.join("said.wav");
            say(
                "The library opens on Saturday morning. Please bring your paper and a pen.",
                &file,
            );
            let mp3 = folder.join("said.mp3");
            ffmpeg(&["-i", file.to_str().unwrap()], &mp3);
            mp3
        },
        Hints::default(),
    );
    let said = said.await.unwrap();
    for word in ["library", "morning", "paper"] {
        assert!(said.heard.text.contains(word), "{}", said.heard.text);
    }
    assert_eq!(
        (said.engine.as_str(), said.model.as_str()),
        ("pocketsphinx", "en-us")
    );
    assert!((3.0..7.0).contains(&said.duration_seconds), "{said:?}");
    let confidence = said.heard.confidence().unwrap();
    assert!((0.1..=1.0).contains(&confidence), "{confidence}");
    let words = &said.heard.words;
    assert!(words.windows(2).all(|pair| pair[0].start <= pair[1].start));
    assert!(words.last().unwrap().end <= said.duration_seconds);
}

#[tokio::test]
async fn what_cannot_be_heard_says_why() {
    let silent = |folder: &Path| {
        let file = folder.join("silent.ogg");
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                "anullsrc=r=16000:cl=mono",
                "-t",
                "2",
                "-c:a",
                "libopus",
            ],
            &file,
        );
        file
    };
    assert_eq!(
        reason(transcribe(silent, Hints::default()).await),
        "the sound is silent"
    );
    let tone = |folder: &Path| {
        let file = folder.join("tone.m4a");
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:duration=2",
                "-c:a",
                "aac",
            ],
            &file,
        );
        file
    };
    let told = reason(transcribe(tone, Hints::default()).await);
    assert_eq!(told, "no speech was recognized in the sound");
    let long = |folder: &Path| {
        let file = folder.join("long.mp3");
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:duration=90",
                "-b:a",
                "16k",
            ],
            &file,
        );
        file
    };
    let told = reason(transcribe(long, Hints::default()).await);
    assert!(told.contains("longer than 1 minutes"), "{told}");
    let film = |folder: &Path| {
        let file = folder.join("film.webm");
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                "testsrc=size=32x32:rate=5:duration=1",
                "-c:v",
                "libvpx",
            ],
            &file,
        );
        file
    };
    let told = reason(transcribe(film, Hints::default()).await);
    assert_eq!(told, "there is no sound in the file");
}

#[tokio::test]
async fn a_length_that_no_header_tells_is_measured() {
    let unknown = |folder: &Path| {
        let file = folder.join("long.webm");
        // To a pipe, as a browser records: nobody comes back to write the length.
        let made = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:duration=70",
            ])
            .args(["-c:a", "libopus", "-b:a", "12k", "-f", "webm", "-"])
            .output();
        std::fs::write(&file, made.unwrap().stdout).unwrap();
        file
    };
    let told = reason(transcribe(unknown, Hints::default()).await);
    assert!(told.contains("longer than 1 minutes"), "{told}");
}

#[tokio::test]
async fn a_playlist_opens_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.wav");
    say("This is a secret that nobody should hear.", &secret);
    let path = secret.display();
    for (name, text) in [
        ("list.mp3", format!("ffconcat version 1.0\nfile {path}\n")),
        (
            "list.wav",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n"),
        ),
        ("broken.ogg", "OggS, as it says".to_owned()),
        ("empty.webm", String::new()),
    ] {
        let make = |folder: &Path| {
            let file = folder.join(name);
            std::fs::write(&file, &text).unwrap();
            file
        };
        let error = transcribe(make, Hints::default()).await.unwrap_err();
        assert!(
            matches!(error, SpeechError::Sound(SoundError::Damaged(_))),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn english_only_is_not_asked_for_other_languages() {
    let make = |folder: &Path| {
        let file = folder.join("said.wav");
        say("One two three.", &file);
        file
    };
    let hindi = "hi".parse().ok();
    let asked = Hints {
        asked: hindi,
        likely: None,
    };
    let error = transcribe(make, asked).await.unwrap_err();
    assert!(matches!(
        error,
        SpeechError::Unavailable {
            again: Again::Useless,
            ..
        }
    ));
    let told = error.to_string();
    assert!(
        told.starts_with("transcription_unavailable: ") && told.ends_with(" language hi"),
        "{told}"
    );
    let likely = Hints {
        asked: None,
        likely: hindi,
    };
    assert!(transcribe(make, likely).await.is_err());
    let named = Hints {
        asked: "en-GB".parse().ok(),
        likely: hindi,
    };
    assert!(transcribe(make, named).await.is_ok());
}

#[tokio::test]
async fn a_long_sound_is_heard_in_parts_with_right_times() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said.wav");
    say("Please bring your paper and a pen.", &said);
    let file = folder.path().join("long.ogg");
    // Eleven minutes of next to nothing, with something said at the beginning and at the end.
    let input = said.to_str().unwrap();
    let filter = "[0:a]aresample=16000,apad=whole_dur=655[a];[1:a]aresample=16000[b];[a][b]concat=n=2:v=0:a=1";
    ffmpeg(
        &[
            "-i",
            input,
            "-i",
            input,
            "-filter_complex",
            filter,
            "-c:a",
            "libopus",
            "-b:a",
            "16k",
        ],
        &file,
    );
    let speech = Speech {
        longest: 15 * MINUTE,
        ..speech().await
    };
    let within = tempfile::tempdir().unwrap();
    let heard_of = Mutex::new(Vec::new());
    let progress = |part, parts| {
        heard_of.lock().unwrap().push((part, parts));
        async {}.boxed()
    };
    let said = speech
        .transcribe(
            &file,
            within.path(),
            Hints::default(),
            &progress,
            &no_server,
        )
        .await
        .unwrap();
    assert_eq!(*heard_of.lock().unwrap(), [(1, 2), (2, 2)]);
    let papers: Vec<f64> = said
        .heard
        .words
        .iter()
        .filter(|word| word.text == "paper")
        .map(|word| word.start)
        .collect();
    let [first, second] = papers[..] else {
        panic!("{:?}", said.heard)
    };
    assert!(
        first < 3.0 && (655.0..658.0).contains(&second),
        "{papers:?}"
    );
}
