//! The program, with a model that has the form of a real one and has learned nothing: what it hears is meaningless, but it
//! is loaded, run and written down like any other. Models that have learned something are too large to be kept here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// whisper.cpp's own format (`whisper_model_load`): a mark, the sizes, the filters, the words, and no weights.
fn untrained() -> Vec<u8> {
    let mut model = 0x6767_6d6c_u32.to_le_bytes().to_vec();
    let sizes = [51_865, 1_500, 64, 1, 4, 448, 64, 1, 4, 80, 1];
    let filters = [80, 201];
    for number in sizes.iter().chain(&filters) {
        model.extend(i32::to_le_bytes(*number));
    }
    model.extend(vec![0; 4 * 80 * 201]);
    let words = 50_257_u32;
    model.extend(words.to_le_bytes());
    for word in 0..words {
        // A space alone is looked for.
        let word = if word == 0 {
            " ".to_owned()
        } else {
            format!(" {word}")
        };
        model.extend(u32::try_from(word.len()).unwrap().to_le_bytes());
        model.extend(word.bytes());
    }
    model
}

/// A second of a tone, as the worker writes it.
fn tone() -> Vec<u8> {
    let mut file = b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\x7d\0\0".to_vec();
    for at in 0..16_000_i16 {
        file.extend((at % 40 * 500).to_le_bytes());
    }
    file
}

fn run(folder: &Path, model: &[u8], sound: &[u8]) -> Output {
    let (model_file, sound_file) = (folder.join("ggml-untrained.bin"), folder.join("part.wav"));
    std::fs::write(&model_file, model).unwrap();
    std::fs::write(&sound_file, sound).unwrap();
    Command::new(env!("CARGO_BIN_EXE_baatcheet-whisper"))
        .arg("--model")
        .arg(model_file)
        .args(["--threads", "1", "--language", "en"])
        .arg(sound_file)
        .output()
        .unwrap()
}

#[test]
fn what_is_heard_is_printed_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &untrained(), &tone());
    assert!(output.status.success(), "{output:?}");
    let heard: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(heard["language"], "en");
    assert!(
        heard["segments"].is_array() && heard["words"].is_array(),
        "{heard}"
    );
}

#[test]
fn what_is_no_model_and_no_sound_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (model, sound, reason) in [
        (&b"no model"[..], &tone()[..], "the model cannot be loaded"),
        (&untrained(), b"RIFF", "the sound has no header"),
        (&untrained(), &[0; 100], "not of the one kind"),
    ] {
        let output = run(folder.path(), model, sound);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(reason), "{told}");
    }
}
