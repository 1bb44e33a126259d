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

use super::{language::Language, tsv::Page};

/// Languages that are asked for when nobody says which.
const DEFAULT: [&str; 2] = ["eng", "hin"];

/// Languages that are tried on what the first choice leaves doubtful.
const FURTHER: [&str; 3] = ["eng", "hin", "urd"];

/// Share of doubtful words from which a second reading is worth its time. Clean text stays below 4 %; one line in a
/// further script among three lifted it to 22 to 27 %.
const DOUBTS: f64 = 0.10;

/// Share from which the first choice is taken to be wrong altogether, and left out of the second. Text in a script that
/// was not asked for reaches 65 to 93 %, half a page of it 42 to 50 %.
const WRONG: f64 = 0.60;

/// A mean confidence below which a second reading is worth its time, however few words are doubtful.
const DOUBTFUL_MEAN: f64 = 75.0;

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

    /// The hints, else the default, else whatever there is.
    pub(super) fn first_choice(&self, hints: &[Language]) -> Vec<Language> {
        let hinted = self.among(hints.iter().map(Language::as_str));
        if !hinted.is_empty() {
            return hinted;
        }
        let default = self.among(DEFAULT);
        if default.is_empty() {
            self.0.first().cloned().into_iter().collect()
        } else {
            default
        }
    }

    /// What to ask for after a first reading; none when it is good, or when there is nothing more to ask for.
    pub(super) fn second_choice(&self, first: &[Language], page: &Page) -> Option<Vec<Language>> {
        let mean_is_good = page.confidence().is_none_or(|mean| mean >= DOUBTFUL_MEAN);
        if mean_is_good && page.doubtful_share() < DOUBTS {
            return None;
        }
        let mut others = self.among(FURTHER);
        others.retain(|language| !first.contains(language));
        if others.is_empty() || page.doubtful_share() >= WRONG {
            return Some(others).filter(|others| !others.is_empty());
        }
        Some(first.iter().cloned().chain(others).collect())
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
                    .cloned(),
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

    #[test]
    fn the_list_of_languages_is_read() {
        let list = "List of available languages in \"/usr/share/tessdata/\" (6):\nArabic\neng\nosd\nscript/Latin\nhin\n";
        assert_eq!(Installed::parse(list), installed("Arabic eng hin"));
        assert_eq!(Installed::parse(""), installed(""));
    }

    #[test]
    fn hints_come_first_then_the_default_then_anything() {
        let all = installed("Arabic Devanagari eng hin urd");
        assert_eq!(all.first_choice(&[]), languages("eng hin"));
        assert_eq!(all.first_choice(&languages("ur")), languages("urd"));
        assert_eq!(
            all.first_choice(&languages("hi en hi devanagari")),
            languages("hin eng Devanagari")
        );
        assert_eq!(all.first_choice(&languages("fr ben")), languages("eng hin"));
        assert_eq!(installed("deu eng").first_choice(&[]), languages("eng"));
        assert_eq!(installed("deu fra").first_choice(&[]), languages("deu"));
        assert_eq!(installed("").first_choice(&[]), []);
    }

    #[test]
    fn doubts_lead_to_a_second_reading() {
        let all = installed("eng hin urd deu");
        let second =
            |first: &str, doubtful| all.second_choice(&languages(first), &Page::of_ten(doubtful));
        assert_eq!(second("eng hin", 0), None);
        assert_eq!(second("eng hin", 2), Some(languages("eng hin urd")));
        assert_eq!(second("eng hin", 7), Some(languages("urd")));
        assert_eq!(second("deu", 2), Some(languages("deu eng hin urd")));
        assert_eq!(second("eng hin urd", 9), None);
        assert_eq!(
            installed("eng").second_choice(&languages("eng"), &Page::of_ten(9)),
            None
        );
        assert_eq!(
            all.second_choice(&languages("eng hin"), &Page::default()),
            None
        );
    }
}
