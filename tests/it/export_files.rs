//! What is in exports: every format, branch, time and hostile text.

use std::{io::Read as _, time::Duration};

use serde_json::{Value, json};
use tests::{Actor, TestApp, fixture, sound::say};

use crate::exports::make;

const FORMATS: [&str; 6] = ["pdf", "docx", "html", "markdown", "json", "csv"];

async fn text(app: &TestApp, user: &Actor, conversation: &str, body: Value) -> String {
    let (_, content) = make(app, user, conversation, body).await;
    String::from_utf8(content).unwrap()
}

async fn document(app: &TestApp, user: &Actor, conversation: &str, body: Value) -> Value {
    serde_json::from_str(&text(app, user, conversation, body).await).unwrap()
}

/// What was said, in the order of the export.
fn said(document: &Value) -> Vec<&str> {
    let messages = document["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["content"][0]["text"].as_str().unwrap())
        .collect()
}

/// A file of a DOCX.
fn part(docx: &[u8], name: &str) -> String {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(docx)).unwrap();
    let mut text = String::new();
    zip.by_name(name)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[tokio::test]
async fn an_empty_conversation_can_be_exported_in_every_format() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let made = ana
        .post_json("/api/v1/conversations", json!({}))
        .await
        .expect(201);
    let conversation = made["id"].as_str().unwrap();
    for format in FORMATS {
        let (export, content) = make(&app, &ana, conversation, json!({ "format": format })).await;
        assert_eq!(export["messageCount"], 0, "{format}");
        assert_eq!(export["branch"], Value::Null);
        let name = export["fileName"].as_str().unwrap();
        assert!(name.starts_with("conversation 2026-01-02."), "{name}");
        assert!(!content.is_empty());
    }
    app.finish().await;
}

#[tokio::test]
async fn branches_and_times_are_chosen() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let mut messages = Vec::new();
    for text in ["one", "two", "three"] {
        messages.push(ana.say(&conversation, text).await);
        app.advance(Duration::from_secs(10)).await;
    }
    let edit = format!(
        "/api/v1/messages/{}/edit",
        messages[1]["id"].as_str().unwrap()
    );
    let edited = ana
        .post_json(&edit, json!({ "content": "two again" }))
        .await
        .expect(201);
    let deleted = ana.say(&conversation, "deleted").await;
    let deleted = format!("/api/v1/messages/{}", deleted["id"].as_str().unwrap());
    assert_eq!(ana.delete(&deleted).await.status, 204);

    let at = |message: &Value| message["createdAt"].clone();
    for (options, expected) in [
        (json!({}), vec!["one", "two again"]),
        (json!({ "branch": "current" }), vec!["one", "two again"]),
        (
            json!({ "branch": "all" }),
            vec!["one", "two", "three", "two again"],
        ),
        (
            json!({ "branch": messages[2]["id"] }),
            vec!["one", "two", "three"],
        ),
        (json!({ "branch": messages[0]["id"] }), vec!["one"]),
        (
            json!({ "branch": "all", "from": at(&messages[1]) }),
            vec!["two", "three", "two again"],
        ),
        (
            json!({ "branch": "all", "to": at(&messages[2]) }),
            vec!["one", "two"],
        ),
        (
            json!({ "from": at(&messages[1]), "to": at(&edited) }),
            vec![],
        ),
    ] {
        let mut body = json!({ "format": "json" });
        body.as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        let document = document(&app, &ana, &conversation, body).await;
        assert_eq!(said(&document), expected, "{options}");
    }
    let whole = document(
        &app,
        &ana,
        &conversation,
        json!({ "format": "json", "branch": "all" }),
    )
    .await;
    assert_eq!(whole["format"], "baatcheet.conversation");
    assert_eq!(whole["conversation"]["title"], "Plans");
    assert_eq!(whole["branch"], "all");
    let one = &whole["messages"][0];
    assert_eq!(
        (&one["parentId"], &one["role"]),
        (&Value::Null, &json!("user"))
    );
    assert_eq!(one["createdAt"], messages[0]["createdAt"]);
    assert_eq!(whole["messages"][3]["parentId"], one["id"]);
    app.finish().await;
}

