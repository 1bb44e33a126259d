//! What may be uploaded: pictures, PDFs and sound, by content.

use reqwest::{Method, multipart};
use serde_json::Value;
use tests::{Actor, TestApp, fixture, pdf};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::storage::MEBIBYTE;

/// A product with small limits: pictures 200,000 bytes, PDFs 40,000, sound 5,000.
async fn spawn_with_small_uploads() -> TestApp {
    let api = api::config::ApiArgs {
        max_image_bytes: Some("200000".to_owned()),
        max_pdf_bytes: Some("40000".to_owned()),
        max_audio_bytes: Some("5000".to_owned()),
        ..Default::default()
    };
    TestApp::with(tests::Options {
        api,
        ..Default::default()
    })
    .await
}

async fn rows(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM attachments")
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn every_kind_is_taken_and_typed_by_its_content() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (file, kind, media_type) in [
        ("two-lines.jpg", "image", "image/jpeg"),
        ("two-lines.webp", "image", "image/webp"),
        ("three-pages.pdf", "document", "application/pdf"),
        ("tone.mp3", "audio", "audio/mpeg"),
        ("tone.wav", "audio", "audio/wav"),
        ("tone.ogg", "audio", "audio/ogg"),
        ("tone-vorbis.ogg", "audio", "audio/ogg"),
        ("tone.webm", "audio", "audio/webm"),
        ("tone.m4a", "audio", "audio/mp4"),
    ] {
        // The name says nothing.
        let created = ana.upload("x.bin", fixture(file), &[]).await.expect(201);
        let attachment = &created["attachment"];
        assert_eq!(attachment["kind"], kind, "{file}");
        assert_eq!(attachment["mediaType"], media_type, "{file}");
        assert_eq!(attachment["sizeBytes"], fixture(file).len(), "{file}");
        if kind == "audio" {
            assert_eq!(created["message"], "Transcription in background");
            assert!(attachment["ocr"].is_null(), "{created}");
            assert_eq!(created["job"]["kind"], "transcribe_audio");
            assert_eq!(created["job"]["queue"], "audio");
        } else {
            assert_eq!(created["message"], "OCR processing in background");
            let kind = if kind == "image" {
                "recognize_text"
            } else {
                "read_document"
            };
            assert_eq!(created["job"]["kind"], kind);
            assert_eq!(created["job"]["queue"], "ocr");
        }
        assert_eq!(attachment["jobs"][0]["id"], created["job"]["id"]);
    }
    app.run_jobs().await;
    // Nobody speaks in a tone.
    app.expect_failed(6);
    app.finish().await;
}

#[tokio::test]
async fn films_and_files_with_a_false_name_are_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut hidden = b"BM, and then:\n".to_vec();
    hidden.extend(fixture("three-pages.pdf"));
    for (name, bytes, reason) in [
        ("talk.webm", fixture("film.webm"), "is a film"),
        ("talk.ogg", fixture("film.ogv"), "is a film"),
        ("talk.m4a", fixture("film.mp4"), "is a film"),
        ("talk.m4a", fixture("tone.m4a")[..600].to_vec(), "no sound"),
        ("talk.flac", fixture("tone.flac"), "audio/x-flac"),
        (
            "paper.pdf",
            b"A letter, not a PDF.".to_vec(),
            "unknown type",
        ),
        ("paper.pdf", hidden, "the file is"),
        ("paper.pdf", fixture("not-a-picture.png"), "unknown type"),
    ] {
        let refused = ana.upload(name, bytes, &[]).await;
        let problem = refused.expect_problem(415, "unsupported_media_type");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{name}: {detail}");
    }
    assert_eq!(rows(&app).await, 0);
    tests::eventually("nothing is left in the storage", || async {
        !app.folder.path().join("objects").exists() || walk(app.folder.path().join("objects")) == 0
    })
    .await;
    app.finish().await;
}

fn walk(folder: std::path::PathBuf) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                walk(entry.path())
            } else {
                1
            }
        })
        .sum()
}

#[tokio::test]
async fn what_a_file_is_called_must_be_what_it_is() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let send = async |file: &str, declared: &str| {
        let part = multipart::Part::bytes(fixture(file))
            .mime_str(declared)
            .unwrap();
        let form = multipart::Form::new().part("file", part.file_name("x"));
        let request = ana
            .request(Method::POST, "/api/v1/attachments")
            .multipart(form);
        ana.send(request).await
    };
    send("tone.webm", "video/webm").await.expect(201);
    send("tone.m4a", "audio/x-m4a").await.expect(201);
    send("tone.wav", "application/octet-stream")
        .await
        .expect(201);
    send("three-pages.pdf", "application/x-pdf")
        .await
        .expect(201);
    for (file, declared) in [
        ("tone.webm", "audio/ogg"),
        ("three-pages.pdf", "image/png"),
        ("two-lines.jpg", "application/pdf"),
        ("film.webm", "video/webm"),
    ] {
        send(file, declared)
            .await
            .expect_problem(415, "unsupported_media_type");
    }
    app.run_jobs().await;
    // Nobody speaks in a tone.
    app.expect_failed(3);
    app.finish().await;
}

