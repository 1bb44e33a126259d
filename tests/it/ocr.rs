//! From an upload to its text.

use futures::StreamExt as _;
use serde_json::{Value, json};
use shared::language::codes_of;
use tests::{Actor, TestApp, fixture, picture, text::error_rate};

/// Uploads a picture, lets the jobs run, and gives the attachment.
async fn read(
    app: &TestApp,
    user: &Actor,
    name: &str,
    bytes: Vec<u8>,
    fields: &[(&str, &str)],
) -> Value {
    let created = user.upload(name, bytes, fields).await.expect(201);
    assert_eq!(created["message"], "OCR processing in background");
    assert_eq!(created["job"]["status"], "queued");
    assert_eq!(created["attachment"]["jobs"][0]["id"], created["job"]["id"]);
    assert_eq!(created["attachment"]["ocr"]["status"], "processing");
    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    user.get(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(200)
}

#[tokio::test]
async fn the_demos_pictures_are_read() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let expected: Value = serde_json::from_slice(&picture("expected.json")).unwrap();
    for expected in expected.as_array().unwrap() {
        let (file, language) = (
            expected["file"].as_str().unwrap(),
            expected["language"].as_str().unwrap(),
        );
        let attachment = read(&app, &ana, file, picture(file), &[("language", language)]).await;
        let (text, truth) = (
            attachment["extractedText"].as_str().unwrap(),
            expected["text"].as_str().unwrap(),
        );
        let rate = error_rate(text, truth);
        assert!(rate <= 0.05, "{file}: {rate}\n{text}");
        assert_eq!(attachment["ocr"]["status"], "succeeded");
        assert_eq!(
            attachment["ocr"]["language"].as_str(),
            codes_of(language).as_deref()
        );
        assert_eq!(attachment["jobs"][0]["status"], "succeeded");
        assert_eq!(attachment["jobs"][0]["progress"], 100);
    }
    app.finish().await;
}

