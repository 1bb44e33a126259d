//! What is made of pictures: the variants that every picture has, and those that are asked for.

use reqwest::Method;
use serde_json::{Value, json};
use shared::keyring::sha256;
use tests::{Actor, TestApp, fixture, picture};

use crate::{
    deletions::objects,
    downloads::path_of,
    readings::{get, upload},
};

const SECRET: &str = "a secret place";

/// A photo as a phone stores it: on its side, with the place.
pub(crate) fn phone_photo() -> Vec<u8> {
    let plain = fixture("two-lines.jpg");
    let mut exif =
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif.extend(SECRET.as_bytes());
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&plain[..2], b"\xff\xe1", &length, &exif, &plain[2..]].concat()
}

/// An animation of tiny frames, each as large as the picture, with a comment.
fn animation(side: u16, frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend([side.to_le_bytes(), side.to_le_bytes()].concat());
    // Two colours.
    file.extend([0x80, 0, 0, 200, 30, 30, 255, 255, 255]);
    file.extend(b"\x21\xfe");
    file.push(u8::try_from(SECRET.len()).unwrap());
    file.extend(SECRET.as_bytes());
    file.push(0);
    let frame = b"\x21\xf9\x04\0\x0a\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
    file.extend(frame.repeat(frames));
    file.push(0x3b);
    file
}

fn holds_secret(file: &[u8]) -> bool {
    file.windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes())
}

async fn bytes(user: &Actor, url: &Value) -> (reqwest::header::HeaderMap, Vec<u8>) {
    let response = user.request(Method::GET, &path_of(url)).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    (headers, response.bytes().await.unwrap().to_vec())
}

fn path(id: &str) -> String {
    format!("/api/v1/attachments/{id}/variants")
}

fn named<'a>(attachment: &'a Value, name: &str) -> &'a Value {
    let variants = attachment["variants"].as_array().unwrap();
    let found = variants.iter().find(|variant| variant["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {attachment}"))
}

