//! Scripts: which languages they may stand for, and how much of a text is written in them.

use std::ops::RangeInclusive;

use shared::language::Language;

/// A script by the name that Tesseract's detection has for it, its languages (the likeliest first), and its letters.
///
/// Every language that is not named here is written in Latin letters. Sources: Unicode 15, Blocks.txt; the unicharset
/// of Tesseract's `osd` data.
type Script = (
    &'static str,
    &'static [&'static str],
    &'static [RangeInclusive<char>],
);

const LATIN: &str = "Latin";

/// Certainty below which a detected script is none.
///
/// Measured on 24 drawn texts of 100 to 450 characters in six scripts, enlarged as pictures are here: with ten
/// characters to try, 19 are detected (with Tesseract's own 50: 12, while it gives up on seven); four of the five wrong
/// ones are below 1, and no right one is.
const CERTAIN: f64 = 1.0;

const SCRIPTS: [Script; 29] = [
    (
        LATIN,
        &[],
        &[
            'A'..='Z',
            'a'..='z',
            '\u{c0}'..='\u{24f}',
            '\u{1e00}'..='\u{1eff}',
        ],
    ),
    (
        "Devanagari",
        &["hin", "mar", "nep", "san", "Devanagari"],
        &['\u{900}'..='\u{97f}'],
    ),
    (
        "Arabic",
        &["urd", "ara", "fas", "pus", "snd", "uig", "kmr", "Arabic"],
        &[
            '\u{600}'..='\u{6ff}',
            '\u{750}'..='\u{77f}',
            '\u{fb50}'..='\u{fdff}',
            '\u{fe70}'..='\u{fefc}',
        ],
    ),
    (
        "Bengali",
        &["ben", "asm", "Bengali"],
        &['\u{980}'..='\u{9ff}'],
    ),
    ("Gurmukhi", &["pan"], &['\u{a00}'..='\u{a7f}']),
    ("Gujarati", &["guj"], &['\u{a80}'..='\u{aff}']),
    ("Oriya", &["ori"], &['\u{b00}'..='\u{b7f}']),
    ("Tamil", &["tam"], &['\u{b80}'..='\u{bff}']),
    ("Telugu", &["tel"], &['\u{c00}'..='\u{c7f}']),
    ("Kannada", &["kan"], &['\u{c80}'..='\u{cff}']),
    ("Malayalam", &["mal"], &['\u{d00}'..='\u{d7f}']),
    ("Sinhala", &["sin"], &['\u{d80}'..='\u{dff}']),
    ("Thai", &["tha"], &['\u{e00}'..='\u{e7f}']),
    ("Lao", &["lao"], &['\u{e80}'..='\u{eff}']),
    ("Tibetan", &["bod", "dzo"], &['\u{f00}'..='\u{fff}']),
    ("Myanmar", &["mya"], &['\u{1000}'..='\u{109f}']),
    ("Khmer", &["khm"], &['\u{1780}'..='\u{17ff}']),
    (
        "Han",
        &["chi_sim", "chi_tra", "jpn"],
        &['\u{4e00}'..='\u{9fff}'],
    ),
    ("Japanese", &["jpn"], &['\u{3040}'..='\u{30ff}']),
    (
        "Korean",
        &["kor"],
        &['\u{ac00}'..='\u{d7af}', '\u{1100}'..='\u{11ff}'],
    ),
    ("Hebrew", &["heb", "yid"], &['\u{590}'..='\u{5ff}']),
    ("Syriac", &["syr"], &['\u{700}'..='\u{74f}']),
    ("Thaana", &["div"], &['\u{780}'..='\u{7bf}']),
    (
        "Greek",
        &["ell", "grc"],
        &['\u{370}'..='\u{3ff}', '\u{1f00}'..='\u{1fff}'],
    ),
    (
        "Cyrillic",
        &[
            "rus", "ukr", "bul", "srp", "bel", "mkd", "mon", "kaz", "kir", "tgk", "tat",
        ],
        &['\u{400}'..='\u{52f}'],
    ),
    ("Armenian", &["hye"], &['\u{530}'..='\u{58f}']),
    ("Georgian", &["kat"], &['\u{10a0}'..='\u{10ff}']),
    ("Ethiopic", &["amh", "tir"], &['\u{1200}'..='\u{137f}']),
    ("Cherokee", &["chr"], &['\u{13a0}'..='\u{13ff}']),
];

