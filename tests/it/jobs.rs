//! Jobs as their users see and steer them.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tests::{Actor, Options, TestApp, eventually, fixture, picture, process::RedisServer};

async fn upload(user: &Actor) -> (String, String) {
    let created = user
        .upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let id = |of: &str| created[of]["id"].as_str().unwrap().to_owned();
    (id("attachment"), id("job"))
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_can_be_put_back() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (attachment, job) = upload(&ana).await;
    let (path, attachment) = (
        format!("/api/v1/jobs/{job}"),
        format!("/api/v1/attachments/{attachment}"),
    );
    for _ in 0..2 {
        let cancelled = ana.post(&format!("{path}/cancel")).await.expect(200);
        assert_eq!(cancelled["status"], "cancelled");
    }
    assert_eq!(
        ana.get(&attachment).await.expect(200)["ocr"]["status"],
        "cancelled"
    );
    app.run_jobs().await;
    assert_eq!(
        ana.get(&path).await.expect(200)["attempt"],
        0,
        "a cancelled job ran"
    );

    let again = ana.post(&format!("{path}/retry")).await.expect(200);
    assert_eq!(again["status"], "queued");
    assert_eq!(
        ana.get(&attachment).await.expect(200)["ocr"]["status"],
        "processing"
    );
    ana.post(&format!("{path}/retry"))
        .await
        .expect_problem(409, "job_not_failed");
    app.run_jobs().await;
    assert_eq!(ana.get(&path).await.expect(200)["status"], "succeeded");
    assert_eq!(
        ana.get(&attachment).await.expect(200)["ocr"]["status"],
        "succeeded"
    );
    ana.post(&format!("{path}/cancel"))
        .await
        .expect_problem(409, "job_ended");
    ana.post(&format!("{path}/retry"))
        .await
        .expect_problem(409, "job_not_failed");
    app.finish().await;
}

#[tokio::test]
async fn a_retry_that_waits_shows_as_retrying_and_can_be_cancelled() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (_, job) = upload(&ana).await;
    let path = format!("/api/v1/jobs/{job}");
    // The file is gone, as on a machine that does not see the API's folder.
    let key: String = sqlx::query_scalar("SELECT storage_key FROM attachments")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    app.context.storage.delete(&key).await.unwrap();
    app.run_due_jobs().await;
    let shown = ana.get(&path).await.expect(200);
    assert_eq!(
        (shown["status"].as_str(), shown["attempt"].as_i64()),
        (Some("retrying"), Some(1))
    );
    assert!(shown["error"].as_str().unwrap().contains("storage"));
    assert_eq!(
        ana.get("/api/v1/jobs?status=retrying&queue=ocr")
            .await
            .expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        ana.post(&format!("{path}/cancel")).await.expect(200)["status"],
        "cancelled"
    );
    // Its variants are given up for the same reason.
    app.run_jobs().await;
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_filtered() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(upload(&ana).await.1);
        app.advance(Duration::from_secs(1)).await;
    }
    let list = async |query: &str| -> Vec<String> {
        let page = ana.get(&format!("/api/v1/jobs{query}")).await.expect(200);
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect()
    };
    made.reverse();
    assert_eq!(list("?queue=ocr").await, made);
    assert_eq!(
        list("?queue=ocr&kind=recognize_text&status=queued").await,
        made
    );
    assert!(list("?queue=webhook").await.is_empty());
    assert!(list("?status=failed").await.is_empty());
    let first = ana.get("/api/v1/jobs?limit=2&queue=ocr").await.expect(200);
    assert_eq!(first["pagination"]["hasMore"], true);
    let next = first["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(
        list(&format!("?limit=2&queue=ocr&cursor={next}")).await,
        made[2..]
    );
    ana.get("/api/v1/jobs?status=sleeping&queue=nowhere")
        .await
        .expect_problem(422, "invalid_request");
    app.run_jobs().await;
    app.finish().await;
}