#[tokio::test]
async fn every_picture_gets_its_variants() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana.upload("scan.jpg", phone_photo(), &[]).await.expect(201);
    let before = &created["attachment"];
    assert_eq!(before["image"]["status"], "processing");
    assert_eq!(before["variants"].as_array().unwrap().len(), 3);
    assert!(named(before, "display")["url"].is_null());
    let kinds: Vec<&str> = before["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["recognize_text", "process_image"]);
    app.run_jobs().await;

    let id = before["id"].as_str().unwrap();
    let attachment = get(&ana, id).await;
    let image = &attachment["image"];
    assert_eq!(image["status"], "succeeded", "{attachment}");
    assert_eq!(
        (&image["width"], &image["height"]),
        (&attachment["height"], &attachment["width"]),
        "upright"
    );
    assert_eq!(
        (&image["isAnimated"], &image["frameCount"]),
        (&false.into(), &1.into())
    );
    assert_eq!(image["dominantColor"], "#ffffff");
    assert_eq!(image["blurHash"].as_str().unwrap().len(), 28);
    let nobody = app.anonymous();
    for (name, kind) in [
        ("display", "image/jpeg"),
        ("thumbnail256", "image/webp"),
        ("thumbnail768", "image/webp"),
    ] {
        let variant = named(&attachment, name);
        assert_eq!(variant["status"], "succeeded");
        assert_eq!(variant["mediaType"], kind);
        let (headers, file) = bytes(&nobody, &variant["url"]).await;
        assert_eq!(headers["content-type"], kind);
        let saved_as = headers["content-disposition"].to_str().unwrap();
        assert!(saved_as.contains(&format!("scan-{name}.")), "{saved_as}");
        assert_eq!(variant["sizeBytes"], file.len());
        assert_eq!(variant["sha256"], hex::encode(sha256(&file)));
        assert!(!holds_secret(&file));
        let alone = format!("{}/{}", path(id), variant["id"].as_str().unwrap());
        assert_eq!(&ana.get(&alone).await.expect(200), variant);
    }
    let (_, uploaded) = bytes(&nobody, &attachment["url"]).await;
    assert!(holds_secret(&uploaded), "the upload is its owner's own");
    let small = named(&attachment, "thumbnail256");
    assert_eq!(small["height"], image["height"], "it is not enlarged");
    let list = ana.get("/api/v1/attachments").await.expect(200);
    assert_eq!(list["data"][0]["image"], *image);
    assert_eq!(list["data"][0]["variants"].as_array().unwrap().len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn a_signed_url_is_for_its_own_variant() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    app.run_jobs().await;
    let attachment = get(&ana, &id).await;
    let (one, other) = (
        path_of(&named(&attachment, "display")["url"]),
        path_of(&named(&attachment, "thumbnail256")["url"]),
    );
    let (permission, place) = (
        one.split_once('?').unwrap().1,
        other.split_once('?').unwrap().0,
    );
    let nobody = app.anonymous();
    let mixed = nobody.get(&format!("{place}?{permission}")).await;
    mixed.expect_problem(404, "not_found");
    nobody
        .get(&format!("{place}?exp=1&sig=00"))
        .await
        .expect_problem(404, "not_found");
    let part = nobody
        .request(Method::GET, &one)
        .header("range", "bytes=0-2");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(&part.bytes().await.unwrap()[..], b"\xff\xd8\xff");
    ana.delete(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(204);
    nobody.get(&one).await.expect_problem(404, "not_found");
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty(), "the variants' objects too");
    app.finish().await;
}

#[tokio::test]
async fn an_animation_goes_on_moving() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana
        .upload("x.gif", animation(300, 4), &[])
        .await
        .expect(201);
    assert_eq!(created["attachment"]["mediaType"], "image/gif");
    assert_eq!(created["attachment"]["kind"], "image");
    assert_eq!(created["attachment"]["width"], 300);
    app.run_jobs().await;
    let attachment = get(&ana, created["attachment"]["id"].as_str().unwrap()).await;
    assert_eq!(attachment["ocr"]["status"], "succeeded", "{attachment}");
    let image = &attachment["image"];
    assert_eq!(
        (&image["isAnimated"], &image["frameCount"]),
        (&true.into(), &4.into()),
        "{attachment}"
    );
    let display = named(&attachment, "display");
    assert_eq!(display["mediaType"], "image/gif");
    let (headers, file) = bytes(&ana, &display["url"]).await;
    assert!(
        headers["content-disposition"]
            .to_str()
            .unwrap()
            .contains("x-display.gif")
    );
    assert!(file.starts_with(b"GIF89a") && !holds_secret(&file));
    assert_eq!(
        named(&attachment, "thumbnail256")["mediaType"],
        "image/webp"
    );
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_processed_says_why_and_is_not_tried_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (file, reason) in [
        (fixture("broken.png"), "the file is damaged"),
        (animation(2_000, 260), "the animation is too long"),
    ] {
        let created = ana.upload("x", file, &[]).await.expect(201);
        app.run_jobs().await;
        let attachment = get(&ana, created["attachment"]["id"].as_str().unwrap()).await;
        let image = &attachment["image"];
        assert_eq!(image["status"], "failed");
        let said = image["error"].as_str().unwrap();
        assert!(said.starts_with(reason), "{said}");
        assert!(image["finishedAt"].is_string() && image["width"].is_null());
        for variant in attachment["variants"].as_array().unwrap() {
            assert_eq!(
                (&variant["status"], &variant["error"]),
                (&"failed".into(), &said.into())
            );
        }
        let jobs = attachment["jobs"].as_array().unwrap();
        let job = jobs
            .iter()
            .find(|job| job["kind"] == "process_image")
            .unwrap();
        assert_eq!(
            (&job["status"], &job["attempt"]),
            (&"failed".into(), &1.into())
        );
        assert_eq!(job["error"], said);
    }
    // The broken one is not read either.
    app.expect_failed(3);
    app.finish().await;
}

