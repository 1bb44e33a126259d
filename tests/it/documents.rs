//! From a PDF to its text.

use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp,
    fakes::receiver::Receiver,
    fixture,
    pdf::{Page, grey, pdf, pdf_with, scan},
    picture,
    text::error_rate,
};

const LINE: &str = "The library opens on Saturday at nine.";

/// Uploads a PDF, lets the jobs run, and gives the attachment.
async fn read(app: &TestApp, user: &Actor, bytes: Vec<u8>, fields: &[(&str, &str)]) -> Value {
    let created = user.upload("paper.pdf", bytes, fields).await.expect(201);
    assert_eq!(created["attachment"]["kind"], "document");
    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    user.get(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(200)
}

/// How each page was read.
fn methods(attachment: &Value) -> Vec<&str> {
    let pages = attachment["ocr"]["pages"].as_array().unwrap();
    pages
        .iter()
        .map(|page| page["method"].as_str().unwrap())
        .collect()
}

fn pages_of(attachment: &Value) -> Vec<&str> {
    let text = attachment["extractedText"].as_str();
    let text = text.unwrap_or_else(|| panic!("{attachment:#}"));
    text.split('\u{c}').map(str::trim_end).collect()
}

#[tokio::test]
async fn a_pdf_with_text_is_read_as_it_was_written() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let attachment = read(&app, &ana, fixture("three-pages.pdf"), &[]).await;
    let ocr = &attachment["ocr"];
    assert_eq!(ocr["status"], "succeeded");
    assert_eq!(methods(&attachment), ["text"; 3]);
    assert_eq!(
        (ocr["pageCount"].as_i64(), ocr["truncated"].as_bool()),
        (Some(3), Some(false))
    );
    assert!(
        ocr["confidence"].is_null() && ocr["words"].is_null(),
        "{ocr}"
    );
    assert_eq!(
        (ocr["lowConfidence"].as_bool(), ocr["language"].as_str()),
        (Some(false), Some("en"))
    );
    let pages = pages_of(&attachment);
    assert_eq!(
        pages[0],
        "Annual report\n\nThe library opens on Saturday at nine.\nInvoice 4711 is paid."
    );
    let hindi = "यह पुस्तकालय शनिवार को नौ बजे खुलता है।\nबिल का भुगतान हो गया है।";
    assert!(error_rate(pages[1], hindi) < 0.05, "{}", pages[1]);
    assert!(pages[2].contains("धन्यवाद"), "{}", pages[2]);
    let job = &attachment["jobs"][0];
    assert_eq!(
        (job["kind"].as_str(), job["progress"].as_i64()),
        (Some("read_document"), Some(100))
    );
    assert_eq!(
        job["result"],
        json!({ "pages": 3, "pageCount": 3, "truncated": false })
    );
    app.finish().await;
}

#[tokio::test]
async fn a_scan_is_recognized_page_by_page() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let written = Page::Text(format!("{LINE}\nIt closes at five."));
    let document = pdf(&[
        scan(fixture("two-lines.jpg")),
        written,
        grey(&picture("urdu.png")),
        Page::Empty(595.0, 842.0),
    ]);
    let attachment = read(&app, &ana, document, &[]).await;
    assert_eq!(methods(&attachment), ["ocr", "text", "ocr", "ocr"]);
    let pages = pages_of(&attachment);
    assert!(pages[0].contains("Invoice 4711"), "{}", pages[0]);
    assert_eq!(pages[1], format!("{LINE}\nIt closes at five."));
    // Nobody said that it is Urdu.
    let truth = String::from_utf8(picture("urdu.txt")).unwrap();
    assert!(error_rate(pages[2], &truth) < 0.05, "{}", pages[2]);
    assert_eq!(pages[3], "");
    let ocr = &attachment["ocr"];
    assert!(ocr["confidence"].as_f64().unwrap() > 75.0, "{ocr}");
    assert!(ocr["pages"][0]["confidence"].as_f64().unwrap() > 75.0);
    assert!(ocr["pages"][1]["confidence"].is_null());
    assert_eq!(ocr["language"], "ur");
    let note = attachment["jobs"][0]["progressNote"].as_str().unwrap();
    assert!(
        note.starts_with("page ") && note.ends_with(" of 4"),
        "{note}"
    );
    app.finish().await;
}

