//! Error reports and traces, from the real programs to a fake of Sentry.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{
    Actor, TestApp, eventually,
    fakes::{receiver::Receiver, sentry::Sentry},
    fixture,
    process::{Process, free_port},
};
use wiremock::ResponseTemplate;

/// Starts an API that reports there, and somebody who uses it.
async fn start_api(app: &TestApp, name: &str, dsn: &str, rate: &str) -> (Process, Actor) {
    let port = free_port().to_string();
    let api = app.start_program(
        "baatcheet-api",
        &[
            ("PORT", &port),
            ("HOST", "127.0.0.1"),
            ("SENTRY_DSN", dsn),
            ("SENTRY_ENVIRONMENT", "staging"),
            ("SENTRY_TRACES_SAMPLE_RATE", rate),
        ],
    );
    api.wait_for_line("listening on").await;
    let mut user = app.user(name).await;
    user.base = format!("http://127.0.0.1:{port}");
    (api, user)
}

async fn break_webhooks(app: &TestApp) {
    sqlx::query("ALTER TABLE webhooks RENAME TO gone")
        .execute(app.database.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_internal_error_is_reported_with_its_request_and_user_and_nothing_else_of_them() {
    let app = TestApp::spawn_live().await;
    let sentry = Sentry::start().await;
    let (mut api, ana) = start_api(&app, "ana", &sentry.dsn(), "0").await;
    api.wait_for_line("error reports to Sentry is on").await;
    // Until then a request meets a Redis that is away, which is a step of its own.
    tests::eventually("the program has reached Redis", || async {
        ana.get("/api/health").await.expect(200)["status"] == "healthy"
    })
    .await;
    let user = ana.get("/api/v1/users/me").await.expect(200)["id"].clone();
    break_webhooks(&app).await;
    let request = ana
        .request(reqwest::Method::GET, "/api/v1/webhooks?limit=5")
        .header("x-request-id", "my-request")
        .header("cookie", "a=secret-cookie");
    ana.send(request).await.expect_problem(500, "internal");
    // What has not been sent by then is sent at the end.
    api.signal(Signal::TERM);
    assert_eq!(api.wait().await, Some(0), "{}", api.output());

    let events = sentry.items("event");
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!(event["tags"]["requestId"], "my-request", "{event:#}");
    assert_eq!(event["tags"]["program"], "baatcheet-api");
    assert_eq!(event["user"], serde_json::json!({ "id": user }));
    assert_eq!(event["transaction"], "GET /api/v1/webhooks");
    assert_eq!(event["environment"], "staging");
    let release = event["release"].as_str().unwrap();
    assert!(release.starts_with("baatcheet@"), "{release}");
    let exception = &event["exception"]["values"][0];
    assert_eq!(exception["type"], "internal error");
    let said = exception["value"].as_str().unwrap();
    assert!(said.contains("webhooks"), "{said}");
    assert_eq!(
        steps(event),
        [
            ("http.server", "GET /api/v1/webhooks"),
            ("auth", "the user is known"),
        ],
        "{event:#}"
    );
    assert!(event["request"].is_null(), "{event:#}");
    assert!(sentry.items("transaction").is_empty(), "none is sampled");
    let token = ana.token.as_deref().unwrap();
    for body in sentry.bodies() {
        for secret in [token, "secret-cookie", "limit=5", &ana.email, "127.0.0"] {
            assert!(!body.contains(secret), "{secret} in {body}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn what_two_users_do_at_once_is_not_mixed_up() {
    let app = TestApp::spawn_live().await;
    let sentry = Sentry::start().await;
    let (mut api, ana) = start_api(&app, "ana", &sentry.dsn(), "0").await;
    let mut ben = app.user("ben").await;
    ben.base.clone_from(&ana.base);
    let (is_ana, is_ben) = (
        ana.get("/api/v1/users/me").await.expect(200)["id"].clone(),
        ben.get("/api/v1/users/me").await.expect(200)["id"].clone(),
    );
    break_webhooks(&app).await;
    let ask = |user: &Actor, id: String| {
        let request = user
            .request(reqwest::Method::GET, "/api/v1/webhooks")
            .header("x-request-id", id);
        let user = user.clone();
        async move { user.send(request).await.expect_problem(500, "internal") }
    };
    for round in 0..5 {
        let (ana, ben) = (
            ask(&ana, format!("ana-{round}")),
            ask(&ben, format!("ben-{round}")),
        );
        tokio::join!(ana, ben);
    }
    api.signal(Signal::TERM);
    assert_eq!(api.wait().await, Some(0), "{}", api.output());
    let events = sentry.items("event");
    assert_eq!(events.len(), 10, "{events:#?}");
    for event in events {
        let request = event["tags"]["requestId"].as_str().unwrap();
        let user = if request.starts_with("ana") {
            &is_ana
        } else {
            &is_ben
        };
        assert_eq!(&event["user"]["id"], user, "{event:#}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_dead_job_is_reported_with_its_kind() {
    let app = TestApp::spawn_live().await;
    let sentry = Sentry::start().await;
    let dsn = sentry.dsn();
    let reporting = [("SENTRY_DSN", &*dsn), ("SENTRY_TRACES_SAMPLE_RATE", "1")];
    let mut worker = app.start_program("baatcheet-worker", &reporting);
    worker.wait_for_line("serving ").await;
    let ana = app.user("ana").await;
    let request = ana
        .request(reqwest::Method::POST, "/api/v1/attachments")
        .header("x-request-id", "my-upload")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .multipart(reqwest::multipart::Form::new().part(
            "file",
            reqwest::multipart::Part::bytes(fixture("broken.png")).file_name("a-private-name.png"),
        ));
    let created = ana.send(request).await.expect(201);
    let job = created["job"]["id"].as_str().unwrap();
    eventually("the jobs are dead", || async {
        app.count_jobs("failed").await == 2
    })
    .await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().await, Some(0), "{}", worker.output());

    let events = sentry.items("event");
    assert_eq!(events.len(), 2, "{events:#?}");
    let of_reading = |event: &&Value| event["tags"]["kind"] == "recognize_text";
    let event = events.iter().find(of_reading).unwrap();
    for (tag, value) in [
        ("jobId", job),
        ("kind", "recognize_text"),
        ("queue", "ocr"),
        ("attempt", "1"),
        ("requestId", "my-upload"),
        ("program", "baatcheet-worker"),
    ] {
        assert_eq!(event["tags"][tag], value, "{tag} in {event:#}");
    }
    let user = ana.get("/api/v1/users/me").await.expect(200)["id"].clone();
    assert_eq!(event["user"], serde_json::json!({ "id": user }));
    let exception = &event["exception"]["values"][0];
    let said = exception["type"].as_str().unwrap();
    assert!(said.starts_with("job recognize_text failed"), "{said}");
    assert_eq!(
        steps(event)[..2],
        [
            ("queue.process", "recognize_text"),
            ("auth", "the user is known"),
        ],
        "{event:#}"
    );
    let beginning = &event["breadcrumbs"]["values"][0];
    assert_eq!(beginning["data"]["attempt"], "1", "{event:#}");

    let traces = sentry.items("transaction");
    let trace = find(&traces, "recognize_text");
    assert_eq!(trace["contexts"]["trace"]["status"], "internal_error");
    assert_eq!(
        trace["contexts"]["trace"]["trace_id"],
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(trace["tags"]["jobId"], job);
    for body in sentry.bodies() {
        assert!(!body.contains("a-private-name"), "{body}");
    }
    app.expect_failed(2);
    app.finish().await;
}

/// What led to an error: category and message.
fn steps(event: &Value) -> Vec<(&str, &str)> {
    let steps = event["breadcrumbs"]["values"].as_array();
    steps
        .into_iter()
        .flatten()
        .map(|step| (&step["category"], &step["message"]))
        .filter_map(|(category, message)| category.as_str().zip(message.as_str()))
        .collect()
}

fn find<'a>(traces: &'a [Value], name: &str) -> &'a Value {
    let found: Vec<&Value> = traces
        .iter()
        .filter(|trace| trace["transaction"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{name} in {traces:#?}");
    found[0]
}

#[tokio::test]
async fn trouble_with_other_servers_is_a_step_to_an_error() {
    let app = TestApp::spawn_live().await;
    let sentry = Sentry::start().await;
    let dsn = sentry.dsn();
    let no_redis = format!("redis://127.0.0.1:{}", free_port());
    let port = free_port().to_string();
    let mut api = app.start_program(
        "baatcheet-api",
        &[
            ("PORT", &port),
            ("HOST", "127.0.0.1"),
            ("SENTRY_DSN", &dsn),
            ("REDIS_URL", &no_redis),
        ],
    );
    let mut worker = app.start_program("baatcheet-worker", &[("SENTRY_DSN", &dsn)]);
    api.wait_for_line("listening on").await;
    worker.wait_for_line("serving ").await;

    let receiver = Receiver::answering(ResponseTemplate::new(410)).await;
    let mut ana = app.user("ana").await;
    ana.webhook(&receiver.url()).await;
    ana.upload("broken.png", fixture("broken.png"), &[])
        .await
        .expect(201);
    eventually("the picture and its delivery are dead", || async {
        app.count_jobs("failed").await == 3
    })
    .await;
    break_webhooks(&app).await;
    ana.base = format!("http://127.0.0.1:{port}");
    ana.get("/api/v1/webhooks")
        .await
        .expect_problem(500, "internal");
    for program in [&mut api, &mut worker] {
        program.signal(Signal::TERM);
        assert_eq!(program.wait().await, Some(0), "{}", program.output());
    }

    let events = sentry.items("event");
    let of = |name: &str| {
        let event = events.iter().find(|event| event["transaction"] == name);
        steps(event.unwrap_or_else(|| panic!("no {name} in {events:#?}")))
    };
    let delivery = of("deliver_webhook");
    assert!(delivery.contains(&("outbound", "POST 410")), "{delivery:?}");
    let request = of("GET /api/v1/webhooks");
    assert!(
        request.iter().any(|(category, _)| *category == "redis"),
        "{request:?}"
    );
    for body in sentry.bodies() {
        assert!(!body.contains(&receiver.url()), "{body}");
    }
    app.expect_failed(3);
    app.finish().await;
}

#[tokio::test]
async fn requests_are_traced_by_template_and_probes_are_not() {
    let app = TestApp::spawn_live().await;
    let sentry = Sentry::start().await;
    let (mut api, ana) = start_api(&app, "ana", &sentry.dsn(), "1").await;
    let id = uuid::Uuid::new_v4();
    ana.get(&format!("/api/v1/jobs/{id}")).await.expect(404);
    ana.get("/api/v1/users/me").await.expect(200);
    for path in ["/api/health/live", "/api/metrics", "/nothing"] {
        ana.get(path).await;
    }
    api.signal(Signal::TERM);
    assert_eq!(api.wait().await, Some(0), "{}", api.output());
    let traces = sentry.items("transaction");
    assert_eq!(traces.len(), 2, "{traces:#?}");
    let refused = find(&traces, "GET /api/v1/jobs/{id}");
    let of_trace = &refused["contexts"]["trace"];
    assert_eq!(of_trace["op"], "http.server");
    assert_eq!(of_trace["status"], "invalid_argument");
    assert_eq!(of_trace["data"]["http.response.status_code"], 404);
    assert!(refused["tags"]["requestId"].is_string());
    let good = find(&traces, "GET /api/v1/users/me");
    assert_eq!(good["contexts"]["trace"]["status"], "ok");
    assert!(good["user"]["id"].is_string() && good["user"]["email"].is_null());
    app.finish().await;
}

#[tokio::test]
async fn an_ingest_that_never_answers_slows_nothing() {
    let app = TestApp::spawn_live().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dsn = format!("http://key@{}/42", silent.local_addr().unwrap());
    let (mut api, ana) = start_api(&app, "ana", &dsn, "1").await;
    break_webhooks(&app).await;
    let began = Instant::now();
    // More than the queue takes.
    for _ in 0..100 {
        ana.get("/api/v1/webhooks")
            .await
            .expect_problem(500, "internal");
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let began = Instant::now();
    api.signal(Signal::TERM);
    assert_eq!(api.wait().await, Some(0), "{}", api.output());
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    app.finish().await;
}

#[tokio::test]
async fn an_ingest_that_is_away_is_told_once() {
    let app = TestApp::spawn_live().await;
    let dsn = format!("http://key@127.0.0.1:{}/42", free_port());
    let (mut api, ana) = start_api(&app, "ana", &dsn, "1").await;
    for _ in 0..3 {
        ana.get("/api/v1/users/me").await.expect(200);
    }
    api.wait_for_line("error reports do not reach sentry").await;
    api.signal(Signal::TERM);
    assert_eq!(api.wait().await, Some(0), "{}", api.output());
    let told = api.output().matches("do not reach sentry").count();
    assert_eq!(told, 1, "{}", api.output());
    app.finish().await;
}