/// The likeliest language of a script among those installed; none for Latin letters, which say nothing.
pub(super) fn language_of(script: &str, installed: &[Language]) -> Option<Language> {
    let (_, languages, _) = SCRIPTS.iter().find(|(name, ..)| *name == script)?;
    languages.iter().find_map(|name| {
        installed
            .iter()
            .find(|language| language.as_str() == *name)
            .copied()
    })
}

/// The language among those asked for in which most of a text is written, as far as letters tell.
pub(crate) fn language_of_text(text: &str, asked: &[Language]) -> Option<Language> {
    let mut counts = [0_usize; SCRIPTS.len()];
    let mut last = 0;
    for letter in text.chars() {
        let is_of = |at: &usize| SCRIPTS[*at].2.iter().any(|range| range.contains(&letter));
        // Texts stay in a script for long.
        if let Some(at) = Some(last)
            .filter(is_of)
            .or_else(|| (0..SCRIPTS.len()).find(is_of))
        {
            counts[at] += 1;
            last = at;
        }
    }
    let most = (0..SCRIPTS.len()).max_by_key(|at| (counts[*at], SCRIPTS.len() - at))?;
    match asked {
        _ if !text.chars().any(char::is_alphabetic) => None,
        [only] => Some(*only),
        _ if counts[most] == 0 => None,
        _ => asked
            .iter()
            .find(|language| is_written_in(**language, SCRIPTS[most]))
            .copied(),
    }
}

fn is_written_in(language: Language, (script, languages, _): Script) -> bool {
    if script == LATIN {
        SCRIPTS
            .iter()
            .all(|(_, languages, _)| !languages.contains(&language.as_str()))
    } else {
        languages.contains(&language.as_str())
    }
}

/// The script that Tesseract says a picture is written in (`--psm 0`), if it is certain enough.
pub(super) fn detected(output: &str) -> Option<&str> {
    let value = |name: &str| output.lines().find_map(|line| line.strip_prefix(name));
    let confidence: f64 = value("Script confidence: ")?.trim().parse().ok()?;
    value("Script: ")
        .map(str::trim)
        .filter(|_| confidence >= CERTAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(names: &str) -> Vec<Language> {
        Language::parse_all(names).unwrap()
    }

    #[test]
    fn every_language_of_the_table_is_known() {
        for (script, languages, _) in SCRIPTS {
            for name in languages {
                assert_eq!(
                    name.parse::<Language>().unwrap().as_str(),
                    *name,
                    "{script}"
                );
            }
        }
    }

    #[test]
    fn the_language_of_a_text_is_that_of_most_letters() {
        for (text, asked, expected) in [
            ("Invoice 12", "eng+hin+urd", Some("eng")),
            ("Bill: पुस्तकालय शनिवार", "eng+hin", Some("hin")),
            ("کتب خانہ ہفتے A4", "eng+hin+urd", Some("urd")),
            ("کتب خانہ", "eng+ara+urd", Some("ara")),
            ("গ্রন্থাগার", "eng+ben", Some("ben")),
            ("図書館", "eng+jpn", Some("jpn")),
            ("12 34 ...", "eng+hin", None),
            ("", "eng", None),
            ("Привет", "eng+hin", None),
            ("Привет", "rus", Some("rus")),
        ] {
            let found = language_of_text(text, &languages(asked));
            assert_eq!(found.map(Language::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_detected_script_becomes_an_installed_language() {
        let output = "Page number: 0\nOrientation in degrees: 0\nRotate: 0\nOrientation confidence: 5.19\n\
                      Script: Arabic\nScript confidence: 31.11\n";
        assert_eq!(detected(output), Some("Arabic"));
        assert_eq!(detected(&output.replace("31.11", "0.83")), None);
        assert_eq!(detected("Too few characters. Skipping this page\n"), None);
        let of =
            |script, installed| language_of(script, &languages(installed)).map(Language::as_str);
        assert_eq!(of("Arabic", "eng+ara+urd"), Some("urd"));
        assert_eq!(of("Arabic", "eng+Arabic"), Some("Arabic"));
        assert_eq!(of("Bengali", "eng+ara"), None);
        assert_eq!(of("Latin", "eng+ara"), None);
        assert_eq!(of("Klingon", "eng"), None);
    }
}
