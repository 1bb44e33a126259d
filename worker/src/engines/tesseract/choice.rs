//! Which languages are asked for.
//!
//! A caller who knows the language says so. Otherwise English and Hindi are asked for first, and what they leave
//! doubtful is read a second time with more languages or others. Share of wrong characters and best of three times,
//! measured with Tesseract 5.3.0 and Debian's data on a busy two-core machine; 200 to 600 characters at 150 dpi, pages
//! of 2,400 to 3,600 at 250 dpi, all prepared as pictures are here:
//!
//! | text | one language | `eng+hin` | `eng+hin+urd` | `Devanagari+Arabic` |
//! |---|---|---|---|---|
//! | English | 0.0 %, 0.66 s | 0.0 %, 0.78 s | 0.0 %, 0.72 s | 0.0 %, 0.80 s |
//! | Hindi | 0.0 %, 0.37 s | 0.0 %, 0.71 s | 0.0 %, 0.86 s | 0.3 %, 0.98 s |
//! | English and Hindi lines | 43 %, 0.48 s | 0.0 %, 0.68 s | 0.0 %, 1.02 s | 1.0 %, 0.66 s |
//! | Urdu (Naskh) | 0.3 %, 0.41 s | 81 %, 0.81 s | 9.0 %, 0.98 s | 4.9 %, 0.58 s |
//! | Urdu (Nastaliq, 300 dpi) | 20 %, 0.27 s | 90 %, 0.66 s | 57 %, 0.81 s | 55 %, 1.30 s |
//! | lines of all three | 59 %, 0.35 s | 30 %, 0.72 s | 4.1 %, 0.77 s | 3.6 %, 0.76 s |
//! | English page | 0.0 %, 2.9 s | 0.0 %, 3.3 s | 0.0 %, 4.1 s | 0.0 %, 4.8 s |
//! | Hindi page | 0.0 %, 3.2 s | 0.0 %, 4.3 s | 1.3 %, 6.8 s | 0.3 %, 1.8 s |
//! | Urdu page (Naskh) | 0.3 %, 2.5 s | 81 %, 5.7 s | 7.4 %, 7.4 s | 3.4 %, 3.9 s |
//!
//! So `eng+hin` reads English like `eng` and Hindi like `hin` for 15 to 35 % more time on a page, and what it
//! cannot read it doubts (Urdu: mean confidence 50, two words in three doubtful). Only then Urdu is asked for: beside
//! other languages it is read far worse than alone.
//!
//! The detection of the script costs as much as a reading (0.6 s for a page of English that `eng+hin` reads in 0.5 s), and
//! gives up on few characters (the Hindi picture of the demo). So it is asked only about what the first reading doubts.

use shared::language::Language;

use super::{script, tsv::Page};

/// Languages that are asked for when nobody says which.
const DEFAULT: [&str; 2] = ["eng", "hin"];

/// Languages that are tried on what the first choice leaves doubtful, when the script is not detected.
const FURTHER: [&str; 3] = ["eng", "hin", "urd"];

/// Share of doubtful words from which a second reading is worth its time. Clean text stays below 4 %; one line in a
/// further script among three lifted it to 22 to 27 %.
const DOUBTS: f64 = 0.10;

/// Share from which the first choice is taken to be wrong altogether, and left out of the second. Text in a script that
/// was not asked for reaches 65 to 93 %, half a page of it 42 to 50 %.
const WRONG: f64 = 0.60;

/// A mean confidence below which a second reading is worth its time, however few words are doubtful.
const DOUBTFUL_MEAN: f64 = 75.0;

/// What is known of the languages of a picture before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// What its owner says.
    pub asked: Vec<Language>,
    /// What it is probably in: that of the page before, or of the conversation it was sent to.
    pub likely: Vec<Language>,
}

/// The languages installed on this machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Installed(pub(super) Vec<Language>);

impl Installed {
    /// Reads the output of `tesseract --list-langs`: names below a headline. What is no language is passed over.
    pub(super) fn parse(list: &str) -> Self {
        let exact = |name: &str| {
            name.parse()
                .ok()
                .filter(|language: &Language| language.as_str() == name)
        };
        Self(
            list.lines()
                .skip(1)
                .filter_map(|name| exact(name.trim()))
                .collect(),
        )
    }

    /// What the owner says, else what is likely, else the default, else whatever there is.
    pub(super) fn first_choice(&self, hints: &Hints) -> Vec<Language> {
        for languages in [&hints.asked, &hints.likely] {
            let hinted = self.among(languages.iter().map(|language| language.as_str()));
            if !hinted.is_empty() {
                return hinted;
            }
        }
        let default = self.among(DEFAULT);
        if default.is_empty() {
            self.0.first().copied().into_iter().collect()
        } else {
            default
        }
    }

    /// Whether a first reading leaves so much in doubt that a second one is worth its time.
    pub(super) fn doubts(page: &Page) -> bool {
        let mean_is_good = page.confidence().is_none_or(|mean| mean >= DOUBTFUL_MEAN);
        !mean_is_good || page.doubtful_share() >= DOUBTS
    }

