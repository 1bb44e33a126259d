//! The ledger: what it says is what providers counted, whatever happens to clients and programs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use serde_json::{Value, json};
use tests::{
    Actor, EventStream, Options, TestApp, eventually,
    fakes::provider::{Asked, Provider, Step, delta, end, stream},
};

use crate::{
    chat::{app, id, ledger},
    chat_streams::Instance,
};

const CHAT: &str = "/api/v1/chat/completions";
const REQUESTS: usize = 2_000;

#[tokio::test]
async fn what_a_provider_says_that_an_answer_cost_goes_before_the_table() {
    let provider = Provider::start(|_| {
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 11, "completion_tokens": 2, "cost": 0.000_123_4 } });
        let finish = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        let last = format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
        stream(vec![delta("Yes."), Step::Send(last)])
    })
    .await;
    let (app, ana) = app(&provider).await;
    let answer = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    // In whole millionths, and never too little.
    assert_eq!(answer["usage"]["costMicrousd"], 124);
    assert_eq!(answer["usage"]["priceVersion"], "reported");
    let rows = ledger(&app).await;
    assert_eq!(
        (&rows[0]["cost_microusd"], &rows[0]["price_version"]),
        (&json!(124), &json!("reported"))
    );
    app.finish().await;
}

#[tokio::test]
async fn usage_is_summed_up_by_day_model_project_and_conversation() {
    let provider = Provider::saying(&["One", " two"]).await;
    let (app, ana) = app(&provider).await;
    let project = json!({ "name": "Thesis" });
    let project = ana.post_json("/api/v1/projects", project).await.expect(201);
    let ask = async |model: &str, project: &Value| {
        let body = json!({ "message": "Hi", "model": model, "projectId": project });
        ana.chat(body).await.expect(200)["conversationId"].clone()
    };
    let conversation = ask("gpt-4o-mini", &project["id"]).await;
    ask("gpt-4o", &Value::Null).await;
    app.advance(Duration::from_hours(24)).await;
    let ana = app.login(&ana).await;
    let body = json!({ "message": "Hi", "conversationId": conversation });
    ana.chat(body).await.expect(200);
    app.advance(Duration::from_secs(1)).await;
    let usage = async |query: &str| ana.get(&format!("/api/v1/usage?{query}")).await.expect(200);
    let each = |usage: &Value, field: &str| -> Vec<(String, i64)> {
        let groups = usage["data"].as_array().unwrap();
        let group = |group: &Value| {
            let name = group[field].as_str().unwrap_or("none").to_owned();
            (name, group["attempts"].as_i64().unwrap())
        };
        groups.iter().map(group).collect()
    };
    let days = usage("by=day").await;
    let expected = [("2026-01-02".to_owned(), 2), ("2026-01-03".to_owned(), 1)];
    assert_eq!(each(&days, "day"), expected);
    // 11 and 2 tokens: 2.85 millionths each at gpt-4o-mini, 47.5 at gpt-4o.
    let total = &days["total"];
    assert_eq!(
        (&total["inputTokens"], &total["outputTokens"]),
        (&json!(33), &json!(6))
    );
    assert_eq!(total["costMicrousd"], 3 + 3 + 48);
    let models = usage("by=model").await;
    let expected = [("gpt-4o".to_owned(), 1), ("gpt-4o-mini".to_owned(), 2)];
    assert_eq!(each(&models, "model"), expected);
    let projects = each(&usage("by=project").await, "projectId");
    assert_eq!(
        projects,
        [(id(&project["id"]).to_owned(), 2), ("none".to_owned(), 1)]
    );
    let today = usage("from=2026-01-03T00:00:00Z").await;
    assert_eq!(today["total"]["attempts"], 1);
    let path = format!("/api/v1/conversations/{}/usage", id(&conversation));
    assert_eq!(ana.get(&path).await.expect(200)["costMicrousd"], 6);
    for bad in [
        "by=week",
        "from=2026-01-04T00:00:00Z",
        "to=-100000-01-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z",
    ] {
        let fields = ana
            .get(&format!("/api/v1/usage?{bad}"))
            .await
            .expect_bad_fields();
        assert_eq!(fields.len(), 1, "{bad}: {fields:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_answer_stops_with_its_conversation_and_is_accounted_for() {
    let provider = Provider::start(|_| stream(vec![delta("One "), Step::Hold])).await;
    let (app, ana) = app(&provider).await;
    let mut stream = ana.stream(json!({ "message": "Count" })).await;
    let conversation = stream.next().await.unwrap().data["conversationId"].clone();
    stream.next().await.unwrap();
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    ana.delete(&path).await.expect(204);
    eventually("the provider is left", async || provider.open() == 0).await;
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("not_found"))
    );
    let rows = crate::chat::ledger(&app).await;
    assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("cancelled")));
    app.forget_jobs().await;
    app.finish().await;
}

/// How many words a question is answered with.
fn words(number: usize) -> usize {
    1 + number % 7
}

/// Asks in one of five ways; whatever comes of it.
async fn ask(number: usize, actor: &Actor, other: &Actor) {
    let is_stream = number % 5 > 1;
    let body =
        json!({ "message": number.to_string(), "model": "gpt-4o-mini", "stream": is_stream });
    let request = actor.request(reqwest::Method::POST, CHAT).json(&body);
    let Ok(response) = request.send().await else {
        return;
    };
    if !is_stream {
        _ = response.bytes().await;
        return;
    }
    let mut stream = EventStream::from(response);
    let Some(started) = stream.next().await else {
        return;
    };
    match number % 5 {
        2 => _ = stream.rest().await,
        // A client that goes away.
        3 => drop(stream),
        _ => {
            let message = started.data["messageId"].as_str().unwrap_or_default();
            let path = format!("/api/v1/chat/streams/{message}/cancel");
            _ = other.request(reqwest::Method::POST, &path).send().await;
        }
    }
}

