//! Streams that survive: disconnects, other instances, and instances that die.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, Step, delta, end, stream},
    process::{Process, RedisServer, free_port},
    words,
};

use crate::chat::{app, id, ledger};

/// Some words, then silence until the test says so, then the rest.
pub(crate) async fn halting(before: &[&str], after: &[&str]) -> Provider {
    let mut steps: Vec<Step> = before.iter().map(|word| delta(word)).collect();
    steps.push(Step::Hold);
    steps.extend(after.iter().map(|word| delta(word)));
    steps.extend(end("stop", 7, before.len() + after.len()));
    Provider::start(move |_| stream(steps.clone())).await
}

/// A second instance of the product, as a program of its own.
pub(crate) struct Instance {
    process: Process,
    base: String,
}

impl Instance {
    pub(crate) async fn start(app: &TestApp, provider: &Provider, more: &[(&str, &str)]) -> Self {
        let port = free_port().to_string();
        let mut variables = vec![
            ("PORT", port.as_str()),
            ("HOST", "127.0.0.1"),
            ("OPENAI_BASE_URL", &provider.base_url),
        ];
        if more.is_empty() {
            variables.push(("OPENAI_API_KEYS", "sk-1"));
        }
        variables.extend_from_slice(more);
        let process = app.start_program("baatcheet-api", &variables);
        process.wait_for_line("listening on").await;
        Self {
            process,
            base: format!("http://127.0.0.1:{port}"),
        }
    }

    /// As the kernel ends it.
    pub(crate) async fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait().await;
    }

    /// As a platform ends it; gives its log.
    pub(crate) async fn end(mut self) -> String {
        self.process.signal(Signal::TERM);
        let code = self.process.wait().await;
        let log = self.process.output();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// Whether it has logged this.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.process.output().contains(text)
    }

    /// Waits for the first line of its log that holds this.
    pub(crate) async fn line(&self, text: &str) -> String {
        self.process.wait_for_line(text).await
    }

    /// How many lines of its log hold this.
    pub(crate) fn count_of_lines(&self, text: &str) -> usize {
        let log = self.process.output();
        log.lines().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn of(&self, actor: &Actor) -> Actor {
        Actor {
            base: self.base.clone(),
            ..actor.clone()
        }
    }
}

pub(crate) async fn live(provider: &Provider) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        live: true,
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

async fn get(ana: &Actor, message: &str) -> Value {
    ana.get(&format!("/api/v1/messages/{message}"))
        .await
        .expect(200)
}

#[tokio::test]
async fn an_answer_is_made_to_its_end_though_nobody_listens() {
    let provider = halting(&["Salt "], &["water"]).await;
    let (app, ana) = app(&provider).await;
    let mut stream = ana.stream(json!({ "message": "Hi" })).await;
    let started = stream.next().await.unwrap();
    let message = id(&started.data["messageId"]).to_owned();
    assert_eq!(stream.next().await.unwrap().data["delta"], "Salt ");
    drop(stream);
    assert_eq!(get(&ana, &message).await["status"], "streaming");
    let mut again = ana.resume(&message, None).await;
    assert_eq!(again.next().await.unwrap().name, "message.started");
    assert_eq!(again.next().await.unwrap().data["delta"], "Salt ");
    let late = ana.resume(&message, Some(2)).await;
    provider.release();
    assert_eq!(words(&again.rest().await), "water");
    let late = late.rest().await;
    assert_eq!(words(&late), "lt water");
    assert_eq!(late.last().unwrap().name, "message.completed");
    // Long after the end.
    let replayed = ana.resume(&message, None).await.rest().await;
    assert_eq!(replayed.len(), 3);
    assert_eq!(words(&replayed), "Salt water");
    let last = replayed.last().unwrap().id;
    assert_eq!(
        ana.resume(&message, Some(last - 1))
            .await
            .rest()
            .await
            .len(),
        1
    );
    let path = format!("/api/v1/chat/streams/{message}?after={last}");
    assert_eq!(ana.get(&path).await.status, 204);
    let path = format!("/api/v1/chat/streams/{message}?after=x");
    assert_eq!(ana.get(&path).await.expect_bad_fields(), ["/after"]);
    assert_eq!(ledger(&app).await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_answer_is_stopped_with_its_text_and_its_price() {
    let provider = halting(&["One ", "two "], &["three"]).await;
    let (app, ana) = app(&provider).await;
    let mut stream = ana
        .stream(json!({ "message": "Count", "model": "gpt-4o-mini" }))
        .await;
    let message = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    assert_eq!(stream.next().await.unwrap().data["delta"], "One ");
    assert_eq!(stream.next().await.unwrap().data["delta"], "two ");
    let path = format!("/api/v1/chat/streams/{message}/cancel");
    let ben = app.user("ben").await;
    ben.post(&path).await.expect_problem(404, "not_found");
    let asked = Instant::now();
    let stopped = ana.post(&path).await.expect(200);
    assert_eq!(stopped["status"], "cancelled");
    assert_eq!(stopped["content"][0]["text"], "One two ");
    eventually("the provider is left", async || provider.open() == 0).await;
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "{:?}",
        asked.elapsed()
    );
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(last.name, "message.completed");
    assert_eq!(last.data["message"]["status"], "cancelled");
    assert_eq!(ana.post(&path).await.expect(200)["status"], "cancelled");
    let rows = ledger(&app).await;
    assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("cancelled")));
    assert_eq!(rows[0]["is_estimated"], true);
    assert!(rows[0]["output_tokens"].as_i64().unwrap() > 0);
    assert!(rows[0]["cost_microusd"].as_i64().unwrap() > 0);
    app.finish().await;
}