#[tokio::test]
async fn drawings_and_bombs_are_refused_at_the_door() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let drawing = "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let refused = ana.upload("x.svg", drawing, &[]).await;
    let problem = refused.expect_problem(415, "unsupported_media_type");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("image/svg+xml") && detail.contains("PNG"),
        "{detail}"
    );
    let mut bomb = animation(u16::MAX, 1);
    let refused = ana.upload("x.gif", bomb.clone(), &[]).await;
    refused.expect_problem(422, "image_too_large");
    // A frame that is larger than its picture says.
    bomb[6..10].copy_from_slice(&[9, 0, 9, 0]);
    let at = bomb.windows(2).position(|part| part == b"\x2c\0").unwrap();
    bomb[at + 5..at + 9].copy_from_slice(&[0xff; 4]);
    let created = ana.upload("x.gif", bomb, &[]).await.expect(201);
    app.run_jobs().await;
    let attachment = get(&ana, created["attachment"]["id"].as_str().unwrap()).await;
    for part in ["image", "ocr"] {
        assert_eq!(attachment[part]["status"], "failed", "{attachment}");
    }
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing_processing() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    let job = get(&ana, &id).await["jobs"][1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    ana.post(&format!("/api/v1/jobs/{job}/cancel"))
        .await
        .expect(200);
    let cancelled = get(&ana, &id).await;
    assert_eq!(cancelled["image"]["status"], "cancelled");
    assert_eq!(named(&cancelled, "display")["status"], "cancelled");
    ana.post(&format!("/api/v1/jobs/{job}/retry"))
        .await
        .expect(200);
    let again = get(&ana, &id).await;
    assert_eq!(again["image"]["status"], "processing");
    assert_eq!(named(&again, "display")["status"], "processing");
    app.run_jobs().await;
    let done = get(&ana, &id).await;
    assert_eq!(done["image"]["status"], "succeeded");
    assert_eq!(named(&done, "display")["status"], "succeeded");
    app.finish().await;
}

