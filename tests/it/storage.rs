//! The stores: what holds for all, and what only a bucket can do.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt as _;
use shared::{
    clients::storage::{Error, Kind, Shown, Storage, Upload},
    config::{CommonArgs, Problems},
    keyring::sha256,
};
use tests::{Options, TestApp, eventually, fixture};

use crate::s3_server::S3Server;

pub(crate) const MEBIBYTE: usize = 1024 * 1024;
pub(crate) const SHOWN: Shown<'static> = Shown {
    media_type: "image/png",
    disposition: "attachment; filename=\"a b&c.png\"; filename*=UTF-8''a%20b%26c.png",
    file_name: "a b&c.png",
};

pub(crate) fn open(storage_url: String) -> Storage {
    let args = CommonArgs {
        database_url: Some("postgres://h/d".to_owned()),
        redis_url: Some("redis://h".to_owned()),
        secret_key: Some(tests::SECRET_KEY.to_owned()),
        storage_url: Some(storage_url),
        ..CommonArgs::default()
    };
    let mut problems = Problems::default();
    let config = args.check(&mut problems);
    Storage::open(&problems.finish(config).unwrap().storage).unwrap()
}

/// Bytes that are not all the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let seeds = (0u32..).flat_map(|number| sha256(&number.to_be_bytes()));
    seeds.take(length).collect()
}

/// Begins an object, and sends some of its bytes.
pub(crate) async fn begin(storage: &Storage, key: &str, bytes: &[u8]) -> Upload {
    let mut upload = storage.upload(key, "image/png").await.unwrap();
    for piece in bytes.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    upload
}

pub(crate) async fn put(storage: &Storage, bytes: &[u8]) -> String {
    let key = storage.random_key(Kind::Image);
    let upload = begin(storage, &key, bytes).await;
    upload.finish().await.unwrap().keep();
    key
}

pub(crate) async fn read(storage: &Storage, key: &str, range: Range<u64>) -> Vec<u8> {
    let pieces = storage.stream(key, range).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    pieces.concat()
}

/// The path of our own URL of an attachment, good for a minute.
pub(crate) fn signed_path(app: &TestApp, id: &str) -> String {
    let expires = app.clock.now().timestamp() + 60;
    let message = format!("attachments/{id}\n{expires}");
    let keyring = &app.context.keyring;
    let signature = hex::encode(keyring.sign("download-url", message.as_bytes()));
    format!("/api/v1/attachments/{id}/content?exp={expires}&sig={signature}")
}

pub(crate) async fn status(url: &str) -> u16 {
    reqwest::get(url).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn an_object_of_many_parts_comes_back_whole_and_in_part() {
    let server = S3Server::start().await;
    let storage = open(server.url());
    let bytes = noise(20 * MEBIBYTE + 7);
    let length = bytes.len() as u64;
    let key = put(&storage, &bytes).await;
    assert!(storage.read(&key).await.unwrap() == bytes);
    for range in [0..length, 0..1, length - 1..length, 5_242_870..5_242_890] {
        let part = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(
            read(&storage, &key, range.clone()).await == bytes[part],
            "{range:?}"
        );
    }
    assert_eq!(server.content_type(&key), "image/png");
    assert_eq!((server.unfinished(), server.parts()), (0, 0));
    let listed: Vec<_> = storage.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].size_bytes), (&key, length));
    assert!(listed[0].modified.is_some());
    for _ in 0..2 {
        storage.delete(&key).await.unwrap();
    }
    assert!(!storage.exists(&key).await.unwrap());
    assert!(matches!(
        storage.stream(&key, 0..1).await.err(),
        Some(Error::NotFound)
    ));
}

#[tokio::test]
async fn a_bucket_lists_in_the_order_of_keys_page_by_page() {
    let server = S3Server::start().await;
    let storage = open(server.url());
    let mut keys: Vec<String> = (0..1_500)
        .map(|_| storage.random_key(Kind::Image))
        .collect();
    for key in &keys {
        let file = server.bucket().join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    keys.sort();
    let listed: Vec<_> = storage.list().try_collect().await.unwrap();
    let listed: Vec<String> = listed.into_iter().map(|object| object.key).collect();
    assert!(listed == keys);
}

#[tokio::test]
async fn a_presigned_url_is_good_for_its_object_and_time() {
    let server = S3Server::start().await;
    let storage = open(server.url());
    let (key, other) = (put(&storage, b"one").await, put(&storage, b"two").await);
    let hour = Duration::from_hours(1);
    let url = storage.url(&key, SHOWN, hour).await.unwrap().unwrap();
    let reply = reqwest::get(&url).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], SHOWN.media_type);
    assert_eq!(reply.headers()["content-disposition"], SHOWN.disposition);
    assert_eq!(reply.bytes().await.unwrap(), "one");
    let part = reqwest::Client::builder().build().unwrap().get(&url);
    let part = part.header("range", "bytes=1-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), "ne");

    let (rest, signature) = url.split_once("X-Amz-Signature=").unwrap();
    let flipped = if signature.starts_with('0') { '1' } else { '0' };
    for (what, url) in [
        ("another object", url.replace(&key, &other)),
        (
            "another type",
            url.replace("image%2Fpng", "text%2Fhtml")
                .replace("image/png", "text/html"),
        ),
        (
            "another time",
            url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
        ),
        (
            "another signature",
            format!("{rest}X-Amz-Signature={flipped}{}", &signature[1..]),
        ),
        ("no signature", format!("{rest}X-Amz-Signature=")),
    ] {
        let status = status(&url).await;
        assert!(matches!(status, 400 | 403), "{what}: {status}");
        if what != "no signature" {
            assert_eq!(status, 403, "{what}");
        }
    }
    // Its time is told in whole seconds.
    let short = storage.url(&key, SHOWN, Duration::from_secs(3)).await;
    let short = short.unwrap().unwrap();
    assert_eq!(status(&short).await, 200);
    eventually("it is not good any more", || async {
        status(&short).await == 403
    })
    .await;
    storage.delete(&key).await.unwrap();
    assert_eq!(status(&url).await, 404);
}

