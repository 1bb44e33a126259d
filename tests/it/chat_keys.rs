//! Keys, accounts, daily limits and breakers: whom an answer is asked of.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, Reply, TestApp, eventually,
    fakes::provider::{Asked, Provider, Script, Step, delta, end, refusal, stream, words_of},
};

use crate::chat::ledger;

pub(crate) async fn app(providers: ProviderArgs) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers,
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

pub(crate) async fn ask(actor: &Actor) -> Reply {
    actor
        .chat(json!({ "message": "Hi", "model": "gpt-4o-mini" }))
        .await
}

pub(crate) fn header(reply: &Reply, name: &str) -> u64 {
    let value = reply
        .headers
        .get(name)
        .unwrap_or_else(|| panic!("no {name}: {}", reply.text));
    value.to_str().unwrap().parse().unwrap()
}

/// How often each key was used.
pub(crate) fn uses(asked: &[Asked]) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    for one in asked {
        *uses.entry(one.key.clone()).or_default() += 1;
    }
    uses
}

#[tokio::test]
async fn calls_take_turns_between_accounts_and_then_between_their_keys() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(provider.args("acme:k1,acme:k2,beta:k3")).await;
    for _ in 0..8 {
        ask(&ana).await.expect(200);
    }
    let keys: Vec<String> = provider.asked().into_iter().map(|one| one.key).collect();
    assert_eq!(keys, ["k1", "k3", "k2", "k3", "k1", "k3", "k2", "k3"]);
    let groups: Vec<Value> = ledger(&app)
        .await
        .into_iter()
        .map(|row| row["key_group"].clone())
        .collect();
    assert_eq!(groups[..2], [json!("acme"), json!("beta")]);
    app.finish().await;
}

#[tokio::test]
async fn an_account_that_asked_too_much_is_left_alone_for_as_long_as_it_says() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "k3" => words_of(&["Yes."]),
        _ => refusal(429, "Rate limit reached").with("retry-after", "7"),
    })
    .await;
    let (app, ana) = app(provider.args("acme:k1,acme:k2,beta:k3")).await;
    for _ in 0..6 {
        ask(&ana).await.expect(200);
    }
    // Once; the other key of the account was not even tried.
    assert_eq!(
        uses(&provider.asked()),
        BTreeMap::from([("k1".to_owned(), 1), ("k3".to_owned(), 6)])
    );
    app.advance(Duration::from_millis(6_900)).await;
    for _ in 0..4 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(uses(&provider.asked())["k3"], 10);
    app.advance(Duration::from_millis(200)).await;
    for _ in 0..2 {
        ask(&ana).await.expect(200);
    }
    let uses = uses(&provider.asked());
    assert_eq!(
        uses.get("k1").unwrap_or(&0) + uses.get("k2").unwrap_or(&0),
        2,
        "{uses:?}"
    );
    app.finish().await;
}

/// Fails until it is told that it is back; then it holds its answers.
async fn recovering() -> (Provider, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let is_back = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = is_back.clone();
    let answer = move |_: &Asked| -> Script {
        if seen.load(std::sync::atomic::Ordering::SeqCst) {
            stream([vec![Step::Hold, delta("Yes.")], end("stop", 3, 1)].concat())
        } else {
            refusal(503, "overloaded")
        }
    };
    (Provider::start(answer).await, is_back)
}

#[tokio::test]
async fn a_breaker_opens_after_three_failures_and_one_request_of_all_instances_probes() {
    let (provider, is_back) = recovering().await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    let there = Actor {
        base: app.another_api().await,
        ..ana.clone()
    };
    ask(&ana).await.expect_problem(502, "provider_failed");
    ask(&ana).await;
    assert_eq!(
        provider.asked().len(),
        3,
        "the third failure in a row opens it"
    );
    for actor in [&ana, &there] {
        let refused = ask(actor).await;
        assert_eq!(header(&refused, "retry-after"), 20);
        refused.expect_problem(503, "provider_unavailable");
    }
    assert_eq!(provider.asked().len(), 3);

    is_back.store(true, std::sync::atomic::Ordering::SeqCst);
    app.advance(Duration::from_secs(21)).await;
    let mut asking: FuturesUnordered<_> = (0..10)
        .map(|number| ask(if number % 2 == 0 { &ana } else { &there }))
        .collect();
    // All but the one that is let through, whose answer is held.
    for _ in 0..9 {
        let refused = asking.next().await.unwrap();
        // Not for as long as a probe may take.
        assert_eq!(header(&refused, "retry-after-ms"), 2_000);
        refused.expect_problem(503, "provider_unavailable");
    }
    eventually("one is let through", async || provider.asked().len() == 4).await;
    for actor in [&ana, &there] {
        ask(actor).await.expect_problem(503, "provider_unavailable");
    }
    assert_eq!(provider.asked().len(), 4);
    provider.release();
    asking.next().await.unwrap().expect(200);
    for actor in [&ana, &there] {
        ask(actor).await.expect(200);
    }
    app.finish().await;
}