#[tokio::test]
async fn attachments_are_listed_and_their_text_and_picture_added_if_asked_for() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Scans").await;
    let created = ana
        .upload("two <b>.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let id = created["attachment"]["id"].clone();
    let path = format!("/api/v1/conversations/{conversation}/messages");
    let content = json!([{ "type": "text", "text": "look" }, { "type": "attachment", "attachmentId": id },
            { "type": "attachment", "attachmentId": id }]);
    ana.post_json(&path, json!({ "content": content }))
        .await
        .expect(201);
    let attachment = format!("/api/v1/attachments/{}", id.as_str().unwrap());
    let read = ana.get(&attachment).await.expect(200)["extractedText"]
        .as_str()
        .unwrap()
        .to_owned();
    let line = read.lines().next().unwrap().to_owned();

    for format in FORMATS {
        for with in [false, true] {
            let body = json!({ "format": format, "includeAttachments": with });
            let (_, content) = make(&app, &ana, &conversation, body).await;
            match format {
                "json" => {
                    let document: Value = serde_json::from_slice(&content).unwrap();
                    let shown = &document["messages"][0]["content"][1];
                    assert_eq!(shown["fileName"], "two <b>.jpg");
                    assert_eq!(shown["extractedText"].is_string(), with);
                    assert!(shown.get("picture").is_none());
                    let again = &document["messages"][0]["content"][2];
                    assert_eq!(
                        (
                            &again["fileName"],
                            &again["deleted"],
                            &again["extractedText"]
                        ),
                        (&shown["fileName"], &json!(false), &Value::Null)
                    );
                }
                "csv" => assert!(
                    String::from_utf8(content)
                        .unwrap()
                        .contains("two <b>.jpg (image/jpeg")
                ),
                "markdown" => {
                    let text = String::from_utf8(content).unwrap();
                    assert!(text.contains("two \\<b\\>.jpg (image/jpeg"), "{text}");
                    assert_eq!(text.contains(&line), with);
                }
                "html" => {
                    let html = String::from_utf8(content).unwrap();
                    assert!(html.contains("two &lt;b&gt;.jpg (image/jpeg"), "{html}");
                    assert_eq!(html.contains("<img src=\"data:image/jpeg;base64,"), with);
                    assert_eq!(html.contains(&line), with);
                }
                "docx" => {
                    let xml = part(&content, "word/document.xml");
                    assert!(xml.contains("two &lt;b&gt;.jpg"), "{xml}");
                    assert_eq!(xml.contains("<w:drawing>"), with);
                    assert_eq!(xml.contains(&line), with);
                    if with {
                        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&content)).unwrap();
                        let mut jpeg = Vec::new();
                        zip.by_name("word/media/0.jpg")
                            .unwrap()
                            .read_to_end(&mut jpeg)
                            .unwrap();
                        image::load_from_memory(&jpeg).unwrap();
                    }
                }
                _ => assert_eq!(
                    crate::export_pages::pictures(&content).await,
                    usize::from(with)
                ),
            }
        }
    }

    // One that was deleted leaves its place.
    assert_eq!(ana.delete(&attachment).await.status, 204);
    app.run_jobs().await;
    let document = document(&app, &ana, &conversation, json!({ "format": "json" })).await;
    let shown = &document["messages"][0]["content"][1];
    assert_eq!((&shown["id"], &shown["deleted"]), (&id, &json!(true)));
    app.finish().await;
}

