//! Secrets that must show up nowhere: a user's day with marked ones, and then a search for the marks.
//!
//! What is there to hold a user's text (recognitions, webhooks, deliveries, events) is not searched.

mod models;
mod talk;

use std::collections::BTreeMap;

use reqwest::{Method, multipart};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    Actor, TestApp, eventually,
    fakes::{receiver::Receiver, sentry::Sentry},
    fixture,
    process::{Process, free_port},
};
use wiremock::ResponseTemplate;

/// Marked secrets, with what they are.
#[derive(Default)]
struct Marks(BTreeMap<String, &'static str>);

impl Marks {
    /// Makes a secret.
    fn make(&mut self, what: &'static str) -> String {
        let secret = format!("canary{}", uuid::Uuid::new_v4().simple());
        self.0.insert(secret.clone(), what);
        secret
    }

    /// Notes a secret that somebody else made.
    fn note(&mut self, what: &'static str, secret: &Value) -> String {
        let secret = secret.as_str().expect("a text").to_owned();
        assert!(secret.len() > 15, "{what} is too common to look for");
        self.0.insert(secret.clone(), what);
        secret
    }

    fn must_not_be_in(&self, place: &str, text: &str) {
        assert!(!text.is_empty(), "{place} is empty: nothing was searched");
        for (secret, what) in &self.0 {
            if let Some(at) = text.find(secret) {
                let around: String = text[..at].chars().rev().take(300).collect();
                let before: String = around.chars().rev().collect();
                panic!("{what} is in {place}, after: {before}");
            }
        }
    }
}

struct House {
    app: TestApp,
    api: Process,
    worker: Process,
    sentry: Sentry,
    worker_port: String,
    nobody: Actor,
}

async fn open(marks: &mut Marks) -> House {
    let app = TestApp::spawn_live().await;
    let sentry = Sentry::start().await;
    let mut database = url::Url::parse(&app.database.url).unwrap();
    database
        .set_password(Some(&marks.make("the password of Postgres")))
        .unwrap();
    let (port, worker_port) = (free_port().to_string(), free_port().to_string());
    let (dsn, key) = (sentry.dsn(), marks.make("SECRET_KEY"));
    let token = marks.make("METRICS_TOKEN");
    let variables = [
        ("HOST", "127.0.0.1"),
        ("PORT", &*port),
        ("WORKER_PORT", &*worker_port),
        ("DATABASE_URL", database.as_str()),
        ("SECRET_KEY", &*key),
        ("SECRET_KEY_PREVIOUS", &*marks.make("SECRET_KEY_PREVIOUS")),
        ("METRICS_TOKEN", &*token),
        ("SENTRY_DSN", &*dsn),
        ("SENTRY_TRACES_SAMPLE_RATE", "1"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info,api=debug,shared=debug,worker=debug"),
    ];
    let api = app.start_program("baatcheet-api", &variables);
    let worker = app.start_program("baatcheet-worker", &variables);
    api.wait_for_line("listening on").await;
    worker.wait_for_line("serving ").await;
    let mut nobody = app.anonymous();
    nobody.base = format!("http://127.0.0.1:{port}");
    nobody.token = Some(token);
    House {
        app,
        api,
        worker,
        sentry,
        worker_port,
        nobody,
    }
}

/// Accounts, and every wrong way to log in. Gives the user's password, too.
async fn log_in(marks: &mut Marks, house: &House) -> (Actor, String) {
    let mut ana = house.nobody.clone();
    ana.token = None;
    let (register, login) = ("/api/v1/auth/register", "/api/v1/auth/login");
    let email = format!("{}@example.com", marks.make("an e-mail address"));
    let password = marks.make("a password");
    let account = json!({ "email": email, "password": password,
                          "displayName": marks.make("a name") });
    let first = ana.post_json(register, account.clone()).await.expect(201);
    ana.post_json(register, account.clone()).await.expect(409);
    let right = json!({ "email": email, "password": account["password"] });
    let session = ana.post_json(login, right).await.expect(200);
    for session in [&first, &session] {
        marks.note("an access token", &session["accessToken"]);
        marks.note("a refresh token", &session["refreshToken"]);
    }
    let wrong = json!({ "email": email, "password": marks.make("a wrong password") });
    ana.post_json(login, wrong).await.expect(401);
    let misplaced = json!({ "email": marks.make("a password as e-mail address"), "password": 7,
                            marks.make("a secret as the name of a field"): true });
    ana.post_json(login, misplaced).await.expect(422);
    let broken = format!(
        "{{\"password\": \"{}",
        marks.make("a password in broken JSON")
    );
    let request = ana.request(Method::POST, login);
    let request = request.header("content-type", "application/json");
    ana.send(request.body(broken)).await.expect(400);
    for header in [
        "authorization",
        "cookie",
        "x-api-key",
        "proxy-authorization",
    ] {
        let secret = format!("Bearer {}", marks.make("a secret in a header"));
        let request = ana.request(Method::GET, "/api/v1/users/me");
        ana.send(request.header(header, secret)).await.expect(401);
    }
    for path in ["/api/v1/users/me", "/nothing"] {
        ana.get(&format!(
            "{path}?token={}",
            marks.make("a secret in a query")
        ))
        .await;
    }
    ana.email = email;
    (ana, password)
}

/// Webhooks to a server that fails, and to none.
async fn webhooks(marks: &mut Marks, ana: &Actor, receiver: &Receiver) {
    for url in [
        receiver.url(),
        format!("http://127.0.0.1:{}/hook", free_port()),
    ] {
        let url = format!("{url}/{}", marks.make("a secret in a webhook's path"));
        let body = json!({ "url": format!("{url}?key={}", marks.make("a secret in a webhook's query")),
                           "events": ["image.ocr_completed", "image.ocr_failed"],
                           "description": marks.make("a description") });
        let made = ana.post_json("/api/v1/webhooks", body).await.expect(201);
        marks.note("a webhook's secret", &made["secret"]);
    }
    let body = json!({ "url": format!("https://{}:x@example.com/", marks.make("a user name in a URL")),
                       "events": [marks.make("a secret as the name of an event")] });
    ana.post_json("/api/v1/webhooks", body).await.expect(422);
}

/// Pictures that can be read and that cannot.
async fn upload(marks: &mut Marks, ana: &Actor) -> String {
    let name = |marks: &mut Marks, end: &str| format!("{}.{end}", marks.make("the name of a file"));
    let bytes = format!("no picture but {}", marks.make("uploaded text"));
    let file = name(marks, "txt");
    ana.upload(&file, bytes, &[]).await.expect(415);
    let language = marks.make("a secret as a language");
    let file = name(marks, "jpg");
    ana.upload(&file, fixture("two-lines.jpg"), &[("language", &language)])
        .await
        .expect(422);
    let form = multipart::Form::new().text(marks.make("the name of a part"), "x");
    let request = ana.request(Method::POST, "/api/v1/attachments");
    ana.send(request.multipart(form)).await.expect(422);
    let file = name(marks, "png");
    ana.upload(&file, fixture("broken.png"), &[])
        .await
        .expect(201);
    let file = name(marks, "jpg");
    let created = ana
        .upload(&file, fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    format!("/api/v1/attachments/{id}")
}

#[tokio::test]
async fn a_secret_is_in_no_log_report_metric_or_job() {
    let mut marks = Marks::default();
    let mut house = open(&mut marks).await;
    let answer = marks.make("the answer of a webhook's receiver");
    let receiver = Receiver::answering(ResponseTemplate::new(500).set_body_string(answer)).await;
    let (ana, password) = log_in(&mut marks, &house).await;
    let ana = talk::credentials(&mut marks, &ana, &password).await;
    webhooks(&mut marks, &ana, &receiver).await;
    let attachment = upload(&mut marks, &ana).await;
    let messages = talk::conversation(&mut marks, &ana).await;
    let document = talk::document(&mut marks, &ana).await;
    eventually("all files are done with, and told", || async {
        let tries = "SELECT count(*) FROM delivery_attempts";
        let tries: i64 = sqlx::query_scalar(tries)
            .fetch_one(house.app.database.pool())
            .await
            .unwrap();
        let is_read =
            async |path: &str| ana.get(path).await.expect(200)["extractedText"].is_string();
        is_read(&attachment).await && is_read(&document).await && tries >= 4
    })
    .await;
    let read = ana.get(&attachment).await.expect(200);
    let text = read["extractedText"].as_str().unwrap();
    for line in text.lines().filter(|line| line.len() > 15) {
        marks.note("text of a picture", &json!(line));
    }
    marks.note(
        "a signature",
        &json!(signature(read["url"].as_str().unwrap())),
    );

    // The inside breaks: its errors must not repeat what they were asked.
    for statement in [
        "ALTER TABLE sessions RENAME COLUMN revoked_at TO was_revoked_at",
        "ALTER TABLE webhooks RENAME COLUMN description TO words",
        "ALTER TABLE users ADD CONSTRAINT narrow CHECK (length(email) < 10) NOT VALID",
    ] {
        sqlx::query(statement)
            .execute(house.app.database.pool())
            .await
            .unwrap();
    }
    talk::break_inside(&mut marks, &house, &ana, &messages).await;
    // Its session is not in the cache, so it is looked for.
    let mut ben = ana.clone();
    ben.token = Some(format!("bca_{}", marks.make("another token")));
    ben.get("/api/v1/users/me").await.expect(500);
    ben.token = None;
    let account = json!({ "email": format!("{}@example.com", marks.make("another e-mail address")),
                          "password": marks.make("another password") });
    ben.post_json("/api/v1/auth/register", account)
        .await
        .expect(500);

    let page = house.nobody.get("/api/metrics").await.text;
    assert!(page.contains("http_requests_total"), "{page}");
    marks.must_not_be_in("the API's metrics", &page);
    let mut scraper = house.nobody.clone();
    scraper.base = format!("http://127.0.0.1:{}", house.worker_port);
    let page = scraper.get("/metrics").await.text;
    assert!(page.contains("jobs_finished_total"), "{page}");
    marks.must_not_be_in("the worker's metrics", &page);
    house.api.signal(Signal::TERM);
    house.worker.signal(Signal::TERM);
    assert_eq!(house.api.wait().await, Some(0), "{}", house.api.output());
    assert_eq!(house.worker.wait().await, Some(0));

    let log = house.api.output();
    for line in [
        "POST /api/v1/auth/register 201",
        "internal error",
        "GET /nothing 404",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
    marks.must_not_be_in("the API's log", &log);
    marks.must_not_be_in("the worker's log", &house.worker.output());
    for kind in ["event", "transaction"] {
        assert!(!house.sentry.items(kind).is_empty(), "no {kind}");
    }
    let traces = house.sentry.items("transaction");
    let failed = traces
        .iter()
        .find(|trace| trace["transaction"] == "deliver_webhook")
        .expect("a trace of a delivery");
    assert_eq!(failed["contexts"]["trace"]["status"], "internal_error");
    marks.must_not_be_in("error reports", &house.sentry.bodies().join("\n"));
    let rows: Vec<String> = sqlx::query_scalar("SELECT jobs::text FROM jobs")
        .fetch_all(house.app.database.pool())
        .await
        .unwrap();
    marks.must_not_be_in("the jobs", &rows.join("\n"));
    sqlx::query("DELETE FROM jobs")
        .execute(house.app.database.pool())
        .await
        .unwrap();
    house.app.finish().await;
}

/// The signature of a signed URL: whoever has it sees the file.
fn signature(url: &str) -> String {
    let url = url::Url::parse(url).expect("a URL");
    let mut pairs = url.query_pairs();
    let (_, signature) = pairs.find(|(name, _)| name == "sig").expect("it is signed");
    signature.into_owned()
}
