//! Names of languages, as users write them and as Tesseract calls them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name of Tesseract's language data: `eng`, `hin`, `Devanagari`. It is safe as an argument and as part of one.
///
/// It is read from Tesseract's names and from language tags such as `en` or `hi-IN` (ISO 639-1, BCP 47), and says
/// nothing about what is installed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(String);

/// The text is no name of a language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a language: give a code such as en, hin or ur")]
pub struct NotALanguage;

/// How a language is written, as far as it helps to tell languages apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Devanagari,
    Arabic,
    Bengali,
    Other,
}

/// ISO 639-1 code, Tesseract's name, script. Data for a whole script has no code.
///
/// Sources: ISO 639; the manual page tesseract(1), "LANGUAGES AND SCRIPTS".
const LANGUAGES: [(&str, &str, Script); 49] = [
    ("en", "eng", Script::Latin),
    ("hi", "hin", Script::Devanagari),
    ("ur", "urd", Script::Arabic),
    ("bn", "ben", Script::Bengali),
    ("ar", "ara", Script::Arabic),
    ("mr", "mar", Script::Devanagari),
    ("ne", "nep", Script::Devanagari),
    ("sa", "san", Script::Devanagari),
    ("pa", "pan", Script::Other),
    ("gu", "guj", Script::Other),
    ("or", "ori", Script::Other),
    ("ta", "tam", Script::Other),
    ("te", "tel", Script::Other),
    ("kn", "kan", Script::Other),
    ("ml", "mal", Script::Other),
    ("si", "sin", Script::Other),
    ("as", "asm", Script::Bengali),
    ("fa", "fas", Script::Arabic),
    ("ps", "pus", Script::Arabic),
    ("sd", "snd", Script::Arabic),
    ("ug", "uig", Script::Arabic),
    ("zh", "chi_sim", Script::Other),
    ("ja", "jpn", Script::Other),
    ("ko", "kor", Script::Other),
    ("th", "tha", Script::Other),
    ("he", "heb", Script::Other),
    ("el", "ell", Script::Other),
    ("ru", "rus", Script::Other),
    ("uk", "ukr", Script::Other),
    ("bg", "bul", Script::Other),
    ("de", "deu", Script::Latin),
    ("fr", "fra", Script::Latin),
    ("es", "spa", Script::Latin),
    ("pt", "por", Script::Latin),
    ("it", "ita", Script::Latin),
    ("nl", "nld", Script::Latin),
    ("pl", "pol", Script::Latin),
    ("tr", "tur", Script::Latin),
    ("id", "ind", Script::Latin),
    ("ms", "msa", Script::Latin),
    ("vi", "vie", Script::Latin),
    ("sv", "swe", Script::Latin),
    ("cs", "ces", Script::Latin),
    ("ro", "ron", Script::Latin),
    ("hu", "hun", Script::Latin),
    ("sw", "swa", Script::Latin),
    ("", "Devanagari", Script::Devanagari),
    ("", "Arabic", Script::Arabic),
    ("", "Bengali", Script::Bengali),
];

impl Language {
    /// Tesseract's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The language among those asked for in which most of a text is written, as far as letters tell.
    pub(super) fn of_text(text: &str, asked: &[Self]) -> Option<Self> {
        let mut counts = [
            Script::Latin,
            Script::Devanagari,
            Script::Arabic,
            Script::Bengali,
        ]
        .map(|script| (script, 0));
        for script in text.chars().filter_map(Script::of) {
            for (candidate, count) in &mut counts {
                *count += usize::from(*candidate == script);
            }
        }
        let (script, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        match asked {
            _ if !text.chars().any(char::is_alphabetic) => None,
            [only] => Some(only.clone()),
            _ if count == 0 => None,
            _ => asked
                .iter()
                .find(|language| language.script() == script)
                .cloned(),
        }
    }

    fn script(&self) -> Script {
        let known = LANGUAGES.iter().find(|(_, name, _)| *name == self.0);
        known.map_or(Script::Other, |(_, _, script)| *script)
    }
}

impl Script {
    fn of(letter: char) -> Option<Self> {
        match letter {
            'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' => Some(Self::Latin),
            '\u{900}'..='\u{97f}' => Some(Self::Devanagari),
            '\u{980}'..='\u{9ff}' => Some(Self::Bengali),
            '\u{600}'..='\u{6ff}'
            | '\u{750}'..='\u{77f}'
            | '\u{fb50}'..='\u{fdff}'
            | '\u{fe70}'..='\u{fefc}' => Some(Self::Arabic),
            _ => None,
        }
    }
}

impl FromStr for Language {
    type Err = NotALanguage;

