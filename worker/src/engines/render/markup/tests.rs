//! What is read in messages.

use super::{
    Align, Block, Inline, MAX_DEPTH, MAX_URL_BYTES,
    build::{is_rtl_block, paragraph, parse, text_of},
    is_rtl, plain, safe_url,
};

fn text(s: &str) -> Vec<Inline> {
    vec![Inline::Text { s: s.to_owned() }]
}

fn depth(blocks: &[Block]) -> usize {
    let of = |block: &Block| match block {
        Block::Quote { b } => 1 + depth(b),
        Block::List { items, .. } => 2 + items.iter().map(|item| depth(item)).max().unwrap_or(0),
        _ => 1,
    };
    blocks.iter().map(of).max().unwrap_or(0)
}

fn nested_list(levels: usize) -> String {
    let line = |level: usize| format!("{}- item {level}\n", "  ".repeat(level));
    (0..levels).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn what_chat_apps_show_is_understood() {
    let blocks = parse(
        "# Title\n\na **b** *c* ~~d~~ `e` [f](https://g)\n\n1. one\n2. two\n   - [x] deep\n\n> quote\n\n\
         | h | i |\n|:-:|--:|\n| j | k |\n\n```rust\nfn main() {}\n```\n\n---\n",
    );
    assert_eq!(
        blocks[0],
        Block::Heading {
            level: 1,
            rtl: false,
            c: text("Title")
        }
    );
    let Block::Par { c, .. } = &blocks[1] else {
        panic!("{blocks:?}")
    };
    assert_eq!(plain(c), "a b c d e f");
    assert!(matches!(&c[1], Inline::Strong { .. }));
    let Block::List {
        start: Some(1),
        items,
        ..
    } = &blocks[2]
    else {
        panic!("{blocks:?}")
    };
    assert_eq!(items.len(), 2);
    let Block::List {
        start: None, items, ..
    } = &items[1][1]
    else {
        panic!("{items:?}")
    };
    assert_eq!(items[0], [paragraph(text("☑ deep"))]);
    assert_eq!(
        blocks[3],
        Block::Quote {
            b: vec![paragraph(text("quote"))]
        }
    );
    let Block::Table { align, rows, .. } = &blocks[4] else {
        panic!("{blocks:?}")
    };
    assert_eq!(*align, [Align::Center, Align::Right]);
    assert_eq!(*rows, [[text("h"), text("i")], [text("j"), text("k")]]);
    let code = Block::Code {
        lang: Some("rust".to_owned()),
        s: "fn main() {}\n".to_owned(),
    };
    assert_eq!(blocks[5..], [code, Block::Rule]);
}

#[test]
fn nothing_is_fetched_run_or_hidden() {
    let blocks = parse("![cat](https://a/cat.png) [x](javascript:alert(1)) <b>bold</b>\u{0}\u{1b}");
    let Block::Par { c, .. } = &blocks[0] else {
        panic!("{blocks:?}")
    };
    assert_eq!(plain(c), "cat x <b>bold</b>");
    assert!(matches!(&c[0], Inline::Link { url, .. } if url == "https://a/cat.png"));
    assert!(
        c[1..]
            .iter()
            .all(|inline| matches!(inline, Inline::Text { .. }))
    );
    let html = parse("<script>\nalert(1)\n</script>");
    let shown = Block::Code {
        lang: None,
        s: "<script>\nalert(1)\n</script>".to_owned(),
    };
    assert_eq!(html, [shown]);
}

#[test]
fn deep_nesting_is_laid_flat_and_loses_nothing() {
    for deep in [
        format!("{} end", ">".repeat(10_000)),
        nested_list(200),
        format!("{}end{}", "*a **b ".repeat(5_000), "** c*".repeat(5_000)),
        format!("{}end", "[".repeat(10_000)),
    ] {
        let blocks = parse(&deep);
        assert!(depth(&blocks) <= MAX_DEPTH, "{}", depth(&blocks));
        let all: String = blocks.iter().map(text_of).collect();
        assert!(all.contains("end") || all.contains("item 199"));
        let json = serde_json::to_string(&blocks).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value.is_array());
    }
}

#[test]
fn directions_are_those_of_the_texts() {
    let blocks = parse("اردو text\n\nहिन्दी\n\n- سلام\n- hello\n\n| نام | b |\n|---|---|\n");
    let rtl: Vec<bool> = blocks.iter().map(is_rtl_block).collect();
    assert_eq!(rtl, [true, false, true, true]);
}

#[test]
fn links_lead_somewhere_and_do_nothing() {
    for good in ["https://a.example/?q=%20", "HTTP://a", "mailto:a@b.example"] {
        assert_eq!(safe_url(good), Some(good));
    }
    let long = format!("https://a/{}", "b".repeat(MAX_URL_BYTES));
    for bad in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " https://a",
        "java\nscript:a",
        "data:text/html,x",
        "file:///etc/passwd",
        "//a.example",
        "/a",
        "#a",
        "",
        long.as_str(),
    ] {
        assert_eq!(safe_url(bad), None, "{bad}");
    }
}

#[test]
fn the_first_letter_says_where_a_text_runs() {
    for text in ["اردو", "1. اردو text", "**שלום**", "😀 سلام"] {
        assert!(is_rtl(text), "{text}");
    }
    for text in ["", "123", "text اردو", "हिन्दी", "বাংলা", "😀"] {
        assert!(!is_rtl(text), "{text}");
    }
}
