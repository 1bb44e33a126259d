//! The real programs: bad environments, signals, and deaths.

use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tests::{
    Options, TestApp, eventually,
    fakes::receiver::Receiver,
    fixture,
    process::{PostgresServer, Process, free_port, program},
};
use wiremock::ResponseTemplate;

fn start(app: &TestApp, name: &str, more: &[(&str, &str)]) -> Process {
    app.start_program(name, more)
}

async fn start_worker(app: &TestApp, more: &[(&str, &str)]) -> Process {
    let worker = start(app, "baatcheet-worker", more);
    worker.wait_for_line("serving ").await;
    worker
}

/// Lets webhooks wait for a worker: a delivery to each of so many endpoints of a user, as a new one gets one at a time.
async fn deliveries(app: &TestApp, receiver: &Receiver, number: usize) {
    let ana = app.user("ana").await;
    for _ in 0..number {
        ana.webhook(&receiver.url()).await;
    }
    app.ocr_failed(&ana, "for a test").await;
}

#[tokio::test]
async fn a_bad_environment_is_told_whole_and_ends_the_program() {
    for name in ["baatcheet-api", "baatcheet-worker"] {
        let mut process = Process::start(
            &program(name),
            &[],
            &[("SECRET_KEY", "short"), ("LOG_FORMAT", "xml")],
        );
        assert_eq!(process.wait().await, Some(2));
        process.wait_for_line("--help lists them").await;
        let told = process.output();
        for variable in ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "LOG_FORMAT"] {
            assert!(told.contains(variable), "{variable} is missing in {told}");
        }
    }
}

#[tokio::test]
async fn the_api_answers_and_ends_on_sigterm() {
    let app = TestApp::spawn_live().await;
    let port = free_port().to_string();
    let mut api = start(
        &app,
        "baatcheet-api",
        &[("PORT", &port), ("HOST", "127.0.0.1")],
    );
    api.wait_for_line("listening on").await;
    api.wait_for_line("is off (CORS_ORIGINS)").await;
    let mut nobody = app.anonymous();
    nobody.base = format!("http://127.0.0.1:{port}");
    assert_eq!(nobody.get("/api/health/ready").await.status, 200);
    let line = api.wait_for_line("/api/health/ready").await;
    let line: Value = serde_json::from_str(&line).expect("the log is JSON");
    for field in ["requestId", "method", "path", "status", "durationMs", "ip"] {
        assert!(!line[field].is_null(), "{field} is missing in {line}");
    }
    let ana = app.user("ana").await;
    nobody.token = ana.token;
    let id = nobody.get("/api/v1/users/me").await.expect(200)["id"].clone();
    let line = api.wait_for_line("/api/v1/users/me").await;
    let line: Value = serde_json::from_str(&line).expect("the log is JSON");
    assert_eq!(line["userId"], id, "{line}");
    api.signal(Signal::TERM);
    assert_eq!(api.wait().await, Some(0));
    app.finish().await;
}

#[tokio::test]
async fn the_api_is_not_ready_some_seconds_before_it_takes_no_more_requests() {
    let app = TestApp::spawn_live().await;
    let port = free_port().to_string();
    let mut api = start(
        &app,
        "baatcheet-api",
        &[
            ("PORT", &port),
            ("HOST", "127.0.0.1"),
            ("SHUTDOWN_DELAY_SECONDS", "2"),
        ],
    );
    api.wait_for_line("listening on").await;
    let ask = async |path: &str| {
        // Each on a connection of its own, as a router that knows nothing yet would send them.
        let mut nobody = app.anonymous();
        nobody.base = format!("http://127.0.0.1:{port}");
        nobody.get(path).await
    };
    assert_eq!(ask("/api/health/ready").await.status, 200);
    api.signal(Signal::TERM);
    api.wait_for_line("SIGTERM: shutting down").await;
    let ready = ask("/api/health/ready").await;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert_eq!(ready.headers["connection"], "close");
    assert_eq!(ask("/api/health/live").await.status, 200);
    assert_eq!(api.wait().await, Some(0), "{}", api.output());
    app.finish().await;
}

