//! Counts beside those of `tiktoken-rs`, and texts that are made to take long.

use std::{sync::mpsc, thread};

use futures::{FutureExt as _, future::BoxFuture};
use tiktoken_rs::{
    CoreBPE, cl100k_base_singleton, o200k_base_singleton,
    tokenizer::{Tokenizer, get_tokenizer},
};

use super::{
    Encoding, Measures,
    encoding::{FAMILIES, NAMES},
};

/// How many texts are compared.
const TEXTS: u64 = 60_000;
/// The longest text that is stored.
const LONGEST: usize = 5 << 20;

const ENGLISH: &[&str] = &[
    "the ",
    "Don't ",
    "we'll",
    " HTMLParser",
    "it'S",
    " naïve",
    "Straße",
    " O'Reilly",
    ", ",
    ". ",
    "e.g.",
    " 1,234.50",
    "I",
    "'",
    "ſ",
    "'ſ",
    "’s ",
    "YOU'RE ",
    " camelCaseWords",
    "\u{301}",
];
const HINDI: &[&str] = &[
    "नमस्ते ",
    "दुनिया",
    " क्षत्रिय",
    "ज्ञान",
    "हिन्दी ",
    "।",
    "श्री",
    "क",
    "ि",
    "्",
    "१२३४",
    " में ",
    "है",
    "\u{200d}",
    "\u{200c}",
    "ॐ",
];
const URDU: &[&str] = &[
    "سلام ",
    "دنیا",
    " کیا",
    "آپ ",
    "۔",
    "؟",
    "ہیں",
    "لاہور ",
    "ں",
    "\u{640}",
    "۱۲۳",
    " اُردُو",
    "\u{650}",
    "،",
    "پاکستان ",
];
const CODE: &[&str] = &[
    "fn ",
    "main() {\n",
    "    ",
    "\t",
    "let x = 10;",
    "// ",
    "/",
    "///\n",
    "}\n\n",
    "->",
    "==",
    "a_b",
    "0x1F",
    "\"text\"",
    "://",
    "\r\n",
    "#[derive(",
    "*/\n/",
    "$",
    "`",
];
const SPACE: &[&str] = &[
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{85}",
    "\u{2028}",
    "\n \n",
    "a",
    "1",
    "!",
    "क",
    "            ",
    "\n\n\n\n",
    "\u{1c}",
    "\u{b}",
];
const SIGNS: &[&str] = &[
    "😀",
    "👩‍👩‍👧",
    "🇮🇳",
    "👍🏽",
    "—",
    "…",
    "«",
    "₹",
    "ǅ",
    "ʰ",
    "Ⅷ",
    "½",
    "ⓐ",
    "中文",
    "한국어",
    "ไทย",
    "\u{e000}",
    "\u{10ffff}",
    "\u{fe0f}",
    "é",
    "A",
    "aB",
    "\u{903}",
];

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn character(&mut self) -> char {
        loop {
            let code = u32::try_from(self.throw(0x11_0000)).unwrap();
            if let Some(character) = char::from_u32(code) {
                return character;
            }
        }
    }

    fn text(&mut self) -> String {
        let kinds = [ENGLISH, HINDI, URDU, CODE, SPACE, SIGNS];
        let (kind, length) = (self.throw(kinds.len() + 2), self.throw(12));
        let mut text = String::new();
        for _ in 0..length {
            match kinds.get(kind) {
                Some(parts) => text.push_str(parts[self.throw(parts.len())]),
                // All of them together.
                None if kind == kinds.len() => {
                    let parts = kinds[self.throw(kinds.len())];
                    text.push_str(parts[self.throw(parts.len())]);
                }
                None => text.push(self.character()),
            }
        }
        text
    }
}

fn compare(encoding: Encoding, other: &CoreBPE) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..TEXTS {
        let text = dice.text();
        let expected = other.encode_ordinary(&text).len();
        assert_eq!(encoding.count(&text), expected, "{encoding:?} {text:?}");
    }
}

#[test]
fn sixty_thousand_texts_are_counted_alike_in_o200k_base() {
    compare(Encoding::O200k, o200k_base_singleton());
}

#[test]
fn sixty_thousand_texts_are_counted_alike_in_cl100k_base() {
    compare(Encoding::Cl100k, cl100k_base_singleton());
}

