//! The store that is an account at Cloudinary, over a fake that checks its signatures.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt as _;
use shared::clients::storage::{Error, Kind, Storage};
use tests::{eventually, fakes::cloudinary::Cloudinary};

use crate::storage::{MEBIBYTE, SHOWN, begin, noise, open, put, read, status};

const HOUR: Duration = Duration::from_hours(1);

async fn put_as(storage: &Storage, kind: Kind, bytes: &[u8]) -> String {
    let key = storage.random_key(kind);
    let upload = begin(storage, &key, bytes).await;
    upload.finish().await.unwrap().keep();
    key
}

#[tokio::test]
async fn an_object_of_many_parts_comes_back_whole_and_in_part() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    let bytes = noise(13 * MEBIBYTE + 7);
    let length = bytes.len() as u64;
    let key = put(&storage, &bytes).await;
    assert_eq!(server.unfinished(), 0);
    for ignores_ranges in [false, true] {
        if ignores_ranges {
            server.ignore_ranges();
        }
        assert!(storage.read(&key).await.unwrap() == bytes);
        for range in [0..length, 0..1, length - 1..length, 6_291_450..6_291_470] {
            let part = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert!(
                read(&storage, &key, range.clone()).await == bytes[part],
                "{range:?}, ranges ignored: {ignores_ranges}"
            );
        }
    }
    for _ in 0..2 {
        storage.delete(&key).await.unwrap();
    }
    assert!(!storage.exists(&key).await.unwrap());
    assert!(matches!(storage.read(&key).await, Err(Error::NotFound)));
    assert!(matches!(
        storage.stream(&key, 0..1).await.err(),
        Some(Error::NotFound)
    ));
}

#[tokio::test]
async fn what_an_account_gives_another_name_is_refused_and_removed() {
    let server = Cloudinary::start().await;
    server.rename_uploads();
    let storage = open(server.url());
    for kind in [Kind::Image, Kind::Audio] {
        let key = storage.random_key(kind);
        let refused = begin(&storage, &key, b"one").await.finish().await;
        let error = format!("{:?}", refused.err().unwrap());
        assert!(error.contains("default upload preset"), "{error}");
        assert_eq!(server.objects(), 0);
    }
}

/// The last part has to say that it is the last: what ends with a part is held back until then.
#[tokio::test]
async fn an_object_may_be_as_long_as_its_parts() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    for length in [1, 6 * MEBIBYTE, 6 * MEBIBYTE + 1, 12 * MEBIBYTE] {
        let bytes = noise(length);
        let key = storage.random_key(Kind::Audio);
        let mut upload = storage.upload(&key, "audio/mpeg").await.unwrap();
        upload.write(Bytes::from(bytes.clone())).await.unwrap();
        upload.finish().await.unwrap().keep();
        let (_, stored) = server.object(&key).unwrap();
        assert!(stored.bytes == bytes, "{length}");
    }
}

#[tokio::test]
async fn each_kind_has_its_folder_and_only_pictures_are_made_smaller() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    for (kind, folder, kept) in [
        (Kind::Audio, "baatcheet/audio", "raw"),
        (Kind::Document, "baatcheet/documents", "raw"),
        (Kind::Export, "baatcheet/exports", "raw"),
        (Kind::Image, "baatcheet/images", "image"),
        (Kind::Video, "baatcheet/videos", "video"),
    ] {
        let key = put_as(&storage, kind, b"one").await;
        let (as_what, stored) = server.object(&key).unwrap();
        assert_eq!(as_what, kept);
        let given = |name: &str| stored.parameters.get(name).map(String::as_str);
        assert_eq!(given("asset_folder"), Some(folder));
        assert_eq!(given("type"), Some("authenticated"));
        let limit = (kind == Kind::Image).then_some("c_limit,h_1920,w_1920");
        assert_eq!(given("eager"), limit);
        assert_eq!(given("transformation"), None, "the object would be changed");
        assert_eq!(storage.read(&key).await.unwrap(), "one");
        let preview = storage.preview_url(&key, HOUR).await.unwrap();
        assert_eq!(preview.is_some(), kind == Kind::Image);
        if let Some(preview) = preview {
            let preview = reqwest::get(preview).await.unwrap();
            assert_eq!(preview.bytes().await.unwrap(), "made of it");
        }
        storage.delete(&key).await.unwrap();
        assert!(server.object(&key).is_none(), "{key}");
    }
    // As it was called in another store.
    server.put("objects/ab/abc", b"moved here", HOUR);
    let moved = storage.read("objects/ab/abc").await.unwrap();
    assert_eq!(moved, "moved here");
}