#[tokio::test]
async fn a_picture_that_cannot_be_shown_is_listed() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Scans").await;
    let created = ana
        .upload("broken.png", fixture("broken.png"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let content = json!([{ "type": "attachment", "attachmentId": created["attachment"]["id"] }]);
    let path = format!("/api/v1/conversations/{conversation}/messages");
    ana.post_json(&path, json!({ "content": content }))
        .await
        .expect(201);
    for format in ["html", "docx", "pdf"] {
        let body = json!({ "format": format, "includeAttachments": true });
        let (_, content) = make(&app, &ana, &conversation, body).await;
        match format {
            "html" => {
                let html = String::from_utf8(content).unwrap();
                assert!(
                    html.contains("broken.png") && !html.contains("<img"),
                    "{html}"
                );
            }
            "docx" => assert!(part(&content, "word/document.xml").contains("broken.png")),
            _ => assert_eq!(crate::export_pages::pictures(&content).await, 0),
        }
    }
    // It is neither read nor made into variants.
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn tables_are_read_by_spreadsheets_and_run_nothing() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Sums").await;
    for text in ["=HYPERLINK(\"http://evil\")", "a, \"b\"\nनमस्ते"] {
        ana.say(&conversation, text).await;
    }
    let table = text(&app, &ana, &conversation, json!({ "format": "csv" })).await;
    let table = table.strip_prefix('\u{feff}').expect("a mark of UTF-8");
    let mut rows = table.split("\r\n");
    assert_eq!(
        rows.next(),
        Some("id,parentId,role,createdAt,tokenCount,text,attachments")
    );
    assert!(
        rows.next()
            .unwrap()
            .contains(",\"'=HYPERLINK(\"\"http://evil\"\")\",")
    );
    assert!(rows.next().unwrap().contains(",\"a, \"\"b\"\"\nनमस्ते\","));
    app.finish().await;
}

#[tokio::test]
async fn hostile_texts_end_well_in_every_format() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana
        .conversation("<script>alert(1)</script> `x` \u{202e}")
        .await;
    for text in [
        "<script>alert(1)</script><img src=x onerror=alert(1)>".to_owned(),
        "[x](javascript:alert(1)) ![y](https://evil.example/pixel.png)".to_owned(),
        "```\nnever closed".to_owned(),
        "<!-- never closed".to_owned(),
        "#panic(\"pwned\") $x^2$ @ref <label> #import \"x\" *b* // comment \\".to_owned(),
        "\u{202e}evil\u{202c} \u{1}\u{7f}\u{feff}\u{fffe} 🇮".to_owned(),
        format!("{} deep", ">".repeat(10_000)),
        "x".repeat(20_000),
        "*a **b ".repeat(500),
        format!("a{}", "\u{301}".repeat(20_000)),
    ] {
        ana.say(&conversation, &text).await;
    }
    for format in FORMATS {
        let (export, content) = make(&app, &ana, &conversation, json!({ "format": format })).await;
        assert_eq!(export["messageCount"], 10, "{format}");
        match format {
            "html" => {
                let html = String::from_utf8(content).unwrap();
                for tag in ["<script", "<img", "javascript:alert(1)\"", "src=\"http"] {
                    assert!(!html.contains(tag), "{tag}");
                }
                assert!(html.contains("Content-Security-Policy"));
                assert_eq!(html.matches("<article").count(), 10);
                assert_eq!(html.matches("</article>").count(), 10);
            }
            "markdown" => {
                let text = String::from_utf8(content).unwrap();
                assert!(text.contains("> ```\n> never closed"), "{text}");
                assert!(text.contains("> <!-- never closed"));
                assert_eq!(text.matches("\n---\n\n## User · ").count(), 10);
            }
            "pdf" => {
                let text = crate::export_pages::text(&content).await;
                assert!(
                    text.contains(
                        "#panic(\"pwned\") $x^2$ @ref <label> #import \"x\" b // comment"
                    ),
                    "{text}"
                );
                assert!(text.contains("deep"));
            }
            _ => {}
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_said_in_a_sound_is_exported_if_asked_for() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Voices").await;
    let sound = say("The library opens on Saturday morning.");
    let created = ana.upload("note.wav", sound, &[]).await.expect(201);
    app.run_jobs().await;
    let id = created["attachment"]["id"].clone();
    let path = format!("/api/v1/conversations/{conversation}/messages");
    let content = json!([{ "type": "attachment", "attachmentId": id }]);
    ana.post_json(&path, json!({ "content": content }))
        .await
        .expect(201);
    for with in [false, true] {
        let body = json!({ "format": "markdown", "includeAttachments": with });
        let text = text(&app, &ana, &conversation, body).await;
        assert!(text.contains("note.wav"), "{text}");
        assert_eq!(text.contains("library"), with, "{text}");
    }
    app.finish().await;
}
