//! Limits of what users may use in a month: counted with the ledger, told of once, and nothing that costs beyond them.

use std::time::Duration;

use api::config::ApiArgs;
use futures::future::join_all;
use serde_json::{Value, json};
use shared::{
    config::UsageLimitArgs,
    ids::{JobId, UserId},
    models::{call, usage},
};
use tests::{
    Actor, Options, TestApp, TestDatabase, eventually,
    fakes::{
        provider::{Provider, Step, delta, end, stream},
        transcriber::{TranscriptionServer, verbose},
    },
    sound::say,
};

use crate::{
    calls::{estimate, truth},
    chat::{id, ledger},
    openai_chat::{CHAT, ask, error},
    openai_transcriptions::{SOUND, keys, request},
    transcriptions::{SAID, transcribed},
};

pub(crate) const LIMITS: &str = "/api/v1/usage/limits";
/// What an answer of one word takes, in tokens.
pub(crate) const ANSWER: i64 = 12;

pub(crate) fn limits(tokens: Option<&str>, usd: Option<&str>) -> UsageLimitArgs {
    UsageLimitArgs {
        usage_limit_tokens_per_month: tokens.map(str::to_owned),
        usage_limit_usd_per_month: usd.map(str::to_owned),
    }
}

pub(crate) async fn limited(provider: &Provider, usage_limits: UsageLimitArgs) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        usage_limits,
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

/// Events of limits: what happened, and of which limit.
pub(crate) async fn told(app: &TestApp) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT kind, data ->> 'limit' FROM events WHERE kind LIKE 'usage.%' ORDER BY kind, data ->> 'limit'",
    )
    .fetch_all(app.database.pool())
    .await
    .unwrap()
}

pub(crate) fn event(name: &str, limit: &str) -> (String, String) {
    (format!("usage.limit_{name}"), limit.to_owned())
}

/// Tokens and cost of the months of a user.
pub(crate) async fn months(database: &TestDatabase, user: UserId) -> Vec<(i64, i64)> {
    sqlx::query_as("SELECT tokens, cost_microusd FROM usage_months WHERE user_id = $1")
        .bind(user.0)
        .fetch_all(database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_limit_is_told_of_once_though_many_answers_end_at_once() {
    let provider = Provider::saying(&["Yes."]).await;
    let limit = (21 * ANSWER).to_string();
    let (app, ana) = limited(&provider, limits(Some(&limit), None)).await;
    let ask = || ana.chat(json!({ "message": "Hi", "model": "gpt-4o-mini" }));
    ask().await.expect(200);
    assert!(told(&app).await.is_empty());
    for reply in join_all((0..20).map(|_| ask())).await {
        reply.expect(200);
    }
    let expected = [event("approaching", "tokens"), event("reached", "tokens")];
    assert_eq!(told(&app).await, expected);
    let user = app.id_of(&ana).await;
    let costs = ledger(&app).await;
    let costs = costs.iter().map(|row| row["cost_microusd"].as_i64());
    let all = (21 * ANSWER, costs.map(Option::unwrap).sum::<i64>());
    assert_eq!(months(&app.database, user).await, [all]);
    let shown = ana.get(LIMITS).await.expect(200);
    let expected = json!({ "data": [{
        "unit": "tokens", "month": "2026-01", "limit": 21 * ANSWER, "used": 21 * ANSWER, "remaining": 0,
        "percentage": 100, "resetsAt": "2026-02-01T00:00:00Z",
    }] });
    assert_eq!(shown, expected);
    let notifications = ana.get("/api/v1/notifications").await.expect(200);
    let notifications = notifications["data"].as_array().unwrap();
    assert_eq!(notifications.len(), 1, "the second takes the first's place");
    assert_eq!(notifications[0]["kind"], "usage.limit_reached");
    app.finish().await;
}

#[tokio::test]
async fn who_has_reached_a_limit_asks_no_provider_until_the_next_month() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, limits(Some("12"), None)).await;
    let first = json!({ "message": "Hi", "clientId": "c-1" });
    let answer = ana.chat(first.clone()).await.expect(200);
    // Nothing was told of its nearness, as both came at once.
    assert_eq!(told(&app).await, [event("reached", "tokens")]);

    let message = id(&answer["message"]["id"]);
    let chat = "/api/v1/chat/completions";
    let again = format!("/api/v1/messages/{message}/regenerate");
    for (path, body) in [
        (chat, json!({ "message": "And?" })),
        (chat, json!({ "message": "And?", "stream": true })),
        (chat, json!({ "message": "And?", "clientId": "c-2" })),
        (again.as_str(), json!({})),
    ] {
        let reply = ana.post_json(path, body).await;
        // From the 2nd of January, 03:04:05, to the end of the month.
        assert_eq!(reply.headers["retry-after"], "2580955");
        assert_eq!(reply.headers["x-should-retry"], "false");
        let problem = reply.expect_problem(429, "usage_limit_reached");
        let limit = &problem["usageLimit"];
        assert_eq!(
            (&limit["unit"], &limit["limit"], &limit["used"]),
            (&json!("tokens"), &json!(12), &json!(12))
        );
        assert_eq!(limit["resetsAt"], "2026-02-01T00:00:00Z");
    }
    // What was answered before is told again.
    let known = ana.chat(first).await.expect(200);
    assert_eq!(known["message"], answer["message"]);
    assert_eq!((provider.asked().len(), ledger(&app).await.len()), (1, 1));

    let ben = app.user("ben").await;
    ben.chat(json!({ "message": "Hi" })).await.expect(200);
    app.advance(Duration::from_hours(30 * 24)).await;
    let ana = app.login(&ana).await;
    let shown = ana.get(LIMITS).await.expect(200);
    assert_eq!(shown["data"][0]["used"], 0);
    ana.chat(json!({ "message": "And now?" })).await.expect(200);
    let each = vec![event("reached", "tokens"); 3];
    assert_eq!(told(&app).await, each, "ana's of both months, and ben's");
    app.finish().await;
}