#[test]
fn long_texts_are_counted_alike() {
    let mut dice = Dice(7);
    for _ in 0..8 {
        let mut text = String::new();
        while text.len() < 40_000 {
            text.push_str(&dice.text());
        }
        for (encoding, other) in [
            (Encoding::O200k, o200k_base_singleton()),
            (Encoding::Cl100k, cl100k_base_singleton()),
        ] {
            let expected = other.encode_ordinary(&text).len();
            assert_eq!(encoding.count(&text), expected, "{encoding:?}");
        }
    }
}

#[test]
fn models_have_the_encodings_that_tiktoken_says() {
    let expected = |name: &str| match get_tokenizer(name)? {
        Tokenizer::O200kBase | Tokenizer::O200kHarmony => Some(Encoding::O200k),
        Tokenizer::Cl100kBase => Some(Encoding::Cl100k),
        _ => None,
    };
    let known = NAMES.iter().chain(FAMILIES).map(|(name, _)| *name);
    let others = [
        "gpt-4o-mini",
        "gpt-4.1-nano",
        "gpt-5.4-pro",
        "gpt-oss-120b",
        "chatgpt-4o-latest",
        "o1-mini",
        "o3-pro",
        "gpt-4-32k",
        "gpt-4.5-preview",
        "gpt2",
        "text-davinci-003",
        "davinci",
        "llama-3.3-70b-versatile",
        "gemini-2.5-pro",
        "deepseek-flash",
        "claude",
        "",
        "gpt",
        "gpt-6",
        "o",
        "o2",
    ];
    for name in known.chain(others) {
        for name in [
            name.to_owned(),
            format!("{name}-x"),
            format!("ft:{name}:acme::1"),
        ] {
            assert_eq!(Encoding::of_model(&name), expected(&name), "{name}");
        }
        let at_openrouter = format!("openai/{name}");
        assert_eq!(Encoding::of_model(&at_openrouter), expected(name), "{name}");
    }
    assert_eq!(
        Encoding::of_model("openai/gpt-oss-20b:free"),
        Some(Encoding::O200k)
    );
    assert_eq!(Encoding::of_model("somebody/gpt-4o"), None);
}

/// What is made to take long: runs that expressions or merges might go through again and again.
const HOSTILE: &[&str] = &[
    " ",
    "\n",
    " \n",
    "\r\n",
    "\t ",
    "\u{3000}",
    "a",
    "A",
    "aA",
    "Aa",
    "कA",
    "क",
    "कि",
    "\u{301}",
    "a\u{301}",
    "9",
    "!",
    "/",
    "\n/",
    "'s",
    "'",
    "_",
    "=",
    "😀",
    "\u{200d}",
    "\u{10ffff}",
    "ab ",
    "zq",
];

/// Eight times the text has eight times the tokens, about; the longest is counted in the time that a test has.
fn count_hostile(encoding: Encoding) {
    for unit in HOSTILE {
        let times = LONGEST / unit.len() / 8;
        let part = encoding.count(&unit.repeat(times));
        let whole = encoding.count(&unit.repeat(8 * times));
        assert!(
            whole.abs_diff(8 * part) <= 64,
            "{unit:?}: {part} and {whole}"
        );
    }
}

#[test]
fn five_megabytes_of_the_same_do_no_harm_in_o200k_base() {
    count_hostile(Encoding::O200k);
}

#[test]
fn five_megabytes_of_the_same_do_no_harm_in_cl100k_base() {
    count_hostile(Encoding::Cl100k);
}

#[test]
fn five_megabytes_of_capitals_that_end_nowhere_do_no_harm() {
    // Each letter that is neither small nor capital may begin a word that has to end with such a letter.
    let capitals = "A".repeat(1_000);
    let text = format!("क{capitals} \u{301}{capitals}").repeat(LONGEST / 2_010);
    let tokens = Encoding::O200k.count(&text);
    assert!((1_000..text.len()).contains(&tokens), "{tokens}");
}

#[tokio::test]
async fn a_message_costs_its_role_its_text_and_four() {
    assert_eq!(Encoding::O200k.count("hello world"), 2);
    assert_eq!(
        Encoding::O200k
            .count_message("user", "hello world".to_owned())
            .await
            .tokens,
        7
    );
    assert_eq!(
        Encoding::O200k
            .count_message("user", String::new())
            .await
            .tokens,
        5
    );
}

#[test]
fn hindi_takes_more_than_twice_as_much_in_cl100k_base() {
    let text = "नमस्ते दुनिया, यह हिन्दी का एक वाक्य है। ".repeat(100);
    assert!(Encoding::Cl100k.count(&text) > 2 * Encoding::O200k.count(&text));
}