#[tokio::test]
async fn the_ledger_is_what_the_provider_counted() {
    let counted: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let counting = counted.clone();
    let provider = Provider::start(move |asked: &Asked| {
        let number: usize = asked.question().parse().unwrap();
        *counting.lock().unwrap().entry(number).or_default() += 1;
        let words = words(number);
        let pause = Step::Pause(Duration::from_millis(u64::try_from(number % 4).unwrap()));
        let steps = (0..words).flat_map(|_| [delta("word "), pause.clone()]);
        stream(steps.chain(end("stop", 11, words)).collect())
    })
    .await;
    let app = TestApp::with(Options {
        live: true,
        providers: provider.args("k1,k2,k3"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let mut other = Instance::start(&app, &provider, &[("OPENAI_API_KEYS", "k1,k2,k3")]).await;
    let there = other.of(&ana);
    let is_killed = AtomicBool::new(false);
    let asking = futures::stream::iter(0..REQUESTS).for_each_concurrent(24, |number| {
        let (ana, there, is_killed) = (&ana, &there, &is_killed);
        async move {
            let is_there = number % 2 == 0 && !is_killed.load(Ordering::SeqCst);
            let (actor, other) = if is_there { (there, ana) } else { (ana, there) };
            ask(
                number,
                actor,
                if is_killed.load(Ordering::SeqCst) {
                    ana
                } else {
                    other
                },
            )
            .await;
        }
    });
    let killing = async {
        eventually("half of it is asked", async || {
            provider.asked().len() > REQUESTS / 2
        })
        .await;
        is_killed.store(true, Ordering::SeqCst);
        other.kill().await;
    };
    tokio::join!(asking, killing);
    eventually("all have ended", async || {
        let sql = "SELECT count(*) FROM generations";
        let left: i64 = sqlx::query_scalar(sql)
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        left == 0
    })
    .await;
    let sql = "SELECT q.content -> 0 ->> 'text', to_jsonb(u)
                 FROM usage u JOIN messages a ON a.id = u.message_id JOIN messages q ON q.id = a.parent_id";
    let rows: Vec<(String, Value)> = sqlx::query_as(sql)
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    let mut counted = counted.lock().unwrap().clone();
    let asked = counted.len();
    let (mut reported, mut estimated) = (0, 0);
    for (question, row) in &rows {
        let number: usize = question.parse().unwrap();
        let times = counted.remove(&number);
        if row["is_estimated"] == true {
            estimated += 1;
            assert_ne!(row["outcome"], "completed", "{row}");
            continue;
        }
        reported += 1;
        let words = i64::try_from(words(number)).unwrap();
        assert_eq!(
            times,
            Some(1),
            "{question} has one call, and one row: {row}"
        );
        assert_eq!(
            (&row["input_tokens"], &row["output_tokens"]),
            (&json!(11), &json!(words))
        );
        // 0.15 and 0.6 dollars of a million tokens, to the nearest millionth.
        let cost = (11 * 150_000 + words * 600_000 + 500_000) / 1_000_000;
        assert_eq!(row["cost_microusd"], cost, "{row}");
    }
    assert!(counted.is_empty(), "without a row: {counted:?}");
    assert!(
        asked > REQUESTS * 9 / 10 && reported > REQUESTS / 2,
        "{asked} asked, {reported} reported"
    );
    assert!(estimated > 10, "only {estimated} were stopped");
    let streaming: i64 =
        sqlx::query_scalar("SELECT count(*) FROM messages WHERE status = 'streaming'")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
    assert_eq!(streaming, 0);
    app.finish().await;
}

#[tokio::test]
async fn no_row_is_too_large_to_be_summed_up() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let answer = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    ana.chat(json!({ "message": "Hi" })).await.expect(200);
    let sql = "UPDATE usage SET input_tokens = $1, output_tokens = $1, cost_microusd = $1";
    sqlx::query(sql)
        .bind(i64::MAX)
        .execute(app.database.pool())
        .await
        .unwrap();
    app.advance(Duration::from_secs(1)).await;
    let usage = ana.get("/api/v1/usage").await.expect(200);
    for name in ["inputTokens", "outputTokens", "costMicrousd"] {
        assert_eq!(usage["total"][name], i64::MAX, "{name}");
        assert_eq!(usage["data"][0][name], i64::MAX, "{name}");
    }
    assert_eq!(usage["total"]["attempts"], 2);
    let path = format!(
        "/api/v1/conversations/{}/usage",
        id(&answer["conversationId"])
    );
    assert_eq!(ana.get(&path).await.expect(200)["inputTokens"], i64::MAX);
    app.finish().await;
}

#[tokio::test]
async fn nonsense_that_a_provider_counts_is_counted_here() {
    let provider = Provider::start(|_| {
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 1e300, "completion_tokens": 2, "cost": 1e9 } });
        let finish = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        let last = format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
        stream(vec![delta("Yes."), Step::Send(last)])
    })
    .await;
    let (app, ana) = app(&provider).await;
    ana.chat(json!({ "message": "Hi", "model": "gpt-4o-mini" }))
        .await
        .expect(200);
    let row = &ledger(&app).await[0];
    assert_eq!(row["is_estimated"], true);
    let tokens = row["input_tokens"].as_i64().unwrap();
    assert!((1..100).contains(&tokens), "{row}");
    let cost = row["cost_microusd"].as_i64().unwrap();
    assert!((1..100).contains(&cost), "{row}");
    app.finish().await;
}