#[tokio::test]
async fn wrong_credentials_are_told_clearly() {
    let server = S3Server::start().await;
    let key = put(&open(server.url()), b"one").await;
    let storage = open(server.url_with_secret("wrong"));
    let mut refused = vec![
        storage.read(&key).await.err(),
        storage.delete(&key).await.err(),
        storage.discard(&key).await.err(),
        storage.list().try_next().await.err(),
    ];
    let mut upload = storage.upload(&key, "image/png").await.unwrap();
    upload.write(Bytes::from_static(b"two")).await.unwrap();
    refused.push(upload.finish().await.err());
    for error in refused {
        assert!(matches!(error, Some(Error::Denied(_))), "{error:?}");
        let told = format!("{:#}", anyhow::Error::from(error.unwrap()));
        assert!(told.contains("refuses our credentials"), "{told}");
        assert!(!told.contains("wrong"), "the secret is told: {told}");
    }
    let url = storage.url(&key, SHOWN, Duration::from_hours(1)).await;
    assert_eq!(status(&url.unwrap().unwrap()).await, 403);
    assert!(open(server.url()).exists(&key).await.unwrap());
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_is_asked_again() {
    let server = S3Server::start().await;
    let storage = open(server.url());
    let key = put(&storage, b"one").await;
    server.go_down();
    let (read, ()) = tokio::join!(storage.read(&key), async {
        eventually("it was asked", || async { server.asked_while_down() > 0 }).await;
        server.come_back();
    });
    assert_eq!(read.unwrap(), "one");
    server.go_down();
    assert!(matches!(storage.read(&key).await, Err(Error::Failed(_))));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_no_part() {
    let server = S3Server::start().await;
    let storage = open(server.url());
    let key = storage.random_key(Kind::Image);
    let upload = begin(&storage, &key, &noise(12 * MEBIBYTE)).await;
    assert_eq!(server.unfinished(), 1);
    drop(upload);
    eventually("no part is left", || async {
        (server.unfinished(), server.parts()) == (0, 0)
    })
    .await;

    // The same while it waits for the store, as when a client goes away.
    let mut upload = begin(&storage, &key, &noise(6 * MEBIBYTE)).await;
    server.stall_parts();
    let more = Bytes::from(noise(20 * MEBIBYTE));
    let write = tokio::time::timeout(Duration::from_secs(1), upload.write(more));
    assert!(write.await.is_err(), "the store was to stall");
    assert_eq!(server.unfinished(), 1);
    drop(upload);
    server.come_back();
    eventually("no part is left", || async {
        (server.unfinished(), server.parts()) == (0, 0)
    })
    .await;
    assert!(!storage.exists(&key).await.unwrap());

    // A finished one that nobody keeps.
    let upload = begin(&storage, &key, b"one").await;
    drop(upload.finish().await.unwrap());
    eventually("no object is left", || async {
        !storage.exists(&key).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn an_upload_is_read_and_downloaded_over_s3() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        live: true,
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let worker = app.start_worker();
    let created = ana
        .upload("a b&c.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    let path = format!("/api/v1/attachments/{id}");
    eventually("it is read", || async {
        ana.get(&path).await.expect(200)["ocr"]["status"] == "succeeded"
    })
    .await;
    let attachment = ana.get(&path).await.expect(200);
    assert!(
        attachment["extractedText"]
            .as_str()
            .unwrap()
            .contains("4711")
    );

    let url = attachment["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1"), "{url}");
    let reply = reqwest::get(url).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "image/jpeg");
    assert_eq!(
        reply.headers()["content-disposition"],
        "attachment; filename=\"a b&c.jpg\"; filename*=UTF-8''a%20b%26c.jpg"
    );
    assert_eq!(reply.bytes().await.unwrap(), fixture("two-lines.jpg"));

    assert_eq!(ana.delete(&path).await.status, 204);
    eventually("the object is gone", || async { status(url).await == 404 }).await;
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn our_own_url_gives_out_a_part_of_an_object_in_a_bucket() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let created = ana
        .upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    // As it was given out before the deployment moved to a bucket.
    let path = signed_path(&app, id);
    let get = || app.anonymous().request(reqwest::Method::GET, &path);
    let reply = get().header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(reply.status(), 206);
    assert_eq!(
        reply.bytes().await.unwrap(),
        fixture("two-lines.jpg")[10..20]
    );
    server.go_down();
    let reply = get().send().await.unwrap();
    tests::Reply::of(reply)
        .await
        .expect_problem(503, "unavailable");
    server.come_back();
    ana.delete(&format!("/api/v1/attachments/{id}")).await;
    app.run_jobs().await;
    app.finish().await;
}
