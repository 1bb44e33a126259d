//! Reads Tesseract's TSV output and puts the text together.

use serde::{Deserialize, Serialize};

use super::super::picture::Area;

/// What is kept of a page's text. Real pages have some thousand characters.
const MAX_CHARACTERS: usize = 1_000_000;

/// A word less certain than this counts as doubtful.
const DOUBTFUL: f64 = 60.0;

/// Below this mean confidence, or above this share of doubtful words, a result is not to be relied upon. Measured:
/// clean English 96, Hindi 95, Urdu 92; Urdu in Nastaliq 63; a mixed page with the wrong language 67.
const LOW_CONFIDENCE: (f64, f64) = (75.0, 0.25);

/// The level of rows that are words; the others are pages, blocks, paragraphs and lines.
const WORD_LEVEL: &str = "5";

/// One word of a picture, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Word {
    /// Without white space, control characters and marks of direction.
    pub text: String,
    /// 0 to 100.
    pub confidence: u8,
    /// Left edge in the upright picture, in pixels.
    pub x: u32,
    /// Top edge in the upright picture, in pixels.
    pub y: u32,
    /// In pixels of the upright picture.
    pub width: u32,
    /// In pixels of the upright picture.
    pub height: u32,
}

/// What was read of one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page {
    /// Words with spaces, lines with line breaks, paragraphs with blank lines between them.
    pub(super) text: String,
    pub(super) words: Vec<Word>,
    /// Whether the text was longer than is kept.
    pub(super) truncated: bool,
    tally: Tally,
    trusted_sum: f64,
}

/// How certain words are, taken together. Every word counts the same, as in the measurements behind the limits that it
/// is held against.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    words: u32,
    sum: f64,
    doubtful: u32,
}

impl Tally {
    fn count(&mut self, confidence: f64) {
        self.words += 1;
        self.sum += confidence;
        self.doubtful += u32::from(confidence < DOUBTFUL);
    }

    /// Adds the words of another page.
    pub fn add(&mut self, words: &[Word]) {
        for word in words {
            self.count(word.confidence.into());
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.words > 0).then(|| self.sum / f64::from(self.words))
    }

    fn doubtful_share(&self) -> f64 {
        f64::from(self.doubtful) / f64::from(self.words.max(1))
    }

    /// Mean over the words, 0 to 100, with one decimal; none without words.
    pub fn confidence(&self) -> Option<f64> {
        self.mean().map(|mean| (mean * 10.0).round() / 10.0)
    }

    /// Whether the text is not to be relied upon.
    pub fn is_low(&self) -> bool {
        self.mean()
            .is_some_and(|mean| mean < LOW_CONFIDENCE.0 || self.doubtful_share() > LOW_CONFIDENCE.1)
    }
}

/// A row of a word. Of the columns `level page_num block_num par_num line_num word_num left top width height conf text`
/// the first is left out and the second to fifth tell the line.
struct Row<'a> {
    line: [&'a str; 4],
    area: Area,
    confidence: f64,
    text: String,
}

impl Page {
    /// Reads TSV; rows that are no words are passed over. `upright` maps areas to the upright picture.
    pub(super) fn parse(tsv: &str, upright: impl Fn(Area) -> Area) -> Self {
        let mut page = Self::default();
        let mut characters = 0;
        let mut last: Option<[&str; 4]> = None;
        for row in tsv.lines().filter_map(Row::parse) {
            let gap = match last {
                None => "",
                Some(line) if line == row.line => " ",
                // Same page, block and paragraph.
                Some(line) if line[..3] == row.line[..3] => "\n",
                Some(_) => "\n\n",
            };
            characters += gap.len() + row.text.chars().count();
            if characters > MAX_CHARACTERS {
                page.truncated = true;
                break;
            }
            last = Some(row.line);
            page.text += gap;
            page.text += &row.text;
            page.push(row, &upright);
        }
        page
    }

    /// Ten words, some of them doubtful.
    #[cfg(test)]
    pub(super) fn of_ten(doubtful: usize) -> Self {
        let row = |confidence| format!("5\t1\t1\t1\t1\t1\t1\t1\t1\t1\t{confidence}\tword\n");
        let rows = row(40).repeat(doubtful) + &row(95).repeat(10 - doubtful);
        Self::parse(&rows, |area| area)
    }

    fn push(&mut self, row: Row<'_>, upright: impl Fn(Area) -> Area) {
        self.tally.count(row.confidence);
        if row.confidence >= DOUBTFUL {
            self.trusted_sum += row.confidence;
        }
        let Area {
            x,
            y,
            width,
            height,
        } = upright(row.area);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and 100"
        )]
        let confidence = row.confidence.round() as u8;
        self.words.push(Word {
            text: row.text,
            confidence,
            x,
            y,
            width,
            height,
        });
    }

    /// Mean confidence of the words, 0 to 100.
    pub(super) fn confidence(&self) -> Option<f64> {
        self.tally.mean()
    }

    /// How many of the words are doubtful, 0 to 1.
    pub(super) fn doubtful_share(&self) -> f64 {
        self.tally.doubtful_share()
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// How much was read with certainty; the higher of two readings of a picture is the better one. A mean alone would
    /// prefer the reading that lost the difficult lines.
    pub(super) fn certainty(&self) -> f64 {
        self.trusted_sum
    }
}