#[tokio::test]
async fn every_format_is_read_and_words_have_boxes() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (file, media_type) in [
        ("two-lines.webp", "image/webp"),
        ("two-lines.jpg", "image/jpeg"),
    ] {
        let attachment = read(&app, &ana, file, fixture(file), &[]).await;
        assert_eq!(attachment["mediaType"], media_type);
        assert_eq!(attachment["fileName"], file);
        assert_eq!(attachment["sizeBytes"], fixture(file).len());
        assert!(
            attachment["extractedText"]
                .as_str()
                .unwrap()
                .contains("4711"),
            "{attachment}"
        );
        let words = attachment["ocr"]["words"].as_array().unwrap();
        let word = words.iter().find(|word| word["text"] == "4711").unwrap();
        let (width, height) = (
            attachment["width"].as_i64().unwrap(),
            attachment["height"].as_i64().unwrap(),
        );
        assert!(
            word["x"].as_i64().unwrap() + word["width"].as_i64().unwrap() <= width,
            "{word}"
        );
        assert!(
            word["y"].as_i64().unwrap() + word["height"].as_i64().unwrap() <= height,
            "{word}"
        );
        assert!(
            attachment["ocr"]["confidence"].as_f64().unwrap() > 60.0,
            "{attachment}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_broken_picture_stays_and_its_job_says_why() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let attachment = read(&app, &ana, "broken.png", fixture("broken.png"), &[]).await;
    assert_eq!(attachment["ocr"]["status"], "failed");
    let (job, reason) = (
        &attachment["jobs"][0],
        attachment["ocr"]["error"].as_str().unwrap(),
    );
    assert_eq!(
        (job["status"].as_str(), job["attempt"].as_i64()),
        (Some("failed"), Some(1))
    );
    assert_eq!(job["error"], reason);
    assert!(reason.contains("damaged"), "{reason}");
    assert!(attachment["extractedText"].is_null());
    // Neither read nor shown.
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn a_language_that_is_not_there_is_told() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let attachment = read(
        &app,
        &ana,
        "x.jpg",
        fixture("two-lines.jpg"),
        &[("language", "ta")],
    )
    .await;
    let reason = attachment["ocr"]["error"].as_str().unwrap();
    assert!(
        reason.contains("ta is not installed") && reason.contains("en, hi"),
        "{reason}"
    );
    let bad = ana
        .upload("x.jpg", fixture("two-lines.jpg"), &[("language", "../eng")])
        .await;
    assert_eq!(bad.expect_bad_fields(), ["/language"]);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_script_that_nobody_named_is_detected() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let truth = "গ্রন্থাগার শনিবার সকাল নয়টায় খোলে।\nআজ বিকেলে বৃষ্টি হতে পারে বলে মনে হয়।\nসকলকে ধন্যবাদ জানাই, আবার দেখা হবে।";
    for (file, bytes, truth, language) in [
        (
            "bengali.png",
            fixture("bengali.png"),
            truth.to_owned(),
            "bn",
        ),
        (
            "urdu.png",
            picture("urdu.png"),
            String::from_utf8(picture("urdu.txt")).unwrap(),
            "ur",
        ),
        (
            "hindi.png",
            picture("hindi.png"),
            String::from_utf8(picture("hindi.txt")).unwrap(),
            "hi",
        ),
        (
            "english-scan.png",
            picture("english-scan.png"),
            String::from_utf8(picture("english-scan.txt")).unwrap(),
            "en",
        ),
    ] {
        let attachment = read(&app, &ana, file, bytes, &[]).await;
        assert_eq!(attachment["ocr"]["language"], language, "{file}");
        assert_eq!(attachment["ocr"]["lowConfidence"], false, "{file}");
        let text = attachment["extractedText"].as_str().unwrap();
        let rate = error_rate(text, &truth);
        assert!(rate < 0.05, "{file}: {rate}\n{text}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let text = ana.upload("x.png", fixture("not-a-picture.png"), &[]).await;
    text.expect_problem(415, "unsupported_media_type");
    ana.upload("x.png", Vec::new(), &[])
        .await
        .expect_problem(415, "unsupported_media_type");
    ana.upload("x.png", fixture("bomb.png"), &[])
        .await
        .expect_problem(422, "image_too_large");
    let part = reqwest::multipart::Part::bytes(fixture("two-lines.jpg"))
        .mime_str("image/png")
        .unwrap();
    let form = reqwest::multipart::Form::new().part("file", part.file_name("x.png"));
    let lied = ana
        .send(
            ana.request(reqwest::Method::POST, "/api/v1/attachments")
                .multipart(form),
        )
        .await;
    lied.expect_problem(415, "unsupported_media_type");
    ana.post_json("/api/v1/attachments", json!({}))
        .await
        .expect_problem(415, "unsupported_media_type");
    let empty = reqwest::multipart::Form::new().text("language", "eng");
    let empty = ana
        .send(
            ana.request(reqwest::Method::POST, "/api/v1/attachments")
                .multipart(empty),
        )
        .await;
    assert_eq!(empty.expect_bad_fields(), ["/file"]);
    let unknown = ana
        .upload("x.jpg", fixture("two-lines.jpg"), &[("colour", "red")])
        .await;
    assert_eq!(unknown.expect_bad_fields(), ["/colour"]);
    app.anonymous()
        .upload("x.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect_problem(401, "unauthenticated");

    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM attachments")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    tests::eventually("nothing is left in the storage", || async {
        objects(&app).is_empty()
    })
    .await;
    app.finish().await;
}

/// Files in the storage, unfinished ones too.
fn objects(app: &TestApp) -> Vec<std::path::PathBuf> {
    fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(app.folder.path(), &mut found);
    found
}

/// A product that takes pictures of 200,000 bytes.
async fn spawn_with_small_uploads() -> TestApp {
    let api = api::config::ApiArgs {
        max_image_bytes: Some("200000".to_owned()),
        ..Default::default()
    };
    TestApp::with(tests::Options {
        api,
        ..Default::default()
    })
    .await
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused_with_and_without_a_length() {
    let app = spawn_with_small_uploads().await;
    let ana = app.user("ana").await;
    let mut large = fixture("two-lines.jpg");
    large.resize(400_000, 0);
    ana.upload("x.jpg", large.clone(), &[])
        .await
        .expect_problem(413, "payload_too_large");

    // Streamed, so that nobody knows the length before its end.
    let chunks = large
        .chunks(10_000)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let form = reqwest::multipart::Form::new().part(
        "file",
        reqwest::multipart::Part::stream(body).file_name("x.jpg"),
    );
    let reply = ana
        .send(
            ana.request(reqwest::Method::POST, "/api/v1/attachments")
                .multipart(form),
        )
        .await;
    reply.expect_problem(413, "payload_too_large");
    tests::eventually("nothing is left in the storage", || async {
        objects(&app).is_empty()
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_anothers_attachment_or_job() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let created = ana
        .upload("x.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let attachment = format!(
        "/api/v1/attachments/{}",
        created["attachment"]["id"].as_str().unwrap()
    );
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    for path in [attachment.clone(), job.clone(), format!("{job}/events")] {
        ben.get(&path).await.expect_problem(404, "not_found");
        app.anonymous()
            .get(&path)
            .await
            .expect_problem(401, "unauthenticated");
    }
    for action in ["cancel", "retry"] {
        ben.post(&format!("{job}/{action}"))
            .await
            .expect_problem(404, "not_found");
    }
    ana.get("/api/v1/attachments/not-an-id")
        .await
        .expect_problem(404, "not_found");
    assert!(
        ben.get("/api/v1/jobs").await.expect(200)["data"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn the_signed_url_shows_the_content_for_an_hour() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana
        .upload("जाँच.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let url: url::Url = created["attachment"]["url"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let path = format!("{}?{}", url.path(), url.query().unwrap());
    let nobody = app.anonymous();
    let reply = nobody
        .http
        .get(format!("{}{path}", app.base))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "image/jpeg");
    assert_eq!(reply.headers()["x-content-type-options"], "nosniff");
    assert!(
        reply.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment; filename=\"____.jpg\"; filename*=UTF-8''%E0")
    );
    assert_eq!(reply.bytes().await.unwrap(), fixture("two-lines.jpg"));
    nobody
        .get(&format!("{path}0"))
        .await
        .expect_problem(404, "not_found");
    let hour = std::time::Duration::from_hours(1);
    let expires_at = &created["attachment"]["urlExpiresAt"];
    assert_eq!(*expires_at, json!(app.clock.now() + hour));
    app.advance(hour).await;
    nobody.get(&path).await.expect_problem(404, "not_found");
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn an_endless_form_is_refused() {
    let app = spawn_with_small_uploads().await;
    let ana = app.user("ana").await;
    // A preamble without end: no field ever begins.
    let pieces =
        futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 65_536])).take(1_000);
    let request = ana
        .request(reqwest::Method::POST, "/api/v1/attachments")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(reqwest::Body::wrap_stream(pieces));
    ana.send(request)
        .await
        .expect_problem(413, "payload_too_large");
    app.finish().await;
}
