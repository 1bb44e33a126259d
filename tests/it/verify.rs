//! `baatcheet-worker storage`: the real program over all stores.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use shared::clients::storage::{Kind, Storage};
use tests::{
    Options, TestApp,
    fakes::cloudinary::Cloudinary,
    fixture,
    process::{Process, program},
};

use crate::{deletions::objects, s3_server::S3Server, storage::MEBIBYTE};

/// Runs the program, and gives its exit code and the lines of JSON that it printed.
async fn run(app: &TestApp, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let environment = app.environment();
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let args: Vec<&str> = ["storage"].iter().chain(args).copied().collect();
    let mut process = Process::start(&program("baatcheet-worker"), &args, &environment);
    let code = process.wait().await;
    // Its last line is read after its end.
    tests::eventually("it has said all", || async {
        process.output().lines().any(|line| {
            line.contains("\"objects\"") || line.contains("mebibytes") || line.contains("\"error\"")
        })
    })
    .await;
    let lines = process
        .output()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    (code, lines)
}

/// The inside of a store.
enum Inside {
    /// Each object is a file.
    Folder(PathBuf),
    Cloudinary(Cloudinary),
}

impl Inside {
    /// Puts an object into the store, past everything of ours.
    fn stray(&self, storage: &Storage, age: Duration) -> String {
        let key = storage.random_key(Kind::Image);
        match self {
            Self::Folder(folder) => {
                let file = folder.join(&key);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, "stray").unwrap();
            }
            Self::Cloudinary(server) => server.put(&key, b"stray", age),
        }
        self.age(&key, age);
        key
    }

    /// Makes an object older.
    fn age(&self, key: &str, age: Duration) {
        match self {
            Self::Folder(folder) => {
                let file = std::fs::File::options().write(true).open(folder.join(key));
                file.unwrap().set_modified(SystemTime::now() - age).unwrap();
            }
            Self::Cloudinary(server) => server.age(key, age),
        }
    }
}

/// The attachment's id, and the key of its object.
async fn upload(app: &TestApp, user: &tests::Actor) -> (String, String) {
    let created = user
        .upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let id = created["attachment"]["id"].as_str().unwrap().to_owned();
    let key = sqlx::query_scalar("SELECT storage_key FROM attachments WHERE id = $1::uuid")
        .bind(&id)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    (id, key)
}

async fn finds_what_has_no_counterpart(app: TestApp, inside: Inside) {
    let verify = ["verify", "--json"];
    let delete = ["verify", "--json", "--delete-orphans"];
    let forgotten = inside.stray(&app.context.storage, Duration::from_hours(25));
    let (code, said) = run(&app, &delete).await;
    assert_eq!(code, Some(2), "an empty database: {said:?}");

    let ana = app.user("ana").await;
    let (_, whole) = upload(&app, &ana).await;
    let (lost, key) = upload(&app, &ana).await;
    app.run_jobs().await;
    let variants: Vec<String> =
        sqlx::query_scalar("SELECT storage_key FROM image_variants WHERE storage_key IS NOT NULL")
            .fetch_all(app.database.pool())
            .await
            .unwrap();
    let young = inside.stray(&app.context.storage, Duration::from_hours(23));
    // About to be deleted, or to become an attachment: these are known.
    let (deleted, leaving) = upload(&app, &ana).await;
    let deleted = ana.delete(&format!("/api/v1/attachments/{deleted}")).await;
    assert_eq!(deleted.status, 204);
    let pending = inside.stray(&app.context.storage, Duration::from_hours(48));
    shared::models::pending_object::begin(&app.context.db, &pending)
        .await
        .unwrap();
    inside.age(&leaving, Duration::from_hours(48));
    app.context.storage.delete(&key).await.unwrap();

    let (code, said) = run(&app, &verify).await;
    assert_eq!(code, Some(1), "{said:?}");
    let (counts, findings) = said.split_last().unwrap();
    assert_eq!(findings.len(), 3, "{findings:?}");
    let of = |key: &String| {
        let found = findings.iter().find(|line| line["key"] == *key);
        found.unwrap_or_else(|| panic!("no {key} in {findings:?}"))
    };
    for (key, hours) in [(&forgotten, 25), (&young, 23)] {
        let orphan = of(key);
        assert_eq!(orphan["finding"], "object_without_row");
        assert_eq!(
            (&orphan["sizeBytes"], &orphan["deleted"]),
            (&5.into(), &false.into())
        );
        let seconds = orphan["ageSeconds"].as_i64().unwrap();
        assert_eq!(seconds / 3600, hours, "{orphan}");
    }
    let row = of(&key);
    assert_eq!(row["finding"], "row_without_object");
    assert_eq!(
        (&row["attachmentId"], &row["key"]),
        (&lost.clone().into(), &key.into())
    );
    assert_eq!(
        (&counts["objects"], &counts["rows"]),
        (&11.into(), &8.into()),
        "each of the two has three variants"
    );

    let (code, said) = run(&app, &delete).await;
    assert_eq!(code, Some(1));
    assert_eq!(said.last().unwrap()["deleted"], 1);
    let mut left = variants;
    left.extend([whole.clone(), young.clone(), leaving, pending]);
    left.sort();
    assert_eq!(objects(&app).await, left);

    ana.delete(&format!("/api/v1/attachments/{lost}")).await;
    app.run_jobs().await;
    app.context.storage.delete(&young).await.unwrap();
    let (code, said) = run(&app, &verify).await;
    assert_eq!(code, Some(0), "{said:?}");
    app.finish().await;
}

#[tokio::test]
async fn what_has_no_counterpart_is_found_in_a_folder() {
    let app = TestApp::spawn().await;
    let folder = app.folder.path().to_owned();
    finds_what_has_no_counterpart(app, Inside::Folder(folder)).await;
}

#[tokio::test]
async fn what_has_no_counterpart_is_found_in_a_bucket() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    finds_what_has_no_counterpart(app, Inside::Folder(server.bucket())).await;
}

#[tokio::test]
async fn what_has_no_counterpart_is_found_at_cloudinary() {
    let server = Cloudinary::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    finds_what_has_no_counterpart(app, Inside::Cloudinary(server)).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_no_finding() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url_with_secret("wrong")),
        ..Options::default()
    })
    .await;
    let (code, said) = run(&app, &["verify"]).await;
    assert_eq!(code, Some(2));
    let error = said.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("refuses our credentials"), "{error}");
    app.finish().await;
}

#[tokio::test]
async fn the_bench_leaves_nothing_behind() {
    let app = TestApp::spawn().await;
    let (code, said) = run(&app, &["bench", "--mebibytes", "20", "--json"]).await;
    assert_eq!(code, Some(0), "{said:?}");
    let figures = said.last().unwrap();
    assert_eq!(figures["mebibytes"], 20);
    assert!(figures["memoryPeakBytes"].as_u64() >= figures["memoryBeforeBytes"].as_u64());
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

/// It waits for parts, of which one is 6 MiB.
#[tokio::test]
async fn an_object_for_cloudinary_is_not_held_in_memory() {
    let server = Cloudinary::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    let (code, said) = run(&app, &["bench", "--mebibytes", "100", "--json"]).await;
    assert_eq!(code, Some(0), "{said:?}");
    let figures = said.last().unwrap();
    let memory = |name: &str| figures[name].as_u64().unwrap();
    let taken = memory("memoryPeakBytes") - memory("memoryBeforeBytes");
    assert!(taken < 32 * MEBIBYTE as u64, "{taken} bytes: {figures}");
    assert_eq!(server.objects(), 0);
    app.finish().await;
}