#[tokio::test]
async fn any_instance_shows_and_stops_an_answer() {
    let provider = halting(&["नम", "स्ते "], &["never"]).await;
    let (app, ana) = live(&provider).await;
    let other = Instance::start(&app, &provider, &[]).await;
    let there = other.of(&ana);
    let mut stream = there.stream(json!({ "message": "Hi" })).await;
    let message = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    stream.next().await.unwrap();
    stream.next().await.unwrap();
    // Here, in the middle of a character: from its beginning.
    let mut here = ana.resume(&message, Some(4)).await;
    let mut heard = String::new();
    while heard.len() < "मस्ते ".len() {
        let event = here.next().await.unwrap();
        heard.push_str(event.data["delta"].as_str().unwrap());
    }
    assert_eq!(heard, "मस्ते ");
    let path = format!("/api/v1/chat/streams/{message}/cancel");
    let asked = Instant::now();
    assert_eq!(ana.post(&path).await.expect(200)["status"], "cancelled");
    eventually("the provider is left", async || provider.open() == 0).await;
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "{:?}",
        asked.elapsed()
    );
    for stream in [here, stream] {
        let last = stream.rest().await.pop().unwrap();
        assert_eq!(last.data["message"]["content"][0]["text"], "नमस्ते ");
    }
    assert_eq!(ledger(&app).await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_answer_whose_instance_is_killed_is_interrupted_with_its_text() {
    let provider = halting(&["One ", "two "], &["three"]).await;
    let (app, ana) = live(&provider).await;
    let mut other = Instance::start(&app, &provider, &[]).await;
    let there = other.of(&ana);
    let mut stream = there
        .stream(json!({ "message": "Count", "model": "gpt-4o-mini" }))
        .await;
    let message = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    stream.next().await.unwrap();
    let here = ana.resume(&message, None).await;
    eventually("the text is stored", async || {
        let sql = "SELECT text FROM generations";
        let text: Option<String> = sqlx::query_scalar(sql)
            .fetch_optional(app.database.pool())
            .await
            .unwrap();
        text.as_deref() == Some("One two ")
    })
    .await;
    other.kill().await;
    let killed = Instant::now();
    let events = here.rest().await;
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(words(&events), "One two ");
    let last = events.last().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("interrupted"))
    );
    let row = get(&ana, &message).await;
    assert_eq!(
        (&row["status"], &row["content"][0]["text"]),
        (&json!("interrupted"), &json!("One two "))
    );
    let rows = ledger(&app).await;
    assert_eq!(
        (rows.len(), &rows[0]["outcome"]),
        (1, &json!("interrupted"))
    );
    assert_eq!(rows[0]["is_estimated"], true);
    // It can be gone on with.
    provider.release();
    let path = format!("/api/v1/messages/{message}/continue");
    let whole = ana.post(&path).await.expect(200);
    assert_eq!(
        whole["message"]["content"][0]["text"],
        "One two One two three"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_signal_lets_an_answer_end() {
    let provider = halting(&["One "], &["two"]).await;
    let (app, ana) = live(&provider).await;
    let mut other = Instance::start(&app, &provider, &[]).await;
    let mut stream = other.of(&ana).stream(json!({ "message": "Count" })).await;
    let message = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    stream.next().await.unwrap();
    drop(stream);
    other.process.signal(Signal::TERM);
    other.process.wait_for_line("SIGTERM").await;
    provider.release();
    assert_eq!(other.process.wait().await, Some(0));
    let row = get(&ana, &message).await;
    assert_eq!(
        (&row["status"], &row["content"][0]["text"]),
        (&json!("completed"), &json!("One two"))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_signal_interrupts_an_answer_that_takes_too_long() {
    let provider = halting(&["One "], &["two"]).await;
    let (app, ana) = live(&provider).await;
    let mut other = Instance::start(&app, &provider, &[]).await;
    let mut stream = other.of(&ana).stream(json!({ "message": "Count" })).await;
    let message = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    stream.next().await.unwrap();
    let asked = Instant::now();
    other.process.signal(Signal::TERM);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("interrupted"))
    );
    assert_eq!(other.process.wait().await, Some(1));
    assert!(
        asked.elapsed() < Duration::from_secs(25),
        "{:?}",
        asked.elapsed()
    );
    let row = get(&ana, &message).await;
    assert_eq!(
        (&row["status"], &row["content"][0]["text"]),
        (&json!("interrupted"), &json!("One "))
    );
    assert_eq!(ledger(&app).await[0]["outcome"], "interrupted");
    app.finish().await;
}

#[tokio::test]
async fn without_redis_clients_here_and_elsewhere_still_read() {
    let provider = halting(&["One "], &["two"]).await;
    let mut redis = RedisServer::start().await;
    let app = TestApp::with(Options {
        live: true,
        redis_url: Some(redis.url()),
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let other = Instance::start(&app, &provider, &[]).await;
    redis.stop().await;
    let mut here = ana.stream(json!({ "message": "Count" })).await;
    let message = id(&here.next().await.unwrap().data["messageId"]).to_owned();
    assert_eq!(here.next().await.unwrap().data["delta"], "One ");
    let mut there = other.of(&ana).resume(&message, Some(0)).await;
    assert_eq!(there.next().await.unwrap().data["delta"], "One ");
    provider.release();
    for stream in [here, there] {
        assert_eq!(words(&stream.rest().await), "two");
    }
    let path = format!("/api/v1/messages/{message}/regenerate");
    let whole = other.of(&ana).post(&path).await.expect(200);
    assert_eq!(whole["message"]["content"][0]["text"], "One two");
    app.finish().await;
}

/// Breaks off and reads on, now here, now there, 200 times: not a byte is missing, and none comes twice.
#[tokio::test]
async fn two_hundred_disconnects_lose_nothing() {
    let mut steps = Vec::new();
    let mut said = String::new();
    for number in 0..400 {
        let piece = format!("{number} शब्द ");
        said.push_str(&piece);
        steps.push(delta(&piece));
        steps.push(Step::Pause(Duration::from_millis(10)));
    }
    steps.extend(end("stop", 7, 400));
    let provider = Provider::start(move |_| stream(steps.clone())).await;
    let (app, ana) = live(&provider).await;
    let other = Instance::start(&app, &provider, &[]).await;
    let there = other.of(&ana);
    let mut reading = there.stream(json!({ "message": "Count" })).await;
    let started = reading.next().await.unwrap();
    let message = id(&started.data["messageId"]).to_owned();
    let (mut heard, mut at, mut breaks) = (String::new(), 0, 0);
    let last = loop {
        match reading.next().await {
            Some(event) if event.name == "message.delta" => {
                heard.push_str(event.data["delta"].as_str().unwrap());
                assert!(event.id > at, "{} after {at}", event.id);
                at = event.id;
                assert_eq!(at, heard.len() as u64);
                if breaks < 200 {
                    breaks += 1;
                    let actor = if breaks % 2 == 0 { &there } else { &ana };
                    reading = actor.resume(&message, Some(at)).await;
                }
            }
            Some(event) => break event,
            None => reading = ana.resume(&message, Some(at)).await,
        }
    };
    assert_eq!(last.name, "message.completed");
    assert_eq!(heard, said);
    assert_eq!(last.data["message"]["content"][0]["text"], said);
    assert!(breaks > 50, "only {breaks} breaks");
    app.finish().await;
}
