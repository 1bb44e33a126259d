//! Texts to be counted: English and code of this repository; Urdu and Hindi of their own words, as frequent as words are; and
//! white space.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How long each is, in bytes: the longest message.
const LENGTH: usize = 5 << 20;

const URDU: &str = "\
اور کے میں کی ہے کا سے کو یہ پر نے وہ ہیں ایک کہ اس بھی نہیں تھا کیا جو تو ہو گیا ان کر اپنے لیے تک ساتھ پاکستان ہندوستان \
لاہور کراچی دہلی لوگ زندگی وقت بات کام گھر دل آنکھ ہاتھ پانی زمین آسمان کتاب علم زبان شہر ملک حکومت سوال جواب خبر دوست محبت \
بچہ عورت مرد رات دن صبح شام سال مہینہ راستہ دروازہ کمرہ بازار قیمت روپیہ طالب استاد مدرسہ جامعہ تعلیم صحت ہسپتال ڈاکٹر دوا \
کھانا روٹی چاول پھل موسم بارش ہوا سورج چاند ستارہ دریا پہاڑ جنگل درخت پھول پرندہ گاڑی سفر ریل جہاز کمپیوٹر فون پیغام تصویر آواز \
موسیقی شاعر غزل افسانہ تاریخ قوم عدالت قانون حق آزادی مساوات انصاف امن جنگ فوج سپاہی بادشاہ ملکہ کہانی خواب امید خوشی غم یاد \
انتظار ملاقات خط جلد صفحہ حرف لفظ جملہ معنی ترجمہ";
const URDU_ENDINGS: &[&str] = &["", "", "وں", "یں", "ے", "ی", "ات", "انہ", "دار", "گی", "یت"];

const HINDI: &str = "\
और के में की है का से को यह पर ने वह हैं एक कि इस भी नहीं था क्या जो तो हो गया उन कर अपने लिए तक साथ भारत दिल्ली मुंबई लोग जीवन समय \
बात काम घर दिल आँख हाथ पानी धरती आकाश किताब ज्ञान भाषा शहर देश सरकार प्रश्न उत्तर समाचार मित्र प्रेम बच्चा स्त्री पुरुष रात दिन सुबह शाम वर्ष \
महीना रास्ता दरवाज़ा कमरा बाज़ार मूल्य रुपया विद्यार्थी शिक्षक विद्यालय विश्वविद्यालय शिक्षा स्वास्थ्य अस्पताल चिकित्सक दवा भोजन रोटी चावल फल मौसम \
वर्षा हवा सूर्य चंद्रमा तारा नदी पर्वत जंगल वृक्ष फूल पक्षी गाड़ी यात्रा रेल विमान कंप्यूटर फ़ोन संदेश चित्र ध्वनि संगीत कवि ग़ज़ल कहानी इतिहास राष्ट्र \
न्यायालय क़ानून अधिकार स्वतंत्रता समानता न्याय शांति युद्ध सेना सैनिक राजा रानी स्वप्न आशा सुख दुख स्मृति प्रतीक्षा मुलाक़ात पत्र खंड पृष्ठ अक्षर \
शब्द वाक्य अर्थ अनुवाद";
const HINDI_ENDINGS: &[&str] = &["", "", "ों", "ें", "े", "ी", "वाला", "ता", "पन", "कार"];

/// All texts, with their names. The folder of the repository is the one where this runs.
pub(crate) fn all() -> anyhow::Result<[(&'static str, String); 5]> {
    let mut sources = Vec::new();
    for folder in ["api", "migration", "shared", "tests", "worker"] {
        find_sources(Path::new(folder), &mut sources)?;
    }
    sources.sort();
    anyhow::ensure!(!sources.is_empty(), "this is not run where the sources are");
    let mut code = String::new();
    for file in sources {
        code.push_str(&fs::read_to_string(file)?);
    }
    let mut english = String::new();
    for file in ["README.md", "ARCHITECTURE.md", "FEATURES.md"] {
        english.push_str(&fs::read_to_string(file)?);
    }
    for line in code.lines().map(str::trim_start) {
        let comment = line.strip_prefix("///").or(line.strip_prefix("//!"));
        if let Some(comment) = comment {
            english.push_str(comment.trim_start());
            english.push('\n');
        }
    }
    Ok([
        ("code", filled(&code)),
        ("english", filled(&english)),
        ("hindi", words(HINDI, HINDI_ENDINGS, "।")),
        ("urdu", words(URDU, URDU_ENDINGS, "۔")),
        ("whitespace", space()),
    ])
}

fn find_sources(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// As much of a text as is wanted, from its beginning on again where there is less.
fn filled(text: &str) -> String {
    let mut filled = text.repeat(LENGTH / text.len() + 1);
    filled.truncate(filled.floor_char_boundary(LENGTH));
    filled
}

/// Sentences of words: the n-th about 1/n as often as the first, and one of thirty of two others.
fn words(words: &str, endings: &[&str], stop: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut text = String::new();
    while text.len() < LENGTH {
        for _ in 0..6 + dice.throw(12) {
            let rank = dice.rank(words.len() * endings.len());
            text.push_str(words[rank % words.len()]);
            text.push_str(endings[rank / words.len()]);
            if dice.throw(30) == 0 {
                text.push_str(words[dice.throw(words.len())]);
            }
            text.push(' ');
        }
        text.pop();
        text.push_str(stop);
        text.push_str(if dice.throw(5) == 0 { "\n\n" } else { " " });
    }
    text.truncate(text.floor_char_boundary(LENGTH));
    text
}

/// Runs of up to 200 of the same, as indentation and empty lines are.
fn space() -> String {
    let mut dice = Dice(7);
    let mut text = String::new();
    while text.len() < LENGTH {
        let what = [" ", "\n", "\t", " \n", "\r\n"][dice.throw(5)];
        text.push_str(&what.repeat(1 + dice.throw(200)));
    }
    text.truncate(LENGTH);
    text
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides
    }

    /// One of so many ranks, the n-th about 1/n as often as the first.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and some thousands"
    )]
    fn rank(&mut self, ranks: usize) -> usize {
        let share = self.throw(1 << 20) as f64 / f64::from(1 << 20);
        ((ranks as f64).powf(share) as usize - 1).min(ranks - 1)
    }
}