#[tokio::test]
async fn a_worker_finishes_its_jobs_on_sigterm() {
    let app = TestApp::spawn_live().await;
    let slow = ResponseTemplate::new(204).set_delay(Duration::from_secs(1));
    let receiver = Receiver::answering(slow).await;
    let port = free_port().to_string();
    let mut worker = start_worker(&app, &[("WORKER_PORT", &port)]).await;
    worker.wait_for_line("is on (OUTBOUND_ALLOW)").await;
    eventually("the worker is ready", || async {
        let ready = app
            .anonymous()
            .http
            .get(format!("http://127.0.0.1:{port}/ready"))
            .send()
            .await;
        ready.is_ok_and(|reply| reply.status() == 200)
    })
    .await;
    deliveries(&app, &receiver, 2).await;
    eventually("both run", || async {
        app.count_jobs("running").await == 2
    })
    .await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().await, Some(0), "{}", worker.output());
    assert_eq!(app.count_jobs("succeeded").await, 2);
    app.finish().await;
}

#[tokio::test]
async fn a_worker_that_must_give_jobs_back_says_so() {
    let app = TestApp::spawn_live().await;
    let slow = ResponseTemplate::new(204).set_delay(Duration::from_secs(9));
    let receiver = Receiver::answering(slow).await;
    let mut worker = start_worker(&app, &[("JOB_SHUTDOWN_GRACE_SECONDS", "0")]).await;
    deliveries(&app, &receiver, 1).await;
    eventually("it runs", || async { app.count_jobs("running").await == 1 }).await;
    worker.signal(Signal::INT);
    assert_eq!(worker.wait().await, Some(1), "{}", worker.output());
    assert_eq!(
        app.count("SELECT count(*) FROM jobs WHERE state = 'queued' AND attempt = 0")
            .await,
        1
    );
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_worker_looks_for_its_helpers_where_its_own_environment_says() {
    let app = TestApp::spawn_live().await;
    let folder = tempfile::tempdir().unwrap();
    // All that limits a helper, but for what keeps it from the network.
    for tool in ["prlimit", "setpriv", "nice", "true"] {
        let tool_of_system = Path::new("/usr/bin").join(tool);
        symlink(tool_of_system, folder.path().join(tool)).unwrap();
    }
    let reader = folder.path().join("reader");
    let script = "#!/bin/sh\n[ \"$TESSDATA_PREFIX$LD_LIBRARY_PATH\" = /data/libraries ] && printf 'languages:\\neng\\n'\n";
    std::fs::write(&reader, script).unwrap();
    std::fs::set_permissions(&reader, Permissions::from_mode(0o755)).unwrap();
    let mut worker = start(
        &app,
        "baatcheet-worker",
        &[
            ("PATH", folder.path().to_str().unwrap()),
            ("TESSERACT", "reader"),
            ("TESSDATA_PREFIX", "/data"),
            ("LD_LIBRARY_PATH", "/libraries"),
        ],
    );
    worker.wait_for_line("serving ").await;
    for line in [
        "text recognition is on",
        "isolation of helper programs is off (unshare is not installed)",
        "reading of PDFs is off",
    ] {
        worker.wait_for_line(line).await;
    }
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().await, Some(0), "{}", worker.output());
    app.finish().await;
}

#[tokio::test]
async fn a_killed_workers_jobs_are_done_by_the_other() {
    let app = TestApp::spawn_live().await;
    let slow = ResponseTemplate::new(204).set_delay(Duration::from_secs(2));
    let receiver = Receiver::answering(slow).await;
    let short = [
        ("JOB_LEASE_SECONDS", "3"),
        ("WORKER_CONCURRENCY", "webhook=4"),
    ];
    let mut victim = start_worker(&app, &short).await;
    deliveries(&app, &receiver, 8).await;
    eventually("four run", || async {
        app.count_jobs("running").await == 4
    })
    .await;
    let mut heir = start_worker(&app, &short).await;
    victim.signal(Signal::KILL);
    assert_eq!(victim.wait().await, None);
    eventually("all are delivered", || async {
        app.count("SELECT count(*) FROM deliveries WHERE status = 'succeeded'")
            .await
            == 8
    })
    .await;
    assert_eq!(app.count_live_jobs().await, 0);
    assert!(
        app.count("SELECT sum(crash_count) FROM jobs").await >= 1,
        "nobody died"
    );
    assert_eq!(
        app.count("SELECT count(*) FROM delivery_attempts").await,
        8,
        "each effect is stored once"
    );
    heir.signal(Signal::TERM);
    assert_eq!(heir.wait().await, Some(0));
    app.finish().await;
}

