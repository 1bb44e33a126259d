//! Variants that somebody asks for.

use serde_json::{Value, json};
use tests::{TestApp, picture};

use crate::{
    deletions::objects,
    downloads::path_of,
    readings::{get, upload},
    variants::{bytes, holds_secret, path, phone_photo},
};

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
