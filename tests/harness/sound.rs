//! Sounds: what flite says, as files of the kinds that people send.

use std::process::Command;

/// Says something, as RIFF/WAVE. Of flite's voices it is the one that is understood best.
pub fn say(text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("said.wav");
    let mut flite = Command::new("flite");
    run(flite.args(["-voice", "slt", "-t", text]).arg(&file));
    std::fs::read(file).expect("what was said")
}

/// Makes a sound file of the given extension by ffmpeg: its options for input and coding.
pub fn sound(extension: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(format!("made.{extension}"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(options);
    run(ffmpeg.arg(&file));
    std::fs::read(file).expect("the sound")
}

/// Turns a sound into another kind.
pub fn convert(bytes: &[u8], extension: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    std::fs::write(&input, bytes).expect("it is written");
    let input = input.to_str().expect("a plain path");
    let options: Vec<&str> = ["-i", input].iter().chain(options).copied().collect();
    sound(extension, &options)
}

fn run(command: &mut Command) {
    let status = command.status();
    let status =
        status.unwrap_or_else(|error| panic!("{command:?}: {error}; run the tests with bin/test"));
    assert!(status.success(), "{command:?}: {status}");
}