#[tokio::test]
async fn what_a_killed_worker_made_of_documents_goes_at_the_next_start() {
    let app = TestApp::spawn_live().await;
    let temporary = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(temporary.path()).unwrap().count();
    let never = temporary.path().join("tesseract");
    let script = "#!/bin/sh\ncase $1 in --list-langs) printf 'List:\\neng\\n' ;; *) exec sleep 600 ;; esac\n";
    std::fs::write(&never, script).unwrap();
    std::fs::set_permissions(&never, std::fs::Permissions::from_mode(0o755)).unwrap();
    let environment = [
        ("TMPDIR", temporary.path().to_str().unwrap()),
        ("TESSERACT", never.to_str().unwrap()),
    ];
    let ana = app.user("ana").await;
    ana.upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let mut victim = start_worker(&app, &environment).await;
    let holds_pictures = || {
        let of_jobs = |folder: std::fs::DirEntry| std::fs::read_dir(folder.path());
        let folders = std::fs::read_dir(temporary.path()).unwrap().flatten();
        let jobs = folders.filter_map(|folder| of_jobs(folder).ok()).flatten();
        jobs.flatten()
            .any(|job| job.path().join("picture.pgm").exists())
    };
    eventually("it is read", || async { holds_pictures() }).await;
    victim.signal(Signal::KILL);
    victim.wait().await;
    assert!(holds_pictures());

    app.forget_jobs().await;
    let mut heir = start_worker(&app, &environment).await;
    assert!(!holds_pictures());
    heir.signal(Signal::TERM);
    assert_eq!(heir.wait().await, Some(0));
    assert_eq!(files(), 1, "the program");
    app.finish().await;
}

#[tokio::test]
async fn a_stopped_and_continued_worker_changes_nothing() {
    let app = TestApp::spawn_live().await;
    let slow = ResponseTemplate::new(204).set_delay(Duration::from_secs(1));
    let receiver = Receiver::answering(slow).await;
    let short = [("JOB_LEASE_SECONDS", "3")];
    let mut zombie = start_worker(&app, &short).await;
    deliveries(&app, &receiver, 1).await;
    eventually("it runs", || async { app.count_jobs("running").await == 1 }).await;
    zombie.signal(Signal::STOP);
    let mut heir = start_worker(&app, &short).await;
    eventually("the other delivered it", || async {
        app.count("SELECT count(*) FROM deliveries WHERE status = 'succeeded'")
            .await
            == 1
    })
    .await;
    let before: String = sqlx::query_scalar("SELECT jobs::text FROM jobs")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    zombie.signal(Signal::CONT);
    zombie.signal(Signal::TERM);
    assert_eq!(zombie.wait().await, Some(0), "{}", zombie.output());
    let after: String = sqlx::query_scalar("SELECT jobs::text FROM jobs")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(before, after);
    assert_eq!(app.count("SELECT count(*) FROM delivery_attempts").await, 1);
    heir.signal(Signal::TERM);
    heir.wait().await;
    app.finish().await;
}

#[tokio::test]
async fn a_restart_of_postgres_loses_nothing_and_logs_nobody_out() {
    let postgres = PostgresServer::start().await;
    let app = TestApp::with(Options {
        live: true,
        postgres_url: Some(postgres.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    ana.webhook(&receiver.url()).await;
    let worker = app.start_worker();
    let job = ana
        .upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201)["job"]["id"]
        .clone();
    eventually("it runs", || async {
        ana.get("/api/v1/jobs").await.expect(200)["data"][0]["status"] != "queued"
    })
    .await;
    postgres.stop().await;
    ana.get("/api/v1/users/me")
        .await
        .expect_problem(503, "unavailable");
    assert_eq!(
        ana.get("/api/health").await.expect(503)["status"],
        "unhealthy"
    );
    assert_eq!(ana.get("/api/health/live").await.status, 200);
    postgres.restart().await;
    let path = format!("/api/v1/jobs/{}", job.as_str().unwrap());
    eventually("it ended", || async {
        let reply = ana.get(&path).await;
        reply.status == 200 && reply.expect(200)["status"] == "succeeded"
    })
    .await;
    eventually("the webhook came", || async {
        receiver.requests().await.len() == 1
    })
    .await;
    eventually("all ended", || async { app.count_live_jobs().await == 0 }).await;
    worker.shutdown().await;
    app.finish().await;
}