#[tokio::test]
async fn without_redis_the_same_rules_hold() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "k1" => refusal(429, "Rate limit reached").with("retry-after", "60"),
        _ => words_of(&["Yes."]),
    })
    .await;
    let app = TestApp::with(Options {
        redis_url: Some("redis://127.0.0.1:1".to_owned()),
        providers: ProviderArgs {
            openai_daily_requests_per_key: Some("3".to_owned()),
            ..provider.args("k1,k2")
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    for _ in 0..3 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(
        uses(&provider.asked()),
        BTreeMap::from([("k1".to_owned(), 1), ("k2".to_owned(), 3)])
    );
    let refused = ask(&ana).await;
    // k1 is left alone for a minute, and k2 is used up until midnight.
    assert_eq!(header(&refused, "retry-after"), 60);
    refused.expect_problem(429, "provider_rate_limited");
    app.finish().await;
}

/// A product whose models are at two providers: `OpenAI`, and `OpenRouter` after it.
fn of_two(first: &Provider, second: &Provider) -> ProviderArgs {
    ProviderArgs {
        openrouter_api_keys: Some("or-1,or-2".to_owned()),
        openrouter_base_url: Some(second.base_url.clone()),
        ..first.args("k1")
    }
}

#[tokio::test]
async fn a_provider_that_stands_in_is_counted_once() {
    let away = Provider::start(|_| refusal(401, "Incorrect API key provided")).await;
    let there = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(ProviderArgs {
        openrouter_daily_requests_per_key: Some("3".to_owned()),
        ..of_two(&away, &there)
    })
    .await;
    for _ in 0..6 {
        ask(&ana).await.expect(200);
    }
    let used = uses(&there.asked());
    assert_eq!((used["or-1"], used["or-2"]), (3, 3));
    ask(&ana).await.expect_problem(429, "provider_rate_limited");
    assert_eq!(ledger(&app).await.len(), 7, "six answers and one refusal");
    app.finish().await;
}

#[tokio::test]
async fn who_is_limited_while_it_is_asked_tells_the_true_wait() {
    let provider =
        Provider::start(|_| refusal(429, "Rate limit reached").with("retry-after", "60")).await;
    let (app, ana) = app(provider.args("k1")).await;
    let refused = ask(&ana).await;
    assert_eq!(header(&refused, "retry-after"), 60);
    assert_eq!(header(&refused, "retry-after-ms"), 60_000);
    assert_eq!(refused.headers["x-should-retry"], "true");
    refused.expect_problem(429, "provider_rate_limited");
    let refused = ask(&ana).await;
    assert_eq!(header(&refused, "retry-after"), 60);
    refused.expect_problem(429, "provider_rate_limited");
    assert_eq!(provider.asked().len(), 1);
    app.advance(Duration::from_secs(61)).await;
    let events = ana
        .stream(json!({ "message": "Hi", "model": "gpt-4o-mini" }))
        .await
        .rest()
        .await;
    let last = events.last().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["retryAfterMs"]),
        ("error", &json!(60_000))
    );
    app.finish().await;
}

#[tokio::test]
async fn who_is_limited_for_no_time_at_all_is_left_alone_for_a_second() {
    let provider =
        Provider::start(|_| refusal(429, "Rate limit reached").with("retry-after", "0")).await;
    let (app, ana) = app(provider.args("k1")).await;
    for _ in 0..2 {
        let refused = ask(&ana).await;
        assert_eq!(header(&refused, "retry-after"), 1);
        refused.expect_problem(429, "provider_rate_limited");
    }
    assert_eq!(provider.asked().len(), 1);
    app.advance(Duration::from_secs(1)).await;
    ask(&ana).await.expect_problem(429, "provider_rate_limited");
    assert_eq!(provider.asked().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_provider_that_breaks_off_after_the_first_word_opens_its_breaker_too() {
    let provider = Provider::start(|_| stream(vec![delta("Hi"), Step::Cut])).await;
    let (app, ana) = app(provider.args("k1")).await;
    for _ in 0..3 {
        ask(&ana).await.expect_problem(502, "provider_failed");
    }
    let refused = ask(&ana).await;
    assert_eq!(header(&refused, "retry-after"), 20);
    refused.expect_problem(503, "provider_unavailable");
    assert_eq!(provider.asked().len(), 3);
    app.advance(Duration::from_secs(21)).await;
    ask(&ana).await.expect_problem(502, "provider_failed");
    assert_eq!(provider.asked().len(), 4);
    app.finish().await;
}
