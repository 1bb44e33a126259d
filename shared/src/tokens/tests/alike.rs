//! Counts beside those of `tiktoken-rs`.

use tiktoken_rs::{
    CoreBPE, cl100k_base_singleton, o200k_base_singleton,
    tokenizer::{Tokenizer, get_tokenizer},
};

use crate::tokens::{
    Encoding,
    encoding::{FAMILIES, NAMES},
};

/// How many texts are compared.
const TEXTS: u64 = 60_000;

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
