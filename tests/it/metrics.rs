//! Metrics of both programs.

use std::time::Duration;

use reqwest::Method;
use shared::queue::{Enqueue, figures};
use tests::{
    Actor, Options, TestApp, eventually,
    exposition::{shape, value},
    fixture,
    process::{PostgresServer, free_port},
    work::{self, Act, Effect, What},
};

const METRICS: &str = "/api/metrics";

async fn page(actor: &Actor) -> String {
    let reply = actor.get(METRICS).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(
        reply.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    reply.text
}

async fn worker_page(app: &TestApp) -> String {
    app.context.metrics.render(&app.context.db).await
}

async fn spawn() -> TestApp {
    let app = TestApp::with(Options {
        registry: Some(work::registry()),
        ..Options::default()
    })
    .await;
    work::prepare(&app.database).await;
    app
}

#[tokio::test]
async fn requests_are_counted_by_template_and_status() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = uuid::Uuid::new_v4();
    ana.get(&format!("/api/v1/jobs/{id}")).await.expect(404);
    ana.get(&format!("/api/v1/jobs/{id}?secret=1"))
        .await
        .expect(404);
    for path in ["/wp-login.php", "/.env"] {
        ana.get(path).await.expect(404);
    }
    for method in ["BREW", "STEEP"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        ana.send(ana.request(method, "/api/v1/jobs")).await;
    }
    let page = page(&ana).await;
    for (series, times) in [
        (
            r#"http_requests_total{method="GET",route="/api/v1/jobs/{id}",status="404"}"#,
            2.0,
        ),
        (
            r#"http_requests_total{method="GET",route="unmatched",status="404"}"#,
            2.0,
        ),
        (
            r#"http_requests_total{method="other",route="/api/v1/jobs",status="405"}"#,
            2.0,
        ),
        (
            r#"http_request_duration_seconds_count{method="GET",route="/api/v1/jobs/{id}"}"#,
            2.0,
        ),
        (
            r#"http_request_duration_seconds_bucket{method="GET",route="/api/v1/jobs/{id}",le="+Inf"}"#,
            2.0,
        ),
    ] {
        assert_eq!(value(&page, series), Some(times), "{series} in\n{page}");
    }
    for strange in [&*id.to_string(), "secret", "wp-login", "BREW"] {
        assert!(!page.contains(strange), "{strange} in\n{page}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_process_and_its_connections_are_told() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let page = page(&ana).await;
    assert!(value(&page, "process_resident_memory_bytes") > Some(1e6));
    assert!(value(&page, "process_open_fds") > Some(3.0));
    assert!(value(&page, "process_start_time_seconds") > Some(1.7e9));
    assert!(value(&page, "process_cpu_seconds_total").is_some());
    assert_eq!(value(&page, "db_pool_max_connections"), Some(8.0));
    let of_worker = worker_page(&app).await;
    assert_eq!(value(&of_worker, "db_pool_max_connections"), Some(3.0));
    let (idle, used) = (
        value(&page, r#"db_pool_connections{state="idle"}"#).unwrap(),
        value(&page, r#"db_pool_connections{state="used"}"#).unwrap(),
    );
    assert!(idle + used >= 1.0 && used <= 8.0, "{page}");
    app.finish().await;
}

#[tokio::test]
async fn the_metrics_need_their_token_where_there_is_one() {
    let token = "0123456789abcdef";
    let app = TestApp::with(Options {
        metrics_token: Some(token.to_owned()),
        ..Options::default()
    })
    .await;
    let mut scraper = app.anonymous();
    scraper
        .get(METRICS)
        .await
        .expect_problem(401, "unauthenticated");
    scraper.token = app.user("ana").await.token;
    scraper
        .get(METRICS)
        .await
        .expect_problem(401, "unauthenticated");
    scraper.token = Some(token.to_owned());
    page(&scraper).await;
    app.finish().await;
}

#[tokio::test]
async fn the_metrics_are_answered_while_postgres_is_away() {
    let postgres = PostgresServer::start().await;
    let app = TestApp::with(Options {
        postgres_url: Some(postgres.url()),
        ..Options::default()
    })
    .await;
    let nobody = app.anonymous();
    figures::sample(app.database.pool()).await.unwrap();
    assert!(page(&nobody).await.contains("queue_depth"));
    postgres.stop().await;
    eventually("the last figures are gone", || async {
        let page = page(&nobody).await;
        assert!(page.contains("http_requests_total"), "{page}");
        !page.contains("queue_")
            || (!page.contains("queue_depth") && !page.contains("queue_oldest_ready_age_seconds"))
    })
    .await;
    postgres.restart().await;
    eventually("they are back", || async {
        page(&nobody).await.contains("queue_depth")
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn jobs_are_counted_by_kind_and_end() {
    let app = spawn().await;
    let act = |number, what| Act { number, what };
    for number in 0..3 {
        app.enqueue(Effect { number }).await;
    }
    app.enqueue(act(1, What::FailUntil(2))).await;
    app.enqueue(act(2, What::FailForGood)).await;
    let dying = app
        .enqueue(Enqueue::new(act(3, What::Hold)).delay(Duration::from_hours(1)))
        .await;
    let strange = app.enqueue(Effect { number: 4 }).await;
    let is = async |sql: &'static str, id: shared::ids::JobId| {
        let done = sqlx::query(sql).bind(id.0).execute(app.database.pool());
        assert_eq!(done.await.unwrap().rows_affected(), 1);
    };
    is(
        "UPDATE jobs SET kind = 'of_tomorrow' WHERE id = $1",
        strange.id,
    )
    .await;
    app.run_due_jobs().await;
    is(
        "UPDATE jobs SET state = 'running', crash_count = 2, attempt = 1, lease_until = job_now() - interval '1 second',
                worker_id = 'dead' WHERE id = $1",
        dying.id,
    )
    .await;
    assert_eq!(app.sweep().await, 1);
    app.run_jobs().await;
    let page = worker_page(&app).await;
    for (series, times) in [
        (
            r#"jobs_finished_total{kind="test_effect",outcome="succeeded"}"#,
            3.0,
        ),
        (
            r#"jobs_finished_total{kind="test_act",outcome="succeeded"}"#,
            1.0,
        ),
        (
            r#"jobs_finished_total{kind="test_act",outcome="failed"}"#,
            1.0,
        ),
        (
            r#"jobs_finished_total{kind="test_act",outcome="quarantined"}"#,
            1.0,
        ),
        (
            r#"jobs_finished_total{kind="test_act",outcome="cancelled"}"#,
            0.0,
        ),
        (
            r#"jobs_finished_total{kind="unknown",outcome="failed"}"#,
            1.0,
        ),
        (r#"jobs_retried_total{kind="test_act"}"#, 1.0),
        (r#"job_run_seconds_count{kind="test_act"}"#, 3.0),
        (r#"job_run_seconds_count{kind="test_effect"}"#, 3.0),
        (r#"job_wait_seconds_count{queue="maintenance"}"#, 3.0),
        ("job_fence_rejected_total", 0.0),
    ] {
        assert_eq!(value(&page, series), Some(times), "{series} in\n{page}");
    }
    app.expect_failed(3);
    app.finish().await;
}

#[tokio::test]
async fn a_wait_is_counted_from_the_time_a_job_was_due() {
    let app = spawn().await;
    app.enqueue(Enqueue::new(Effect { number: 1 }).delay(Duration::from_secs(100)))
        .await;
    app.advance(Duration::from_secs(103)).await;
    app.run_jobs().await;
    let page = worker_page(&app).await;
    let waited = value(&page, r#"job_wait_seconds_sum{queue="maintenance"}"#).unwrap();
    assert!((waited - 3.0).abs() < 0.001, "{waited}");
    app.finish().await;
}

#[tokio::test]
async fn a_run_that_lost_its_job_is_counted() {
    let app = TestApp::with(Options {
        live: true,
        registry: Some(work::registry()),
        ..Options::default()
    })
    .await;
    work::prepare(&app.database).await;
    let worker = app.start_worker();
    app.enqueue(Act {
        number: 1,
        what: What::Gate,
    })
    .await;
    eventually("it runs", || async { app.count_jobs("running").await == 1 }).await;
    for statement in [
        // As if another worker had claimed it.
        "UPDATE jobs SET epoch = epoch + 1",
        "INSERT INTO effects (number) VALUES (-1)",
    ] {
        sqlx::query(statement)
            .execute(app.database.pool())
            .await
            .unwrap();
    }
    eventually("the fence held", || async {
        value(&worker_page(&app).await, "job_fence_rejected_total") == Some(1.0)
    })
    .await;
    worker.shutdown().await;
    app.forget_jobs().await;
    app.finish().await;
}

/// `promtool check metrics` reads these snapshots in `bin/lint`.
#[tokio::test]
async fn the_metrics_are_the_reviewed_ones() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    figures::sample(app.database.pool()).await.unwrap();
    let port = free_port().to_string();
    let token = "0123456789abcdef";
    let variables = [("WORKER_PORT", &*port), ("METRICS_TOKEN", token)];
    let mut worker = app.start_program("baatcheet-worker", &variables);
    worker
        .wait_for_line("the bearer token of /metrics is on")
        .await;
    ana.upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let mut scraper = app.anonymous();
    scraper.base = format!("http://127.0.0.1:{port}");
    worker.wait_for_line("serving ").await;
    assert_eq!(scraper.get("/metrics").await.status, 401);
    scraper.token = Some(token.to_owned());
    let done = r#"jobs_finished_total{kind="recognize_text",outcome="succeeded"}"#;
    eventually("the picture is read", || async {
        value(&scraper.get("/metrics").await.text, done) == Some(1.0)
    })
    .await;
    let of_worker = scraper.get("/metrics").await.text;
    assert_eq!(
        value(&of_worker, r#"job_wait_seconds_count{queue="ocr"}"#),
        Some(1.0)
    );
    insta::assert_snapshot!("metrics_api", shape(&page(&ana).await));
    insta::assert_snapshot!("metrics_worker", shape(&of_worker));
    worker.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.wait().await, Some(0), "{}", worker.output());
    app.finish().await;
}
