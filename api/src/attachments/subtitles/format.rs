//! How subtitles are written.

use std::fmt::Write as _;

use super::cues::Cue;

/// `WebVTT` (W3C, <https://www.w3.org/TR/webvtt1/>, section 4.1). In it `&`, `<` and `>` mean something.
pub(crate) fn vtt(cues: &[Cue]) -> String {
    let mut text = String::from("WEBVTT\n");
    for cue in cues {
        let lines = cue.lines.join("\n");
        let lines = lines
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let (start, end) = (time(cue.start, '.'), time(cue.end, '.'));
        let _ = write!(text, "\n{start} --> {end}\n{lines}\n");
    }
    text
}

/// `SubRip`, which has no standard: numbered cues, and commas before the milliseconds. Players take `<` for markup and
/// know no escape for it, so letters that look like it stand in.
pub(crate) fn srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (number, cue) in cues.iter().enumerate() {
        let lines = cue.lines.join("\n").replace('<', "‹").replace('>', "›");
        let (start, end) = (time(cue.start, ','), time(cue.end, ','));
        let _ = write!(text, "{}\n{start} --> {end}\n{lines}\n\n", number + 1);
    }
    text
}

fn time(milliseconds: u64, separator: char) -> String {
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{separator}{milliseconds:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cues() -> [Cue; 2] {
        let cue = |start, end, lines: &[&str]| Cue {
            start,
            end,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        [
            cue(240, 3_100, &["Tom & <i>Ana</i>", "-->"]),
            cue(3_723_004, 3_724_000, &["नमस्ते"]),
        ]
    }

    #[test]
    fn vtt_means_what_is_said_and_nothing_else() {
        assert_eq!(
            vtt(&cues()),
            "WEBVTT\n\n00:00:00.240 --> 00:00:03.100\nTom &amp; &lt;i&gt;Ana&lt;/i&gt;\n--&gt;\n\n\
             01:02:03.004 --> 01:02:04.000\nनमस्ते\n"
        );
        assert_eq!(vtt(&[]), "WEBVTT\n");
    }

    #[test]
    fn srt_is_numbered() {
        assert_eq!(
            srt(&cues()),
            "1\n00:00:00,240 --> 00:00:03,100\nTom & ‹i›Ana‹/i›\n--›\n\n\
             2\n01:02:03,004 --> 01:02:04,000\nनमस्ते\n\n"
        );
    }
}