    fn from_str(text: &str) -> Result<Self, NotALanguage> {
        // Of a tag only the language counts: hi-IN, ur-Arab-PK.
        let name = text.split('-').next().unwrap_or_default();
        if name.len() == 2 {
            let code = name.to_ascii_lowercase();
            let known = LANGUAGES.iter().find(|(iso, _, _)| *iso == code);
            return known
                .map(|(_, name, _)| Self((*name).to_owned()))
                .ok_or(NotALanguage);
        }
        let well_formed = (3..=32).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphabetic() || letter == '_');
        // Data for the direction of pages and for equations, not languages.
        if well_formed && !matches!(name, "osd" | "equ") {
            Ok(Self(name.to_owned()))
        } else {
            Err(NotALanguage)
        }
    }
}

impl TryFrom<String> for Language {
    type Error = NotALanguage;

    fn try_from(text: String) -> Result<Self, NotALanguage> {
        text.parse()
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn languages(names: &str) -> Vec<Language> {
        names.split('+').map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn codes_tags_and_names_are_understood() {
        for (text, name) in [
            ("en", "eng"),
            ("EN", "eng"),
            ("hi-IN", "hin"),
            ("ur-Arab-PK", "urd"),
            ("bn", "ben"),
            ("eng", "eng"),
            ("chi_sim", "chi_sim"),
            ("Devanagari", "Devanagari"),
        ] {
            assert_eq!(text.parse::<Language>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_could_be_an_option_or_a_path_is_refused() {
        for text in [
            "",
            "e",
            "xx",
            "-l",
            "--help",
            "eng+hin",
            "../eng",
            "script/Latin",
            "eng\0",
            "हिन्दी",
            "osd",
            "_en",
            "eng hin",
            "a1c",
        ] {
            assert_eq!(text.parse::<Language>(), Err(NotALanguage), "{text:?}");
        }
        assert!("a".repeat(33).parse::<Language>().is_err());
        assert!(serde_json::from_str::<Language>("\"../eng\"").is_err());
        assert_eq!(
            serde_json::to_string(&"hi".parse::<Language>().unwrap()).unwrap(),
            "\"hin\""
        );
    }

    #[test]
    fn the_language_of_a_text_is_that_of_most_letters() {
        for (text, asked, expected) in [
            ("Invoice 12", "eng+hin+urd", Some("eng")),
            ("Bill: पुस्तकालय शनिवार", "eng+hin", Some("hin")),
            ("کتب خانہ ہفتے A4", "eng+hin+urd", Some("urd")),
            ("کتب خانہ", "eng+ara+urd", Some("ara")),
            ("12 34 ...", "eng+hin", None),
            ("", "eng", None),
            ("Привет", "eng+hin", None),
            ("Привет", "rus", Some("rus")),
        ] {
            let found = Language::of_text(text, &languages(asked));
            assert_eq!(found.as_ref().map(Language::as_str), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_always_safe_as_an_argument(text in ".{0,40}") {
            if let Ok(language) = text.parse::<Language>() {
                let name = language.as_str();
                prop_assert!(name.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '_'));
                prop_assert!((3..=32).contains(&name.len()) && !name.starts_with('_'));
            }
        }
    }
}