#[tokio::test]
async fn the_languages_of_a_scan_can_be_named() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let document = pdf(&[grey(&picture("hindi.png"))]);
    let attachment = read(&app, &ana, document.clone(), &[("language", "hi")]).await;
    assert_eq!(attachment["ocr"]["language"], "hi");
    let truth = String::from_utf8(picture("hindi.txt")).unwrap();
    assert!(error_rate(pages_of(&attachment)[0], &truth) < 0.05);
    let attachment = read(&app, &ana, document, &[("language", "ta")]).await;
    let reason = attachment["ocr"]["error"].as_str().unwrap();
    assert!(
        reason.contains("ta is not installed") && reason.contains("hi"),
        "{reason}"
    );
    // What brings its text along is read all the same.
    let attachment = read(
        &app,
        &ana,
        fixture("three-pages.pdf"),
        &[("language", "ta")],
    )
    .await;
    assert_eq!(attachment["ocr"]["status"], "succeeded");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_locked_or_broken_pdf_fails_at_once_with_its_reason() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let whole = fixture("three-pages.pdf");
    for (bytes, expected) in [
        (fixture("locked.pdf"), "locked with a password"),
        (whole[..whole.len() / 3].to_vec(), "damaged"),
        (b"%PDF-1.7\nand nothing more".to_vec(), "damaged"),
        (pdf(&[]), "no pages"),
    ] {
        let attachment = read(&app, &ana, bytes, &[]).await;
        let (job, ocr) = (&attachment["jobs"][0], &attachment["ocr"]);
        assert_eq!(
            (job["status"].as_str(), job["attempt"].as_i64()),
            (Some("failed"), Some(1)),
            "{attachment}"
        );
        assert_eq!(ocr["status"], "failed");
        let reason = ocr["error"].as_str().unwrap();
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(job["error"], reason);
    }
    // It opens without its password.
    let attachment = read(&app, &ana, fixture("restricted.pdf"), &[]).await;
    assert!(pages_of(&attachment)[0].contains("4711"));
    app.expect_failed(4);
    app.finish().await;
}