/// A file of two kinds is the first one, and nothing else of it is read.
#[tokio::test]
async fn a_picture_with_a_pdf_inside_is_a_picture() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut both = fixture("two-lines.jpg");
    both.extend(pdf::pdf(&[pdf::Page::Text(
        "The hidden text of a document.".to_owned(),
    )]));
    let created = ana.upload("x.pdf", both, &[]).await.expect(201);
    assert_eq!(created["attachment"]["kind"], "image");
    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    let read = ana
        .get(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(200);
    let text = read["extractedText"].as_str().unwrap();
    assert!(text.contains("4711") && !text.contains("hidden"), "{text}");
    app.finish().await;
}

#[tokio::test]
async fn every_kind_has_its_own_limit() {
    let app = spawn_with_small_uploads().await;
    let ana = app.user("ana").await;
    let limit = |reply: tests::Reply| -> String {
        let problem = reply.expect_problem(413, "payload_too_large");
        problem["detail"].as_str().unwrap().to_owned()
    };
    let padded = |file: &str, length: usize| {
        let mut bytes = fixture(file);
        bytes.resize(length, b' ');
        bytes
    };
    ana.upload("x", padded("two-lines.jpg", 150_000), &[])
        .await
        .expect(201);
    ana.upload("x", padded("three-pages.pdf", 40_000), &[])
        .await
        .expect(201);
    ana.upload("x", fixture("tone.m4a"), &[]).await.expect(201);
    let document = ana
        .upload("x", padded("three-pages.pdf", 40_001), &[])
        .await;
    assert!(limit(document).contains("40000"));
    let sound = ana.upload("x", fixture("tone.wav"), &[]).await;
    assert!(limit(sound).contains("5000"));
    let picture = ana.upload("x", padded("two-lines.jpg", 200_001), &[]).await;
    assert!(limit(picture).contains("200000"));
    assert_eq!(rows(&app).await, 3);
    app.run_jobs().await;
    // Nobody speaks in a tone.
    app.expect_failed(1);
    app.finish().await;
}

async fn send(user: &Actor, form: multipart::Form) -> tests::Reply {
    let request = user
        .request(Method::POST, "/api/v1/attachments")
        .multipart(form);
    user.send(request).await
}

#[tokio::test]
async fn every_bad_field_of_a_form_is_named() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let form = multipart::Form::new()
        .text("colour", "red")
        .text("language", "tlh")
        .text("a~b", "1");
    assert_eq!(
        send(&ana, form).await.expect_bad_fields(),
        ["/a~0b", "/colour", "/file", "/language"]
    );
    let file = || multipart::Part::bytes(fixture("two-lines.jpg")).file_name("x.jpg");
    let form = multipart::Form::new()
        .part("file", file())
        .text("language", "en")
        .text("language", "hi")
        .part("file", file());
    assert_eq!(
        send(&ana, form).await.expect_bad_fields(),
        ["/file", "/language"]
    );
    let form = (0..1_000).fold(multipart::Form::new(), |form, field| {
        form.text(format!("x{field}"), "")
    });
    assert_eq!(send(&ana, form).await.expect_bad_fields().len(), 20);
    assert_eq!(rows(&app).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn an_unknown_language_is_refused_with_the_known_ones() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let upload = async |language: &str| {
        ana.upload("x.jpg", fixture("two-lines.jpg"), &[("language", language)])
            .await
    };
    let problem: Value = upload("tlh").await.expect_problem(422, "invalid_request");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("\"tlh\"") && detail.contains("en, hi, ur, bn, ar"),
        "{detail}"
    );
    for bad in ["", "../eng", "en+hi+ur+bn+ar+fa", "-l", &"en+".repeat(50)] {
        assert_eq!(
            upload(bad).await.expect_bad_fields(),
            ["/language"],
            "{bad}"
        );
    }
    for good in ["en", "eng", "en+hi", "EN-us", "Devanagari"] {
        upload(good).await.expect(201);
    }
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn the_name_of_a_file_may_be_given_as_utf_8() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut form = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"scan.jpg\"; \
        filename*=UTF-8''%E0%A4%9C%E0%A4%BE%E0%A4%81%E0%A4%9A.jpg\r\n\r\n"
        .to_vec();
    form.extend(fixture("two-lines.jpg"));
    form.extend(b"\r\n--b--\r\n");
    let request = ana.request(Method::POST, "/api/v1/attachments");
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    let created = ana.send(request.body(form)).await.expect(201);
    assert_eq!(created["attachment"]["fileName"], "जाँच.jpg");
    app.run_jobs().await;
    app.finish().await;
}

/// Sends a picture whole before it listens, and gives the answer as it was sent.
async fn send_before_listening(app: &TestApp, user: &Actor, length: usize) -> String {
    let begin = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";
    let mut body = begin.as_bytes().to_vec();
    body.extend(b"\x89PNG\r\n\x1a\n");
    body.resize(length, 0);
    let head = format!(
        "POST /api/v1/attachments HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\
         authorization: Bearer {}\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n",
        user.token.as_ref().unwrap()
    );
    let address = app.base.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body).await.expect("all of it is taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_client_that_sends_before_it_listens_hears_that_it_is_too_much() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (mebibytes, limit) in [(12, 10 * MEBIBYTE), (40, 25 * MEBIBYTE)] {
        let answer = send_before_listening(&app, &ana, mebibytes * MEBIBYTE).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains(&limit.to_string()), "{answer}");
    }
    assert_eq!(rows(&app).await, 0);
    app.finish().await;
}