#[test]
fn a_text_is_cut_between_characters() {
    let text = "नमस्ते दुनिया hello ".repeat(500);
    for most in [0, 1, 7, 100] {
        let cut = Encoding::O200k.cut(&text, most);
        assert!(
            text.starts_with(cut) && Encoding::O200k.count(cut) <= most,
            "{most}"
        );
    }
    assert!(Encoding::O200k.count(Encoding::O200k.cut(&text, 100)) > 80);
    assert_eq!(Encoding::O200k.cut("short", 100), "short");
}

#[test]
fn a_text_is_cut_near_its_limit_whatever_it_says() {
    let dense = "qzj".repeat(3_000) + &" ".repeat(128 * 3_000);
    let spaces = " ".repeat(50_000) + "words " + &" ".repeat(50_000);
    let letters = "अ".repeat(40_000);
    let emoji = "🇮🇳👨‍👩‍👧‍👦".repeat(2_000);
    for text in [dense, spaces, letters, emoji] {
        for encoding in [Encoding::O200k, Encoding::Cl100k] {
            let whole = encoding.count(&text);
            for most in [1, 10, whole / 3, whole - 1, whole] {
                let tokens = encoding.count(encoding.cut(&text, most));
                // The last token may be of several that make a character, or of white space that has become another.
                assert!(
                    tokens <= most && tokens + 16 >= most,
                    "{encoding:?} {tokens} of {most}, {:?}",
                    &text[..12]
                );
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_counted_is_estimated_by_its_bytes() {
    for bytes in [400, 1 << 20] {
        let counted = Encoding::O200k
            .aside(bytes, || "no number".parse::<u64>().unwrap())
            .await;
        assert_eq!(
            (counted.tokens, counted.is_estimated),
            (super::estimate(bytes), true)
        );
    }
}

#[tokio::test]
async fn a_large_text_is_counted_too() {
    let text = "नमस्ते दुनिया ".repeat(4_000);
    let alone = Encoding::O200k.count(&text);
    let counted = Encoding::O200k.count_message("user", text).await;
    assert_eq!(
        (counted.tokens as usize, counted.is_estimated),
        (alone + 5, false)
    );
}

#[tokio::test]
async fn much_is_counted_on_another_thread() {
    // Its tables are there.
    Encoding::O200k.count("hello");
    let here = thread::current().id();
    for (bytes, is_here) in [
        (0, true),
        (32 * 1024 - 1, true),
        (32 * 1024, false),
        (LONGEST, false),
    ] {
        let (tell, told) = mpsc::channel();
        let count = move || {
            tell.send(thread::current().id()).unwrap();
            7
        };
        let counted = Encoding::O200k.aside(bytes, count).await;
        assert_eq!((counted.tokens, counted.is_estimated), (7, false));
        assert_eq!(told.recv().unwrap() == here, is_here, "{bytes}");
    }
}

#[test]
fn a_large_text_holds_up_nobody_whoever_asks_for_its_count() {
    let encoding = Encoding::O200k;
    let text = "word ".repeat(8_000);
    let tokens = u32::try_from(encoding.count(&text)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        // The only thread besides this one has something else to do.
        let (release, held) = mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || held.recv());
        let measures = Measures::new(encoding);
        let measure = measures.plain();
        let text = || text.clone();
        let mut counts: Vec<(BoxFuture<'_, u32>, u32)> = vec![
            (
                encoding.count_text(text()).map(|it| it.tokens).boxed(),
                tokens,
            ),
            (
                encoding
                    .count_message("user", text())
                    .map(|it| it.tokens)
                    .boxed(),
                tokens + 5,
            ),
            (measures.count_text(text()).boxed(), tokens),
            (measures.count_message("user", text()).boxed(), tokens + 5),
            (
                measure.count_aside(text()).map(|it| it.tokens).boxed(),
                tokens,
            ),
            (
                measure
                    .count_messages(vec![("user", text())])
                    .map(|it| it.tokens)
                    .boxed(),
                tokens + 5,
            ),
        ];
        for (count, _) in &mut counts {
            assert!(futures::poll!(count).is_pending(), "counted here");
        }
        let few = encoding.count_text("hello".to_owned()).now_or_never();
        assert_eq!(few.map(|it| it.tokens), Some(1));
        drop(release);
        for (count, expected) in counts {
            assert_eq!(count.await, expected);
        }
        assert!(busy.await.unwrap().is_err());
    });
}