#[tokio::test]
async fn of_a_long_document_the_first_200_pages_are_read() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let page = |number| {
        Page::Text(format!(
            "This is the page with the number {number}.\n{LINE}"
        ))
    };
    for count in [250, 10_000] {
        let pages: Vec<Page> = (1..=count).map(page).collect();
        let attachment = read(&app, &ana, pdf(&pages), &[]).await;
        let ocr = &attachment["ocr"];
        assert_eq!(
            (ocr["status"].as_str(), ocr["truncated"].as_bool()),
            (Some("succeeded"), Some(true))
        );
        assert_eq!(ocr["pageCount"], count);
        assert_eq!(methods(&attachment), ["text"; 200]);
        let read = pages_of(&attachment);
        assert_eq!(read.len(), 200);
        assert!(
            read[199].starts_with("This is the page with the number 200."),
            "{}",
            read[199]
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn hostile_documents_are_harmless() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let line = || Page::Text(LINE.to_owned());

    // Paper of 700 kilometres: it is drawn small.
    let vast = pdf(&[
        line(),
        Page::Empty(14_400.0, 14_400.0),
        Page::Empty(2e9, 2e9),
        Page::Empty(1e7, 1.0),
    ]);
    let attachment = read(&app, &ana, vast, &[]).await;
    assert_eq!(pages_of(&attachment)[0], LINE);
    assert_eq!(attachment["ocr"]["status"], "succeeded", "{attachment}");

    // Pages that are not there, and more of them than the file has parts.
    let attachment = read(&app, &ana, pdf_with(&[line()], 5, ""), &[]).await;
    assert_eq!(pages_of(&attachment)[0], LINE);
    assert_eq!(attachment["ocr"]["pageCount"], 5);
    let attachment = read(&app, &ana, pdf_with(&[line()], 1_000_000, ""), &[]).await;
    assert_eq!(attachment["ocr"]["error"], "the PDF has no pages");

    // A script, and a file that another program should open.
    let entries = "/OpenAction << /S /JavaScript /JS (app.launchURL\\('http://127.0.0.1:1/'\\)) >> \
                   /AA << /O << /S /Launch /F (/bin/sh) >> >>";
    let attachment = read(&app, &ana, pdf_with(&[line()], 1, entries), &[]).await;
    assert_eq!(pages_of(&attachment), [LINE]);

    // A picture whose size is a lie, on its own and beside a sound page.
    let broken = || Page::Scan(b"\xff\xd8\xff\xe0 no JPEG".to_vec(), 60_000, 60_000);
    let attachment = read(&app, &ana, pdf(&[broken(), line()]), &[]).await;
    assert_eq!(pages_of(&attachment)[1], LINE);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_missing_reader_of_pdfs_is_told() {
    let worker = worker::config::WorkerArgs {
        poppler_path: Some("/nowhere".to_owned()),
        ..Default::default()
    };
    let app = TestApp::with(Options {
        worker,
        ..Default::default()
    })
    .await;
    let ana = app.user("ana").await;
    let attachment = read(&app, &ana, fixture("three-pages.pdf"), &[]).await;
    let job = &attachment["jobs"][0];
    // Another worker could have it.
    assert_eq!(
        (job["status"].as_str(), job["attempt"].as_i64()),
        (Some("failed"), Some(3))
    );
    let reason = attachment["ocr"]["error"].as_str().unwrap();
    assert!(reason.contains("not installed on this worker"), "{reason}");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_document_whose_object_is_away_is_tried_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana
        .upload("paper.pdf", fixture("three-pages.pdf"), &[])
        .await
        .expect(201);
    let objects = app.folder.path().join("objects");
    let away = app.folder.path().join("away");
    std::fs::rename(&objects, &away).unwrap();
    app.run_due_jobs().await;
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    assert_eq!(ana.get(&job).await.expect(200)["status"], "retrying");
    std::fs::rename(&away, &objects).unwrap();
    app.run_jobs().await;
    assert_eq!(ana.get(&job).await.expect(200)["status"], "succeeded");
    app.finish().await;
}

#[tokio::test]
async fn a_document_that_was_deleted_meanwhile_is_left_alone() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana
        .upload("paper.pdf", fixture("three-pages.pdf"), &[])
        .await
        .expect(201);
    sqlx::query("DELETE FROM attachments")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_jobs().await;
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    assert_eq!(ana.get(&job).await.expect(200)["status"], "succeeded");
    app.finish().await;
}

#[tokio::test]
async fn webhooks_are_told_of_documents() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let events = ["document.ocr_completed", "document.ocr_failed"];
    ana.post_json(
        "/api/v1/webhooks",
        json!({ "url": receiver.url(), "events": events }),
    )
    .await
    .expect(201);
    let good = read(&app, &ana, fixture("three-pages.pdf"), &[]).await;
    let bad = read(&app, &ana, fixture("locked.pdf"), &[]).await;
    // A picture has events of its own.
    ana.upload("x.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_jobs().await;

    let bodies: Vec<Value> = receiver
        .requests()
        .await
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let of = |kind: &str| {
        let found: Vec<&Value> = bodies.iter().filter(|body| body["type"] == kind).collect();
        assert_eq!(found.len(), 1, "{bodies:?}");
        found[0]["data"].clone()
    };
    assert_eq!(bodies.len(), 2);
    let completed = of("document.ocr_completed");
    assert_eq!(completed["attachmentId"], good["id"]);
    assert_eq!(
        (completed["pages"].as_i64(), completed["language"].as_str()),
        (Some(3), Some("en"))
    );
    assert!(
        completed["extractedText"]
            .as_str()
            .unwrap()
            .contains("4711")
    );
    assert_eq!(
        (&completed["lowConfidence"], &completed["truncated"]),
        (&json!(false), &json!(false))
    );
    let failed = of("document.ocr_failed");
    assert_eq!(failed["attachmentId"], bad["id"]);
    assert!(failed["error"].as_str().unwrap().contains("password"));
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn an_event_says_when_there_is_more_to_read() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = json!({ "url": receiver.url(), "events": ["document.ocr_completed"] });
    ana.post_json("/api/v1/webhooks", webhook).await.expect(201);
    let pages: Vec<Page> = (0..201).map(|_| Page::Text(LINE.to_owned())).collect();
    let read = read(&app, &ana, pdf(&pages), &[]).await;
    assert_eq!(read["ocr"]["truncated"], true);
    let told: Value = serde_json::from_slice(&receiver.requests().await[0].body).unwrap();
    assert_eq!(told["data"]["pages"], 201);
    assert_eq!(told["data"]["truncated"], true);
    app.finish().await;
}
