//! Texts that are long, or made to take long: how they are counted and cut, and whom they hold up.

use std::{sync::mpsc, thread};

use futures::{FutureExt as _, future::BoxFuture};

use crate::tokens::{Encoding, Measures, estimate};

/// The longest text that is stored.
const LONGEST: usize = 5 << 20;

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
            (estimate(bytes), true)
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
