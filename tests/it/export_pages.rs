//! Exports as PDF: what poppler reads in them, and how their pages look.

use std::{path::PathBuf, process::Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use image::RgbImage;
use serde_json::{Value, json};
use tests::TestApp;
use tokio::process::Command;
use worker::engines::render::{
    RenderArgs, render,
    source::{Conversation, Entry, Folder, Head, Piece},
};

use crate::exports::make;

/// Runs one of poppler's programs on a PDF; what it prints, or writes to `page.png`.
async fn poppler(pdf: &[u8], program: &str, args: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.pdf");
    tokio::fs::write(&file, pdf).await.unwrap();
    let output = Command::new(program)
        .args(args)
        .arg(&file)
        .args(match program {
            "pdftotext" => &["-"][..],
            "pdftoppm" => &["page"][..],
            _ => &[][..],
        })
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    if program == "pdftoppm" {
        return tokio::fs::read(folder.path().join("page.png"))
            .await
            .unwrap();
    }
    output.stdout
}

/// The text of a PDF.
pub(crate) async fn text(pdf: &[u8]) -> String {
    let text = poppler(pdf, "pdftotext", &["-enc", "UTF-8"]).await;
    // Poppler marks what runs from right to left, and breaks lines where the page does.
    String::from_utf8(text)
        .unwrap()
        .replace(['\u{202a}', '\u{202b}', '\u{202c}', '\u{200b}'], "")
        .replace(" / ", "/")
}

/// Pictures that are not emoji.
pub(crate) async fn pictures(pdf: &[u8]) -> usize {
    let list = poppler(pdf, "pdfimages", &["-list"]).await;
    let list = String::from_utf8(list).unwrap();
    list.lines().filter(|line| line.contains("jpeg")).count()
}

/// A conversation with a fixed time, so that its pages always look the same.
async fn conversation(app: &TestApp, texts: &[&str]) -> (tests::Actor, String) {
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Scripts and code").await;
    for text in texts {
        ana.say(&conversation, text).await;
    }
    (ana, conversation)
}

const SCRIPTS: [&str; 4] = [
    "English with a [link](https://example.com/) and `code`, and an emoji 🎉.",
    "یہ اردو کا ایک جملہ ہے جس میں English words بھی ہیں۔",
    "क्षत्रिय, ज्ञान और श्रीमान् — हिन्दी के संयुक्ताक्षर।",
    "বাংলা ভাষায় একটি বাক্য: ক্ষ, জ্ঞ, শ্র।",
];
const CODE: [&str; 1] = [
    "## Sorting\n\n```rust\nfn main() {\n    let mut v = vec![3, 1, 2];\n    v.sort(); // in place\n}\n```\n\n\
     | name | age |\n|---|--:|\n| Ana | 31 |\n| Ben | 28 |\n\n1. one\n2. two\n   - three\n\n> quoted",
];

#[tokio::test]
async fn every_script_can_be_searched_and_copied() {
    let app = TestApp::spawn().await;
    let (ana, conversation) = conversation(&app, &SCRIPTS).await;
    let (export, pdf) = make(&app, &ana, &conversation, json!({ "format": "pdf" })).await;
    assert_eq!(export["mediaType"], "application/pdf");
    let text = text(&pdf).await;
    for part in [
        "Scripts and code",
        "2 January 2026",
        "User · 03:04:05 UTC",
        "English with a link and code, and an emoji",
        "یہ اردو کا ایک جملہ ہے جس میں",
        "क्षत्रिय, ज्ञान और श्रीमान् — हिन्दी के संयुक्ताक्षर।",
        "বাংলা ভাষায় একটি বাক্য: ক্ষ, জ্ঞ, শ্র।",
        "1/1",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let info = poppler(&pdf, "pdfinfo", &["-meta"]).await;
    let info = String::from_utf8(info).unwrap();
    assert!(info.contains("<pdfaid:part>2</pdfaid:part>"), "{info}");
    assert!(
        info.contains("<pdfaid:conformance>B</pdfaid:conformance>"),
        "{info}"
    );
    let links = poppler(&pdf, "pdfinfo", &["-url"]).await;
    assert!(
        String::from_utf8(links)
            .unwrap()
            .contains("https://example.com/")
    );
    let structure = lopdf::Document::load_mem(&pdf).unwrap();
    assert_eq!(outline(&structure), json!([["2 January 2026", 4]]));
    let job = format!("/api/v1/jobs/{}", export["jobId"].as_str().unwrap());
    let job = ana.get(&job).await.expect(200);
    assert_eq!(
        (&job["result"]["pages"], &job["result"]["archival"]),
        (&json!(1), &json!(true))
    );
    app.finish().await;
}

/// The days of an outline, with the number of messages of each; every one of them must lead to a page.
fn outline(pdf: &lopdf::Document) -> Value {
    let pages: Vec<lopdf::ObjectId> = pdf.get_pages().into_values().collect();
    let children = |node: lopdf::ObjectId| {
        let mut items = Vec::new();
        let mut next = pdf
            .get_dictionary(node)
            .unwrap()
            .get(b"First")
            .and_then(lopdf::Object::as_reference);
        while let Ok(item) = next {
            let of = pdf.get_dictionary(item).unwrap();
            let (_, target) = pdf.dereference(of.get(b"Dest").unwrap()).unwrap();
            let target = target.as_array().unwrap()[0].as_reference().unwrap();
            assert!(pages.contains(&target), "an item leads nowhere");
            assert_eq!(of.get(b"Parent").unwrap().as_reference().unwrap(), node);
            items.push(item);
            next = of.get(b"Next").and_then(lopdf::Object::as_reference);
        }
        items
    };
    let root = pdf
        .catalog()
        .unwrap()
        .get(b"Outlines")
        .unwrap()
        .as_reference()
        .unwrap();
    let days = children(root).into_iter().map(|day| {
        let title = pdf.get_dictionary(day).unwrap().get(b"Title").unwrap();
        json!([
            lopdf::decode_text_string(title).unwrap(),
            children(day).len()
        ])
    });
    days.collect()
}

/// A conversation that is ready to be rendered, with a message every eight hours.
fn prepared(messages: i32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let begun: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    let head = Head {
        exported_at: begun,
        conversation: Conversation {
            id: "c".to_owned(),
            title: Some("Scripts and code".to_owned()),
            system_prompt: None,
            model: None,
            language: None,
            tags: Vec::new(),
            created_at: begun,
        },
        from: None,
        to: None,
        branch: None,
        include_attachments: false,
    };
    let mut lines = Folder::new(folder.path()).begin(&head).unwrap();
    for message in 0..messages {
        let text = format!("message {message}");
        let entry = Entry {
            id: message.to_string(),
            parent_id: None,
            role: "user".to_owned(),
            created_at: begun + TimeDelta::hours(8 * i64::from(message)),
            token_count: 5,
            content: vec![Piece::Text { text }],
        };
        lines.push(&entry).unwrap();
    }
    lines.finish().unwrap();
    folder
}

#[tokio::test]
async fn a_long_conversation_is_one_document_of_parts() {
    let folder = prepared(9);
    let args = RenderArgs {
        folder: folder.path().to_owned(),
        format: "pdf".to_owned(),
        fonts: "/usr/share/fonts".into(),
        // Each day but the first and the last one goes on in another part.
        part_messages: 4,
    };
    let made = tokio::task::spawn_blocking(move || render(&args));
    let made = made.await.unwrap().unwrap();
    assert_eq!(
        (made.messages, made.pages, made.archival),
        (9, Some(3), Some(true))
    );
    let source = Folder::new(folder.path());
    assert_eq!(source.progress(), Some(9));
    let pdf = std::fs::read(source.result()).unwrap();
    let structure = lopdf::Document::load_mem(&pdf).unwrap();
    let days = json!([
        ["1 January 2026", 3],
        ["2 January 2026", 3],
        ["3 January 2026", 3]
    ]);
    assert_eq!(outline(&structure), days);
    let text = text(&pdf).await;
    for message in 0..9 {
        assert_eq!(
            text.matches(&format!("message {message}\n")).count(),
            1,
            "{text}"
        );
    }
    for page in ["1/3", "2/3", "3/3"] {
        assert!(text.contains(&format!("\n{page}\n")), "no {page} in {text}");
    }
    let info = String::from_utf8(poppler(&pdf, "pdfinfo", &["-meta"]).await).unwrap();
    assert!(info.contains("<pdfaid:part>2</pdfaid:part>"), "{info}");
    assert!(info.contains("<xmpTPg:NPages>3</xmpTPg:NPages>"), "{info}");
    let catalogue = structure.catalog().unwrap();
    assert!(catalogue.get(b"OutputIntents").is_ok(), "PDF/A needs one");
    assert!(structure.trailer.get(b"ID").is_ok(), "PDF/A needs one");
}

#[tokio::test]
async fn a_character_without_a_font_costs_the_claim_of_an_archive_but_no_text() {
    let app = TestApp::spawn().await;
    let (ana, conversation) =
        conversation(&app, &["before \u{10ffff}\u{13000}\u{1d000} after"]).await;
    let (export, pdf) = make(&app, &ana, &conversation, json!({ "format": "pdf" })).await;
    let job = format!("/api/v1/jobs/{}", export["jobId"].as_str().unwrap());
    assert_eq!(ana.get(&job).await.expect(200)["result"]["archival"], false);
    let text = text(&pdf).await;
    assert!(text.contains("before") && text.contains("after"), "{text}");
    let info = poppler(&pdf, "pdfinfo", &["-meta"]).await;
    assert!(!String::from_utf8(info).unwrap().contains("pdfaid"));
    app.finish().await;
}

#[tokio::test]
async fn pages_look_like_the_reviewed_ones() {
    let app = TestApp::spawn().await;
    let mut new = Vec::new();
    for (name, texts) in [
        ("export-scripts.png", &SCRIPTS[..]),
        ("export-code.png", &CODE[..]),
    ] {
        let user = app.user(&name[7..10]).await;
        let conversation = user.conversation("Scripts and code").await;
        for text in texts {
            user.say(&conversation, text).await;
        }
        let (_, pdf) = make(&app, &user, &conversation, json!({ "format": "pdf" })).await;
        let args = ["-png", "-singlefile", "-r", "60", "-H", "420"];
        let page = poppler(&pdf, "pdftoppm", &args).await;
        let reference = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        if !reference.exists() {
            std::fs::write(&reference, &page).unwrap();
            new.push(name);
        }
        let (page, reference) = (decode(&page), decode(&std::fs::read(reference).unwrap()));
        let differing = difference(&page, &reference);
        assert!(
            differing < 0.01,
            "{name}: {:.2} % of it look different",
            differing * 100.0
        );
    }
    assert!(new.is_empty(), "look at these, which are new: {new:?}");
    app.finish().await;
}

fn decode(png: &[u8]) -> RgbImage {
    image::load_from_memory(png).unwrap().into_rgb8()
}

/// The share of pixels that have no like one nearby: fonts and rasterizers of another version move edges by a pixel.
fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let (width, height) = one.dimensions();
    let is_like = |x: u32, y: u32| {
        let pixel = one.get_pixel(x, y).0;
        let near = |around: u32, end: u32| around.saturating_sub(1)..(around + 2).min(end);
        near(x, width).any(|x| {
            near(y, height).any(|y| {
                let other = other.get_pixel(x, y).0;
                (0..3).all(|channel| pixel[channel].abs_diff(other[channel]) < 64)
            })
        })
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let differing = pixels.filter(|&(x, y)| !is_like(x, y)).count();
    let all = f64::from(width) * f64::from(height);
    f64::from(u32::try_from(differing).unwrap()) / all
}