#[tokio::test]
async fn an_account_lists_in_the_order_of_keys_page_by_page() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    let kinds = [Kind::Image, Kind::Audio, Kind::Export, Kind::Document];
    let mut keys: Vec<String> = kinds
        .into_iter()
        .cycle()
        .take(2_400)
        .map(|kind| storage.random_key(kind))
        .chain(["objects/ab/abc".to_owned()])
        .collect();
    for key in &keys {
        server.put(key, b"four", HOUR);
    }
    server.put("somebody/elses", b"x", HOUR);
    keys.sort();
    let asked = server.asked();
    let listed: Vec<_> = storage.list().try_collect().await.unwrap();
    // 600 of each kind are two pages.
    assert_eq!(server.asked() - asked, 4 * 2 + 2);
    assert!(
        listed
            .iter()
            .all(|object| object.size_bytes == 4 && object.modified.is_some())
    );
    let listed: Vec<String> = listed.into_iter().map(|object| object.key).collect();
    assert!(listed == keys);
}

#[tokio::test]
async fn a_download_url_is_good_for_its_object_and_time() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    let (key, other) = (put(&storage, b"one").await, put(&storage, b"two").await);
    let url = storage.url(&key, SHOWN, HOUR).await.unwrap().unwrap();
    let reply = reqwest::get(&url).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(
        reply.headers()["content-disposition"],
        "attachment; filename=\"a b_c.png\""
    );
    assert_eq!(reply.bytes().await.unwrap(), "one");

    let parsed: url::Url = url.parse().unwrap();
    let (id, other_id) = (key.replace('/', "%2F"), other.replace('/', "%2F"));
    let (_, expires) = parsed
        .query_pairs()
        .find(|(name, _)| name == "expires_at")
        .unwrap();
    let later: i64 = expires.parse::<i64>().unwrap() + 1;
    let (_, signature) = parsed
        .query_pairs()
        .find(|(name, _)| name == "signature")
        .unwrap();
    for (what, url) in [
        ("another object", url.replace(&id, &other_id)),
        ("another time", url.replace(&*expires, &later.to_string())),
        (
            "another name",
            url.replace("target_filename=", "target_filename=x"),
        ),
        ("no signature", url.replace(&*signature, "")),
        (
            "a wider one",
            url.replace("type=authenticated", "type=upload"),
        ),
    ] {
        assert_eq!(status(&url).await, 401, "{what}: {url}");
    }
    let short = storage.url(&key, SHOWN, Duration::from_secs(2)).await;
    let short = short.unwrap().unwrap();
    assert_eq!(status(&short).await, 200);
    eventually("it is not good any more", || async {
        status(&short).await == 401
    })
    .await;
    storage.delete(&key).await.unwrap();
    assert_eq!(status(&url).await, 404);
}

#[tokio::test]
async fn wrong_credentials_are_told_clearly() {
    let server = Cloudinary::start().await;
    let key = put(&open(server.url()), b"one").await;
    let storage = open(server.url_with_secret("wrong"));
    let mut refused = vec![
        storage.read(&key).await.err(),
        storage.exists(&key).await.err(),
        storage.stream(&key, 0..1).await.err(),
        storage.delete(&key).await.err(),
        storage.discard(&key).await.err(),
        storage.identity().await.err(),
        storage.list().try_next().await.err(),
    ];
    let upload = begin(&storage, &key, b"two").await;
    refused.push(upload.finish().await.err());
    for error in refused {
        assert!(matches!(error, Some(Error::Denied(_))), "{error:?}");
        let told = format!("{:#}", anyhow::Error::from(error.unwrap()));
        assert!(told.contains("refuses our credentials"), "{told}");
        assert!(!told.contains("wrong"), "the secret is told: {told}");
    }
    let url = storage.url(&key, SHOWN, HOUR).await.unwrap().unwrap();
    assert_eq!(status(&url).await, 401);
    assert!(open(server.url()).exists(&key).await.unwrap());
    let identity = open(server.url()).identity().await.unwrap();
    assert!(identity.ends_with("/v1_1/demo"), "{identity}");
}