#[tokio::test]
async fn the_same_request_is_the_same_variant() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana.upload("scan.jpg", phone_photo(), &[]).await.expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    let path = path(id);
    let body =
        json!({ "resize": { "width": 200, "height": 100, "fit": "cover" }, "format": "png" });
    let asked = ana.post_json(&path, body.clone()).await.expect(202);
    let variant = &asked["variant"];
    assert_eq!(
        (&variant["status"], &variant["name"]),
        (&"processing".into(), &Value::Null)
    );
    assert_eq!(variant["request"]["format"], "png");
    assert_eq!(asked["job"]["kind"], "make_variant");
    let again = ana.post_json(&path, body.clone()).await.expect(202);
    assert_eq!(again["variant"]["id"], variant["id"]);
    assert_eq!(again["job"]["id"], asked["job"]["id"]);
    app.run_jobs().await;

    let made = ana.post_json(&path, body).await.expect(200);
    assert!(made["job"].is_null());
    let variant = &made["variant"];
    assert_eq!(variant["id"], asked["variant"]["id"]);
    assert_eq!(variant["mediaType"], "image/png");
    assert_eq!(
        (&variant["width"], &variant["height"]),
        (&200.into(), &100.into())
    );
    let (_, file) = bytes(&app.anonymous(), &variant["url"]).await;
    assert!(file.starts_with(b"\x89PNG") && !holds_secret(&file));
    let other = json!({ "quality": 30 });
    let other = ana.post_json(&path, other).await.expect(202);
    assert_ne!(other["variant"]["id"], variant["id"]);
    assert_eq!(
        other["variant"]["request"],
        json!({ "format": "jpeg", "quality": 30 })
    );
    app.run_jobs().await;

    let list = ana.get(&format!("{path}?limit=2")).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    let cursor = list["pagination"]["nextCursor"].as_str().unwrap();
    let rest = ana
        .get(&format!("{path}?limit=9&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(rest["data"].as_array().unwrap().len(), 3);
    let whole = get(&ana, id).await;
    assert_eq!(whole["variants"].as_array().unwrap().len(), 5);
    assert_eq!(whole["jobs"].as_array().unwrap().len(), 4);
    let kept = objects(&app).await.len();
    let gone = format!("{path}/{}", variant["id"].as_str().unwrap());
    ana.delete(&gone).await.expect(204);
    ana.get(&gone).await.expect_problem(404, "not_found");
    ana.delete(&gone).await.expect_problem(404, "not_found");
    let url = path_of(&variant["url"]);
    app.anonymous()
        .get(&url)
        .await
        .expect_problem(404, "not_found");
    app.run_jobs().await;
    assert_eq!(objects(&app).await.len(), kept - 1);
    app.finish().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    app.run_jobs().await;
    let path = path(&id);
    for (body, pointers) in [
        (json!({}), &[""][..]),
        (
            json!({ "quality": 101, "format": "tiff" }),
            &["/format", "/quality"],
        ),
        (
            json!({ "crop": { "x": 0, "y": 0, "width": 30_000, "height": 1 } }),
            &["/crop"],
        ),
        (
            json!({ "resize": { "fit": "cover", "width": 10 } }),
            &["/resize/height"],
        ),
        (json!({ "resize": { "width": "10" } }), &["/resize/width"]),
        (
            json!({ "watermark": { "text": "a\u{0}b" } }),
            &["/watermark/text"],
        ),
        (json!({ "rotate": 90 }), &["/rotate"]),
    ] {
        let bad = ana.post_json(&path, body).await;
        assert_eq!(bad.expect_bad_fields(), pointers);
    }
    let sound = upload(&ana, "tone.wav", &[]).await;
    let png = json!({ "format": "png" });
    let of_sound = format!("/api/v1/attachments/{sound}/variants");
    ana.post_json(&of_sound, png.clone())
        .await
        .expect_problem(409, "not_a_picture");
    assert_eq!(ana.get(&of_sound).await.expect(200)["data"], json!([]));
    ben.post_json(&path, png.clone())
        .await
        .expect_problem(404, "not_found");
    app.anonymous()
        .post_json(&path, png.clone())
        .await
        .expect_problem(401, "unauthenticated");
    let standard = get(&ana, &id).await["variants"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    ana.delete(&format!("{path}/{standard}"))
        .await
        .expect_problem(409, "standard_variant");
    // Of another attachment it is not.
    let other = upload(&ana, "two-lines.jpg", &[]).await;
    ana.get(&format!("/api/v1/attachments/{other}/variants/{standard}"))
        .await
        .expect_problem(404, "not_found");
    sqlx::query(
        "INSERT INTO image_variants (id, attachment_id, fingerprint, job_id, status, created_at)
         SELECT gen_random_uuid(), $1::uuid, int4send(n), gen_random_uuid(), 'failed', now() FROM generate_series(1, 50) n",
    )
    .bind(&id)
    .execute(app.database.pool())
    .await
    .unwrap();
    ana.post_json(&path, png)
        .await
        .expect_problem(409, "variant_limit");
    app.run_jobs().await;
    // Nobody speaks in the tone.
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_variant_that_failed_is_tried_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    // Nobody knows yet how large it is when it is upright.
    let body = json!({ "crop": { "x": 0, "y": 0, "width": 30_000, "height": 1 } });
    let asked = ana.post_json(&path(&id), body).await.expect(202);
    app.run_jobs().await;
    let one = format!("{}/{}", path(&id), asked["variant"]["id"].as_str().unwrap());
    let failed = ana.get(&one).await.expect(200);
    assert_eq!(failed["status"], "failed");
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.starts_with("the crop goes beyond the upright picture"),
        "{error}"
    );
    assert!(failed["url"].is_null());
    // As if a worker of yesterday had failed on what is fine.
    sqlx::query("UPDATE image_variants SET recipe = '{\"format\": \"webp\", \"quality\": 10}', fingerprint = $1 WHERE name IS NULL")
        .bind(
            shared::picture::Recipe {
                crop: None,
                resize: None,
                watermark: None,
                format: shared::picture::Format::Webp,
                quality: Some(10),
            }
            .fingerprint()
            .to_vec(),
        )
        .execute(app.database.pool())
        .await
        .unwrap();
    let fine = json!({ "format": "webp", "quality": 10 });
    let again = ana.post_json(&path(&id), fine).await.expect(202);
    assert_eq!(again["variant"]["id"], asked["variant"]["id"]);
    assert_ne!(again["job"]["id"], asked["job"]["id"]);
    assert!(again["variant"]["error"].is_null());
    app.run_jobs().await;
    assert_eq!(ana.get(&one).await.expect(200)["status"], "succeeded");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_variant_that_waits_goes_with_its_job() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    let asked = ana
        .post_json(&path(&id), json!({ "format": "avif" }))
        .await
        .expect(202);
    let one = format!("{}/{}", path(&id), asked["variant"]["id"].as_str().unwrap());
    ana.delete(&one).await.expect(204);
    let job = format!("/api/v1/jobs/{}", asked["job"]["id"].as_str().unwrap());
    assert_eq!(ana.get(&job).await.expect(200)["status"], "cancelled");
    app.run_jobs().await;
    ana.get(&one).await.expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_run_that_lost_its_job_leaves_no_object() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let bytes = picture("english-scan.png");
    let created = ana.upload("scan.png", bytes, &[]).await.expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    // The attachment goes while its job waits.
    ana.delete(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(204);
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    let pending: i64 = sqlx::query_scalar("SELECT count(*) FROM pending_objects")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(pending, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_watermark_can_be_read_in_any_script() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let paper = image::GrayImage::from_pixel(1_600, 300, image::Luma([255]));
    let mut file = std::io::Cursor::new(Vec::new());
    paper.write_to(&mut file, image::ImageFormat::Png).unwrap();
    let created = ana
        .upload("paper.png", file.into_inner(), &[])
        .await
        .expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    app.run_jobs().await;
    for (language, text) in [
        ("ur", "لائبریری ہفتے کو صبح کھلتی ہے"),
        ("hi", "पुस्तकालय शनिवार को खुलता है"),
        ("bn", "গ্রন্থাগার শনিবার সকালে খোলে"),
        ("en", "The library opens on Saturday"),
    ] {
        let watermark = json!({ "text": text, "position": "center", "opacity": 100, "size": 25, "color": "#000000" });
        let body = json!({ "watermark": watermark, "format": "png" });
        let asked = ana.post_json(&path(id), body).await.expect(202);
        app.run_jobs().await;
        let one = format!("{}/{}", path(id), asked["variant"]["id"].as_str().unwrap());
        let made = ana.get(&one).await.expect(200);
        assert_eq!(made["status"], "succeeded", "{made}");
        let (_, marked) = bytes(&ana, &made["url"]).await;
        let read = ana
            .upload("marked.png", marked, &[("language", language)])
            .await;
        let read = read.expect(201)["attachment"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        app.run_jobs().await;
        let read = get(&ana, &read).await;
        let said = read["extractedText"].as_str().unwrap();
        let rate = tests::text::error_rate(said, text);
        assert!(rate < 0.1, "{language}: {rate}\n{said}");
    }
    // A letter of a private use area.
    let body = json!({ "watermark": { "text": "ok \u{10fffd}" } });
    let asked = ana.post_json(&path(id), body).await.expect(202);
    app.run_jobs().await;
    let one = format!("{}/{}", path(id), asked["variant"]["id"].as_str().unwrap());
    let error = ana.get(&one).await.expect(200)["error"].clone();
    assert!(
        error
            .as_str()
            .unwrap()
            .starts_with("no font of this server has"),
        "{error}"
    );
    app.expect_failed(1);
    app.finish().await;
}
