//! Languages that texts are written and spoken in: what users call them, and the data that reads them.

mod names;

use std::{fmt, str::FromStr};

/// A language, or a script, whose text can be read.
///
/// It is read from ISO 639-1 and 639-3 codes, from tags that begin with one (`hi-IN`, BCP 47) and from the names of
/// Tesseract's data (`chi_sim`, `Devanagari`). It says nothing about what a worker has installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(&'static Row);

/// The code that clients see, and the name of Tesseract's data, which is the ISO 639-3 code where there is one.
type Row = (&'static str, &'static str);

/// The text names no language that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no language that is known here; there are {all}", all = codes())]
pub struct UnknownLanguage {
    name: String,
}

/// Most languages of one text: each more makes the reading slower and worse.
pub const MAX_LANGUAGES: usize = 5;

/// The data for a language. The first ones are named first where all are listed. Some are only heard: there are no data
/// that read them.
///
/// Sources: ISO 639; the manual page tesseract(1), "LANGUAGES AND SCRIPTS". Where ISO 639-1 has no code, the one of
/// ISO 639-3 stands in (BCP 47, RFC 5646 §2.2.1: the shortest code).
const LANGUAGES: [Row; 122] = [
    ("en", "eng"),
    ("hi", "hin"),
    ("ur", "urd"),
    ("bn", "ben"),
    ("ar", "ara"),
    ("af", "afr"),
    ("am", "amh"),
    ("as", "asm"),
    ("az", "aze"),
    ("ba", "bak"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bo", "bod"),
    ("br", "bre"),
    ("bs", "bos"),
    ("ca", "cat"),
    ("ceb", "ceb"),
    ("chr", "chr"),
    ("co", "cos"),
    ("cs", "ces"),
    ("cy", "cym"),
    ("da", "dan"),
    ("de", "deu"),
    ("dv", "div"),
    ("dz", "dzo"),
    ("el", "ell"),
    ("enm", "enm"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("eu", "eus"),
    ("fa", "fas"),
    ("fi", "fin"),
    ("fil", "fil"),
    ("fo", "fao"),
    ("fr", "fra"),
    ("frm", "frm"),
    ("fy", "fry"),
    ("ga", "gle"),
    ("gd", "gla"),
    ("gl", "glg"),
    ("grc", "grc"),
    ("gu", "guj"),
    ("ha", "hau"),
    ("haw", "haw"),
    ("he", "heb"),
    ("hr", "hrv"),
    ("ht", "hat"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("is", "isl"),
    ("it", "ita"),
    ("iu", "iku"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("kk", "kaz"),
    ("km", "khm"),
    ("kmr", "kmr"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("ky", "kir"),
    ("la", "lat"),
    ("lb", "ltz"),
    ("ln", "lin"),
    ("lo", "lao"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mg", "mlg"),
    ("mi", "mri"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mn", "mon"),
    ("mr", "mar"),
    ("ms", "msa"),
    ("mt", "mlt"),
    ("my", "mya"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("nn", "nno"),
    ("no", "nor"),
    ("oc", "oci"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("ps", "pus"),
    ("pt", "por"),
    ("qu", "que"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("sa", "san"),
    ("sd", "snd"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("so", "som"),
    ("sq", "sqi"),
    ("sr", "srp"),
    ("su", "sun"),
    ("sv", "swe"),
    ("sw", "swa"),
    ("syr", "syr"),
    ("ta", "tam"),
    ("te", "tel"),
    ("tg", "tgk"),
    ("th", "tha"),
    ("ti", "tir"),
    ("tk", "tuk"),
    ("to", "ton"),
    ("tr", "tur"),
    ("tt", "tat"),
    ("ug", "uig"),
    ("uk", "ukr"),
    ("uz", "uzb"),
    ("vi", "vie"),
    ("yi", "yid"),
    ("yo", "yor"),
    ("yue", "yue"),
    ("zh", "chi_sim"),
    ("zh-Hant", "chi_tra"),
];

/// Data that reads all languages of a script; which one a text is in, it cannot tell.
const SCRIPTS: [Row; 3] = [("", "Devanagari"), ("", "Arabic"), ("", "Bengali")];

/// Other codes of languages: ISO 639-3 where Tesseract has another name, what BCP 47 calls them, and what Whisper does.
const ALIASES: [(&str, &str); 9] = [
    ("zho", "chi_sim"),
    ("zh-hans", "chi_sim"),
    ("zh-cn", "chi_sim"),
    ("zh-tw", "chi_tra"),
    ("zh-hk", "chi_tra"),
    ("nb", "nor"),
    ("tl", "fil"),
    ("tgl", "fil"),
    ("jw", "jav"),
];

impl Language {
    /// Name of Tesseract's data. It is safe as an argument and as part of one.
    pub fn as_str(self) -> &'static str {
        self.0.1
    }

    /// ISO 639-1 code, or the one of ISO 639-3 where there is none; nothing for the data of a script.
    pub fn code(self) -> Option<&'static str> {
        Some(self.0.0).filter(|code| !code.is_empty())
    }

    /// Reads languages joined by `+`, each once.
    ///
    /// # Errors
    /// The first that is not known.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, UnknownLanguage> {
        let mut all = Vec::new();
        for name in text.split('+') {
            let language = name.trim().parse()?;
            if !all.contains(&language) {
                all.push(language);
            }
        }
        Ok(all)
    }

    /// Writes languages joined by `+`, so that [`Language::parse_all`] reads the same ones.
    pub fn join(languages: &[Self]) -> String {
        let names: Vec<&str> = languages.iter().map(|language| language.as_str()).collect();
        names.join("+")
    }
}

/// What clients see of languages joined by `+`; nothing where only scripts are named.
pub fn codes_of(text: &str) -> Option<String> {
    let codes: Vec<&str> = text
        .split('+')
        .filter_map(|name| name.parse::<Language>().ok()?.code())
        .collect();
    Some(codes.join("+")).filter(|codes| !codes.is_empty())
}

/// The codes of all languages.
fn codes() -> String {
    LANGUAGES.map(|(code, _)| code).join(", ")
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        // Of a tag only the language counts: hi-IN, ur-Arab-PK.
        find(text)
            .or_else(|| find(text.split('-').next().unwrap_or_default()))
            .map(Self)
            .ok_or_else(|| UnknownLanguage {
                name: text.chars().take(32).collect(),
            })
    }
}

fn find(name: &str) -> Option<&'static Row> {
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let name = alias.map_or(name, |(_, name)| name);
    LANGUAGES.iter().chain(&SCRIPTS).find(|(code, data)| {
        !name.is_empty() && (code.eq_ignore_ascii_case(name) || data.eq_ignore_ascii_case(name))
    })
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tags_and_names_are_understood() {
        for (text, name, code) in [
            ("en", "eng", Some("en")),
            ("EN", "eng", Some("en")),
            ("hi-IN", "hin", Some("hi")),
            ("ur-Arab-PK", "urd", Some("ur")),
            ("bn", "ben", Some("bn")),
            ("eng", "eng", Some("en")),
            ("fil", "fil", Some("fil")),
            ("chi_sim", "chi_sim", Some("zh")),
            ("zho", "chi_sim", Some("zh")),
            ("zh-CN", "chi_sim", Some("zh")),
            ("zh-Hant", "chi_tra", Some("zh-Hant")),
            ("Devanagari", "Devanagari", None),
            ("devanagari", "Devanagari", None),
        ] {
            let language = text.parse::<Language>().unwrap();
            assert_eq!((language.as_str(), language.code()), (name, code), "{text}");
        }
    }

    #[test]
    fn what_could_be_an_option_or_a_path_is_unknown() {
        for text in [
            "",
            "e",
            "xx",
            "tlh",
            "-l",
            "--help",
            "-",
            "eng+hin",
            "../eng",
            "script/Latin",
            "eng\0",
            "हिन्दी",
            "osd",
            "equ",
            "_en",
            "eng hin",
        ] {
            assert!(text.parse::<Language>().is_err(), "{text:?}");
        }
        let told = "tlh".parse::<Language>().unwrap_err().to_string();
        assert!(
            told.starts_with("\"tlh\" is no language") && told.contains("en, hi, ur, bn"),
            "{told}"
        );
    }

    #[test]
    fn every_name_and_code_leads_to_its_language() {
        for row in LANGUAGES.iter().chain(&SCRIPTS) {
            assert_eq!(row.1.parse::<Language>().unwrap().0, row);
            if !row.0.is_empty() {
                assert_eq!(row.0.parse::<Language>().unwrap().0, row);
            }
        }
    }

    #[test]
    fn several_are_joined_by_plus() {
        let both = Language::parse_all("en+hi+eng").unwrap();
        assert_eq!(Language::join(&both), "eng+hin");
        assert_eq!(codes_of("eng+hin").as_deref(), Some("en+hi"));
        assert_eq!(codes_of("Devanagari+eng").as_deref(), Some("en"));
        assert_eq!(codes_of("Devanagari"), None);
        assert!(Language::parse_all("en+").is_err());
    }
}