/// Some accounts take nothing else.
#[tokio::test]
async fn a_newer_signature_may_be_chosen() {
    let server = Cloudinary::start().await;
    let storage = open(format!("{}&signature_algorithm=sha256", server.url()));
    let key = put(&storage, b"one").await;
    assert_eq!(storage.read(&key).await.unwrap(), "one");
    let url = storage.url(&key, SHOWN, HOUR).await.unwrap().unwrap();
    let (_, signature) = url.split_once("signature=").unwrap();
    assert_eq!(signature.split('&').next().unwrap().len(), 64);
    assert_eq!(status(&url).await, 200);
}

#[tokio::test]
async fn an_account_that_is_away_for_a_moment_is_asked_again() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    let key = put(&storage, b"one").await;
    server.go_down();
    let (read, ()) = tokio::join!(storage.read(&key), async {
        eventually("it was asked", || async { server.asked_while_down() > 0 }).await;
        server.come_back();
    });
    assert_eq!(read.unwrap(), "one");
    server.go_down();
    let upload = begin(&storage, &storage.random_key(Kind::Image), b"two").await;
    let refused = upload.finish().await.err();
    assert!(matches!(refused, Some(Error::Failed(_))), "{refused:?}");
    server.come_back();
    let asked = server.asked();
    eventually("it is tidied up", || async { server.asked() > asked }).await;

    // Too many calls: it says when to come back.
    for status in [420, 429] {
        let (asked, begun) = (server.asked(), Instant::now());
        server.answers_next(status, Some("1"));
        assert!(storage.exists(&key).await.unwrap());
        assert_eq!(server.asked() - asked, 2);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        let asked = server.asked();
        server.answers_next(status, Some("1800"));
        let refused = storage.exists(&key).await;
        assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
        assert_eq!(server.asked() - asked, 1, "it wanted to be left alone");
    }
}

#[tokio::test]
async fn what_breaks_off_is_read_on_from_there() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    let bytes = noise(MEBIBYTE);
    let key = put(&storage, &bytes).await;
    for ignores_ranges in [false, true] {
        if ignores_ranges {
            server.ignore_ranges();
        }
        let asked = server.asked();
        server.breaks_off_after(300_000);
        let part = read(&storage, &key, 7..1_000_000).await;
        assert!(part == bytes[7..1_000_000]);
        assert_eq!(server.asked() - asked, 2);
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_no_object() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    let key = storage.random_key(Kind::Image);
    let upload = begin(&storage, &key, &noise(13 * MEBIBYTE)).await;
    assert_eq!(server.unfinished(), 1);
    let asked = server.asked();
    drop(upload);
    assert_eq!((server.objects(), server.asked()), (0, asked));

    // The same while it waits for the answer to the last part, as when a client goes away: nobody knows whether it came.
    let upload = begin(&storage, &key, b"one").await;
    server.stall_uploads();
    let finish = tokio::time::timeout(Duration::from_secs(1), upload.finish());
    assert!(finish.await.is_err(), "the account was to stall");
    server.put(&key, b"it came", HOUR);
    server.come_back();
    eventually("no object is left", || async { server.objects() == 0 }).await;

    // A finished one that nobody keeps.
    let upload = begin(&storage, &key, b"one").await;
    drop(upload.finish().await.unwrap());
    eventually("no object is left", || async { server.objects() == 0 }).await;
}

#[tokio::test]
async fn what_the_account_does_not_take_is_refused_at_once() {
    let server = Cloudinary::start().await;
    let storage = open(server.url());
    server.limit(1000);
    let key = storage.random_key(Kind::Image);
    let upload = begin(&storage, &key, &noise(1001)).await;
    let asked = server.asked();
    let refused = upload.finish().await.err();
    assert!(matches!(refused, Some(Error::Refused(_))), "{refused:?}");
    let told = format!("{:#}", anyhow::Error::from(refused.unwrap()));
    assert!(told.contains("Maximum is 1000"), "{told}");
    eventually("it was tidied up", || async {
        server.asked() - asked == 2 && server.objects() == 0
    })
    .await;
}