impl<'a> Row<'a> {
    fn parse(row: &'a str) -> Option<Self> {
        let mut columns = row.splitn(12, '\t');
        if columns.next()? != WORD_LEVEL {
            return None;
        }
        let line = [
            columns.next()?,
            columns.next()?,
            columns.next()?,
            columns.next()?,
        ];
        let _word = columns.next()?;
        let mut number = || columns.next()?.parse().ok();
        let area = Area {
            x: number()?,
            y: number()?,
            width: number()?,
            height: number()?,
        };
        let confidence: f64 = columns.next()?.parse().ok()?;
        let text = cleaned(columns.next()?);
        (confidence >= 0.0 && !text.is_empty()).then(|| Self {
            line,
            area,
            confidence: confidence.min(100.0),
            text,
        })
    }
}

/// The word without what is no part of it: NUL and other control characters, white space, byte order marks, and the
/// marks of direction that Tesseract puts around right-to-left runs. Those would keep a search from finding the word,
/// and programs that show the text work out directions by themselves. Joiners stay: Hindi and Urdu are spelled with
/// them.
fn cleaned(text: &str) -> String {
    let marks = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let kept = |letter: &char| !letter.is_control() && !letter.is_whitespace() && !marks(*letter);
    text.chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TSV: &str = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext
1\t1\t0\t0\t0\t0\t0\t0\t1122\t362\t-1\t
4\t1\t1\t1\t1\t0\t45\t47\t1037\t30\t-1\t
5\t1\t1\t1\t1\t1\t45\t43\t57\t41\t91.282219\tThe
5\t1\t1\t1\t1\t2\t110\t43\t60\t41\t96.5\tend
5\t1\t1\t1\t2\t1\t45\t90\t57\t41\t30\t\u{200f}ہوا\u{200e}
5\t1\t1\t2\t1\t1\t45\t150\t57\t41\t59.9\tक्\u{200d}ष
5\t1\t2\t1\t1\t1\t45\t200\t57\t41\t100\tlast
5\t1\t2\t1\t1\t2\t0\t0\t1122\t362\t95.000000\t \n";

    fn parse(tsv: &str) -> Page {
        Page::parse(tsv, |area| area)
    }

    #[test]
    fn lines_paragraphs_and_blocks_become_text() {
        let page = parse(TSV);
        assert_eq!(page.text, "The end\nہوا\n\nक्\u{200d}ष\n\nlast");
        assert_eq!(page.words.len(), 5);
        assert!((page.confidence().unwrap() - 75.536_443_8).abs() < 1e-9);
        assert!((page.doubtful_share() - 0.4).abs() < 1e-9);
        assert!((page.certainty() - 287.782_219).abs() < 1e-9);
        assert!(!page.truncated);
    }

    #[test]
    fn words_are_stored_compactly() {
        let page = Page::parse(TSV, |area| Area {
            x: area.x / 2,
            ..area
        });
        let stored = serde_json::to_string(&page.words[0]).unwrap();
        assert_eq!(
            stored,
            r#"{"text":"The","confidence":91,"x":22,"y":43,"width":57,"height":41}"#
        );
        assert_eq!(
            serde_json::from_str::<Word>(&stored).unwrap(),
            page.words[0]
        );
    }

    #[test]
    fn an_empty_page_has_no_confidence() {
        for tsv in [
            "",
            "level\tpage_num\n",
            "1\t1\t0\t0\t0\t0\t0\t0\t9\t9\t-1\t\n",
        ] {
            let page = parse(tsv);
            assert_eq!((page.text.as_str(), page.confidence()), ("", None));
            assert!(page.doubtful_share() < f64::EPSILON);
        }
    }

    #[test]
    fn rows_that_make_no_sense_are_passed_over() {
        for row in [
            "5",
            "5\t1\t1\t1\t1\t1\t1\t1\t1\t1\t90",
            "5\t1\t1\t1\t1\t1\t-4\t1\t1\t1\t90\tword",
            "5\t1\t1\t1\t1\t1\t1\t1\t1\t1\tNaN\tword",
            "5\t1\t1\t1\t1\t1\t1\t1\t1\t1\t-1\tword",
            "5\t1\t1\t1\t1\t1\t1\t1\t1\t1\t90\t\u{200f}\u{7}\u{0}",
        ] {
            assert_eq!(parse(row), Page::default(), "{row:?}");
        }
        assert_eq!(
            parse("5\t1\t1\t1\t1\t1\t1\t1\t1\t1\tinf\ta\u{0}b\tc").words[0].text,
            "abc"
        );
    }

    #[test]
    fn a_text_without_end_is_cut_between_words() {
        let row = format!("5\t1\t1\t1\t1\t1\t1\t1\t1\t1\t90\t{}\n", "क".repeat(999));
        let page = parse(&row.repeat(1_100));
        assert!(page.truncated);
        assert_eq!(
            (page.words.len(), page.text.chars().count()),
            (1_000, 999_999)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(tsv in "(5\t(1|2|x)?\t1\t1\t1\t1\t[0-9]{0,12}\t9\t[0-9-]{0,3}\t9\t[0-9.eE-]{0,6}\t\\PC{0,9}\n|\\PC{0,40}\n|.{0,20}){0,20}") {
            let page = parse(&tsv);
            prop_assert!(page.words.iter().all(|word| word.confidence <= 100 && !word.text.is_empty()));
            prop_assert!(page.confidence().is_none_or(|mean| (0.0..=100.0).contains(&mean)));
            let words: Vec<_> = page.words.iter().map(|word| word.text.as_str()).collect();
            prop_assert_eq!(page.text.split_whitespace().collect::<Vec<_>>(), words);
        }
    }
}
