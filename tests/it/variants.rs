//! What is made of pictures: the variants that every picture has, and those that are asked for.

use reqwest::Method;
use serde_json::Value;
use shared::keyring::sha256;
use tests::{Actor, TestApp, fixture};

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

pub(crate) fn holds_secret(file: &[u8]) -> bool {
    file.windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes())
}

pub(crate) async fn bytes(user: &Actor, url: &Value) -> (reqwest::header::HeaderMap, Vec<u8>) {
    let response = user.request(Method::GET, &path_of(url)).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    (headers, response.bytes().await.unwrap().to_vec())
}

pub(crate) fn path(id: &str) -> String {
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