    /// What to ask for after a doubtful reading, where the script may have been detected; none when there is nothing
    /// more to ask for.
    pub(super) fn second_choice(
        &self,
        first: &[Language],
        page: &Page,
        script: Option<&str>,
    ) -> Option<Vec<Language>> {
        let detected = script.and_then(|script| script::language_of(script, &self.0));
        let mut others: Vec<Language> = detected.into_iter().collect();
        others.retain(|language| !first.contains(language));
        if others.is_empty() {
            others = self.among(FURTHER);
            others.retain(|language| !first.contains(language));
        }
        if others.is_empty() || page.doubtful_share() >= WRONG {
            return Some(others).filter(|others| !others.is_empty());
        }
        Some(first.iter().copied().chain(others).collect())
    }

    /// Those of some languages that are installed, each once.
    fn among<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Language> {
        let mut found: Vec<Language> = Vec::new();
        for name in names {
            let installed = self
                .0
                .iter()
                .find(|language| language.as_str().eq_ignore_ascii_case(name));
            found.extend(
                installed
                    .filter(|language| !found.contains(language))
                    .copied(),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(names: &str) -> Vec<Language> {
        names
            .split_whitespace()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    fn installed(names: &str) -> Installed {
        Installed(languages(names))
    }

    fn asked(names: &str) -> Hints {
        Hints {
            asked: languages(names),
            likely: Vec::new(),
        }
    }

    #[test]
    fn the_list_of_languages_is_read() {
        let list = "List of available languages in \"/usr/share/tessdata/\" (6):\nArabic\neng\nosd\nscript/Latin\nhin\n";
        assert_eq!(Installed::parse(list), installed("Arabic eng hin"));
        assert_eq!(Installed::parse(""), installed(""));
    }

    #[test]
    fn hints_come_first_then_what_is_likely_then_the_default_then_anything() {
        let all = installed("Arabic Devanagari eng hin urd");
        assert_eq!(all.first_choice(&asked("")), languages("eng hin"));
        assert_eq!(all.first_choice(&asked("ur")), languages("urd"));
        assert_eq!(
            all.first_choice(&asked("hi en hi devanagari")),
            languages("hin eng Devanagari")
        );
        assert_eq!(all.first_choice(&asked("fr ben")), languages("eng hin"));
        let likely = |names, likely| Hints {
            likely: languages(likely),
            ..asked(names)
        };
        assert_eq!(all.first_choice(&likely("", "urd")), languages("urd"));
        assert_eq!(all.first_choice(&likely("hin", "urd")), languages("hin"));
        assert_eq!(all.first_choice(&likely("", "fra")), languages("eng hin"));
        assert_eq!(
            installed("deu eng").first_choice(&asked("")),
            languages("eng")
        );
        assert_eq!(
            installed("deu fra").first_choice(&asked("")),
            languages("deu")
        );
        assert_eq!(installed("").first_choice(&asked("")), []);
    }

    #[test]
    fn doubts_lead_to_a_second_reading() {
        for (doubtful, expected) in [(0, false), (1, true), (9, true)] {
            assert_eq!(
                Installed::doubts(&Page::of_ten(doubtful)),
                expected,
                "{doubtful}"
            );
        }
        assert!(!Installed::doubts(&Page::default()));
        let all = installed("eng hin urd deu");
        let second = |first: &str, doubtful| {
            all.second_choice(&languages(first), &Page::of_ten(doubtful), None)
        };
        assert_eq!(second("eng hin", 2), Some(languages("eng hin urd")));
        assert_eq!(second("eng hin", 7), Some(languages("urd")));
        assert_eq!(second("deu", 2), Some(languages("deu eng hin urd")));
        assert_eq!(second("eng hin urd", 9), None);
        assert_eq!(
            installed("eng").second_choice(&languages("eng"), &Page::of_ten(9), None),
            None
        );
    }

    #[test]
    fn a_detected_script_decides_the_second_reading() {
        let all = installed("ara ben eng hin urd");
        let second = |first: &str, doubtful, script| {
            all.second_choice(&languages(first), &Page::of_ten(doubtful), Some(script))
        };
        assert_eq!(second("eng hin", 7, "Bengali"), Some(languages("ben")));
        assert_eq!(
            second("eng hin", 3, "Bengali"),
            Some(languages("eng hin ben"))
        );
        assert_eq!(second("eng hin", 7, "Arabic"), Some(languages("urd")));
        assert_eq!(
            second("eng hin", 3, "Arabic"),
            Some(languages("eng hin urd"))
        );
        // What it says is what was asked for already, or is not installed: as if it had said nothing.
        for script in ["Latin", "Devanagari", "Tamil"] {
            assert_eq!(second("eng hin", 7, script), Some(languages("urd")));
        }
        assert_eq!(second("urd", 7, "Latin"), Some(languages("eng hin")));
    }
}