#[tokio::test]
async fn limits_are_by_tier_and_of_money_too() {
    let provider = Provider::saying(&["Yes."]).await;
    let set = limits(Some("free=12,pro=1000"), Some("free=0.000001"));
    let (app, ana) = limited(&provider, set).await;
    let priced = json!({ "message": "Hi", "model": "gpt-4o-mini" });
    ana.chat(priced).await.expect(200);
    let both = [event("reached", "microusd"), event("reached", "tokens")];
    assert_eq!(told(&app).await, both);
    ana.chat(json!({ "message": "Hi" }))
        .await
        .expect_problem(429, "usage_limit_reached");
    sqlx::query("UPDATE users SET tier = 'pro'")
        .execute(app.database.pool())
        .await
        .unwrap();
    ana.chat(json!({ "message": "Hi" })).await.expect(200);
    let shown = ana.get(LIMITS).await.expect(200);
    let limits = shown["data"].as_array().unwrap();
    assert_eq!((limits.len(), &limits[0]["percentage"]), (1, &json!(2)));
    sqlx::query("UPDATE users SET tier = 'enterprise'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let shown = ana.get(LIMITS).await.expect(200);
    assert_eq!(shown, json!({ "data": [] }));
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_under_way_is_made_to_its_end() {
    let provider = Provider::start(|asked| {
        let held = if asked.question() == "Slowly" {
            vec![delta("One "), Step::Hold]
        } else {
            vec![delta("Two ")]
        };
        stream([held, end("stop", 11, 1)].concat())
    })
    .await;
    let (app, ana) = limited(&provider, limits(Some("12"), None)).await;
    let mut slow = ana.stream(json!({ "message": "Slowly" })).await;
    slow.next().await.unwrap();
    ana.chat(json!({ "message": "Fast" })).await.expect(200);
    ana.chat(json!({ "message": "And?" }))
        .await
        .expect_problem(429, "usage_limit_reached");
    provider.release();
    let last = slow.rest().await.pop().unwrap();
    assert_eq!(last.name, "message.completed");
    let shown = ana.get(LIMITS).await.expect(200);
    assert_eq!(shown["data"][0]["used"], 2 * ANSWER);
    assert_eq!(told(&app).await, [event("reached", "tokens")]);
    app.finish().await;
}

#[tokio::test]
async fn the_openai_surface_says_so_in_its_own_words() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, limits(Some("12"), None)).await;
    ana.post_json(CHAT, ask("Hi")).await.expect(200);
    eventually("the answer is counted", async || {
        !told(&app).await.is_empty()
    })
    .await;
    let vectors = json!({ "model": "text-embedding-3-small", "input": "Hi" });
    for (path, body) in [(CHAT, ask("And?")), ("/v1/embeddings", vectors)] {
        let reply = ana.post_json(path, body).await;
        assert_eq!(reply.headers["x-should-retry"], "false");
        let told = error(reply, 429, "insufficient_quota");
        assert_eq!(told["type"], "insufficient_quota");
    }
    assert_eq!(provider.asked().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_sound_is_not_sent_on_beyond_the_limit() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "The library opens.")]).await;
    let app = TestApp::with(Options {
        providers: keys(&groq),
        usage_limits: limits(None, Some("0.000001")),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let sound = async || {
        let fields = [("model", "whisper-large-v3-turbo")];
        ana.send(request(&ana, SOUND.to_vec(), &fields)).await
    };
    sound().await.expect(200);
    eventually("the sound is counted", async || {
        told(&app).await == [event("reached", "microusd")]
    })
    .await;
    error(sound().await, 429, "insufficient_quota");
    assert_eq!(groq.requests().await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn nothing_that_costs_is_asked_in_the_background_beyond_the_limit() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        usage_limits: limits(Some("12"), None),
        api: ApiArgs {
            auto_title: Some("true".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let answer = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    app.run_jobs().await;
    assert_eq!(provider.asked().len(), 1);
    let path = format!("/api/v1/conversations/{}", id(&answer["conversationId"]));
    assert_eq!(ana.get(&path).await.expect(200)["title"], Value::Null);
    app.finish().await;
}

#[tokio::test]
async fn an_upload_is_heard_by_the_worker_itself_or_says_why_not() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "The library opens.")]).await;
    let app = TestApp::with(Options {
        providers: keys(&groq),
        usage_limits: limits(Some("pro=1000"), Some("free=0")),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let heard = transcribed(&app, &ana, say(SAID), &[]).await;
    assert_eq!(heard["transcription"]["engine"], "pocketsphinx", "{heard}");
    // Which knows English only.
    let unheard = transcribed(&app, &ana, say(SAID), &[("language", "hi")]).await;
    let told = &unheard["transcription"];
    assert_eq!(
        (&told["status"], &told["error"]),
        (
            &json!("failed"),
            &json!(
                "the 0.00 US dollars of this month are used; the next month begins at 2026-02-01T00:00:00Z"
            )
        )
    );
    assert!(groq.requests().await.is_empty());
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_row_that_is_replaced_counts_the_difference() {
    let database = TestDatabase::create().await;
    let guess = estimate();
    let user = guess.user_id.unwrap();
    let known = usage::Model {
        cost_microusd: Some(3),
        ..truth(&guess)
    };
    call::note(&database.db, Some((JobId::new(), 1)), &guess)
        .await
        .unwrap();
    sqlx::query(call::ESTIMATE)
        .bind(guess.id.0)
        .execute(database.pool())
        .await
        .unwrap();
    let guessed = (guess.input_tokens + guess.output_tokens, 5);
    assert_eq!(months(&database, user).await, [guessed]);
    for _ in 0..2 {
        call::settle(&database.db, &known).await.unwrap();
        assert_eq!(months(&database, user).await, [(15, 3)]);
    }

    // A month of which nothing was counted yet is begun from all its rows.
    sqlx::query("DELETE FROM usage_months")
        .execute(database.pool())
        .await
        .unwrap();
    let other = usage::Model {
        user_id: Some(user),
        input_tokens: 1,
        output_tokens: 1,
        ..estimate()
    };
    call::settle(&database.db, &other).await.unwrap();
    assert_eq!(months(&database, user).await, [(17, 8)]);
    call::withdraw(&database.db, known.id).await.unwrap();
    assert_eq!(months(&database, user).await, [(2, 5)]);
}