/// The jobs that a stream tells of, to its end.
async fn follow(user: &Actor, job: &str) -> Vec<Value> {
    let response = user
        .request(reqwest::Method::GET, &format!("/api/v1/jobs/{job}/events"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut stream = response.bytes_stream();
    let read = async {
        while let Some(chunk) = stream.next().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    };
    tokio::time::timeout(tests::process::PATIENCE, read)
        .await
        .expect("the stream ends");
    let events = text
        .split("\n\n")
        .filter(|event| event.contains("event: job"));
    let data =
        events.filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn statuses(events: &[Value]) -> Vec<&str> {
    let mut statuses: Vec<&str> = events
        .iter()
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    statuses.dedup();
    statuses
}

#[tokio::test]
async fn a_stream_follows_a_job_from_its_state_to_its_end() {
    for redis_url in [None, Some("redis://127.0.0.1:1".to_owned())] {
        let app = TestApp::with(Options {
            live: true,
            redis_url,
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        let (_, job) = upload(&ana).await;
        let (events, worker) = tokio::join!(follow(&ana, &job), async { app.start_worker() });
        assert_eq!(*statuses(&events).first().unwrap(), "queued");
        assert_eq!(*statuses(&events).last().unwrap(), "succeeded");
        assert_eq!(events.last().unwrap()["progress"], 100);
        assert_eq!(
            statuses(&follow(&ana, &job).await),
            ["succeeded"],
            "an ended job is told once"
        );
        worker.shutdown().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn a_stream_is_told_of_a_shutdown() {
    let mut app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (_, job) = upload(&ana).await;
    let path = format!("/api/v1/jobs/{job}/events");
    let mut stream = ana
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .unwrap()
        .bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: job"));
    assert_eq!(app.stop_api().await, api::Drained::Whole);
    let last = stream.next().await.unwrap().unwrap();
    assert!(last.starts_with(b"event: shutdown"), "{last:?}");
    app.run_jobs().await;
    app.finish().await;
}

/// The Tesseract processes of this machine that read a file of this test's.
fn tesseract_runs() -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .any(|line| line.starts_with(b"tesseract\0") && line.windows(4).any(|part| part == b".pgm"))
}

#[tokio::test]
async fn a_running_job_is_cancelled_with_its_program() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::with(Options {
        live: true,
        redis_url: Some(redis.url()),
        ..Options::default()
    })
    .await;
    let worker = app.start_worker();
    let ana = app.user("ana").await;
    // Noise keeps the engine busy for seconds.
    let noise = noise();
    for with_redis in [true, false] {
        if !with_redis {
            redis.stop().await;
        }
        let created = ana
            .upload("noise.png", noise.clone(), &[])
            .await
            .expect(201);
        let path = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
        eventually("it reads", || async {
            ana.get(&path).await.expect(200)["progress"] == 40
        })
        .await;
        eventually("the program runs", || async { tesseract_runs() }).await;
        let told = ana.post(&format!("{path}/cancel")).await.expect(200);
        assert_eq!(told["status"], "running");
        eventually("it is cancelled", || async {
            ana.get(&path).await.expect(200)["status"] == "cancelled"
        })
        .await;
        eventually("the program is gone", || async { !tesseract_runs() }).await;
        let attachment = format!(
            "/api/v1/attachments/{}",
            created["attachment"]["id"].as_str().unwrap()
        );
        assert_eq!(
            ana.get(&attachment).await.expect(200)["ocr"]["status"],
            "cancelled"
        );
    }
    eventually("the variants are made", || async {
        app.count_live_jobs().await == 0
    })
    .await;
    worker.shutdown().await;
    app.finish().await;
    assert!(!picture("hindi.png").is_empty());
}

/// A picture of 9 million random pixels, which looks like text everywhere.
fn noise() -> Vec<u8> {
    let mut state = 1u32;
    let picture = image::GrayImage::from_fn(3000, 3000, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Luma([if state >> 31 == 0 { 0 } else { 255 }])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}
