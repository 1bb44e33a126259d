//! Days of keys: counted by all instances together, over restarts, and where the provider counts.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Timelike as _, Utc};
use serde_json::json;
use shared::{clock::Clock, config::ProviderArgs};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, refusal, words_of},
};

use crate::{
    chat_keys::{app, ask, header, uses},
    chat_streams::Instance,
};

/// Most uses of a key in a day, and of all three.
const EACH: usize = 5;
const ALL: usize = 3 * EACH;

const HOUR: u64 = 3_600;

/// A zone other than UTC in which it is noon, so that no day ends while a test runs.
fn zone_of_noon(now: DateTime<Utc>) -> String {
    let ahead = match 12 - i64::from(now.hour()) {
        0 => 1,
        ahead => ahead,
    };
    // These names count westwards (POSIX).
    format!("Etc/GMT{:+}", -ahead)
}

/// Starts an instance, and waits until it sees Redis: before that it counts by itself.
async fn start(app: &TestApp, provider: &Provider, zone: &str, ana: &Actor) -> (Instance, Actor) {
    let each = EACH.to_string();
    let variables = [
        ("OPENAI_API_KEYS", "k1,k2,k3"),
        ("OPENAI_DAILY_REQUESTS_PER_KEY", &each),
        ("PROVIDER_RESET_ZONE", zone),
        ("RUST_LOG", "info,shared::providers=debug"),
    ];
    let instance = Instance::start(app, provider, &variables).await;
    let ana = instance.of(ana);
    eventually("redis is connected there", async || {
        let health = ana.get("/api/health").await.expect(200);
        health["services"]["redis"]["status"] == "healthy"
    })
    .await;
    (instance, ana)
}

/// Uses keys up at two instances, of which one is killed and replaced meanwhile. False where the machine was too busy for
/// Redis to answer in time: then each instance goes on with what it knows itself.
async fn use_up() -> bool {
    let provider = Provider::saying(&["Yes."]).await;
    let zone = zone_of_noon(Clock::System.now());
    let app = TestApp::with(Options {
        live: true,
        ..Options::default()
    })
    .await;
    let (ana, eve) = (app.user("ana").await, app.user("eve").await);
    let eve = app.promote(&eve).await;
    let (one, at_one) = start(&app, &provider, &zone, &ana).await;
    let (mut two, at_two) = start(&app, &provider, &zone, &ana).await;
    for actor in [&at_one, &at_two, &at_one, &at_two] {
        ask(actor).await.expect(200);
    }
    two.kill().await;
    let (three, at_three) = start(&app, &provider, &zone, &ana).await;
    let asking = (0..ALL).map(|number| ask([&at_one, &at_three][number % 2]));
    let (answered, refused): (Vec<_>, Vec<_>) = futures::future::join_all(asking)
        .await
        .into_iter()
        .partition(|reply| reply.status == 200);
    let late = [ask(&at_one).await, ask(&at_three).await];
    let list = three.of(&eve).get("/api/v1/admin/providers").await;
    let alone = "keys are picked without redis";
    let is_alone = [&one, &two, &three].map(|instance| instance.has_logged(alone));
    app.finish().await;
    if is_alone.contains(&true) {
        return false;
    }

    assert_eq!((answered.len(), refused.len()), (ALL - 4, 4));
    let expected = ["k1", "k2", "k3"].map(|key| (key.to_owned(), EACH));
    assert_eq!(uses(&provider.asked()), BTreeMap::from(expected));
    for reply in refused.into_iter().chain(late) {
        // It is between noon and two there, and the test takes less than some hours.
        let wait = header(&reply, "retry-after");
        assert!((8 * HOUR..=12 * HOUR).contains(&wait), "{wait} s in {zone}");
        reply.expect_problem(429, "provider_rate_limited");
    }
    let list = list.expect(200);
    let groups = list["data"][0]["groups"].as_array().unwrap();
    let used: Vec<_> = groups
        .iter()
        .map(|one| &one["keys"][0]["usedToday"])
        .collect();
    assert_eq!(used, [&json!(EACH); 3], "as who has just started sees it");
    true
}

#[tokio::test]
async fn all_instances_count_together_and_so_does_one_that_starts_later() {
    for _ in 0..3 {
        if use_up().await {
            return;
        }
    }
    panic!("redis never answered in time");
}

#[tokio::test]
async fn fourteen_keys_are_used_up_until_the_day_ends() {
    let provider = Provider::saying(&["Yes."]).await;
    let keys: Vec<String> = (1..=14).map(|number| format!("k{number}")).collect();
    let (app, ana) = app(ProviderArgs {
        openai_daily_requests_per_key: Some("2".to_owned()),
        ..provider.args(&keys.join(","))
    })
    .await;
    for _ in 0..28 {
        ask(&ana).await.expect(200);
    }
    let used = uses(&provider.asked());
    assert!(
        used.len() == 14 && used.values().all(|uses| *uses == 2),
        "{used:?}"
    );
    let refused = ask(&ana).await;
    // 2026-01-02T03:04:05Z: so long until midnight.
    let until_midnight = 20 * 3_600 + 55 * 60 + 55;
    assert_eq!(header(&refused, "retry-after"), until_midnight);
    assert_eq!(header(&refused, "retry-after-ms"), until_midnight * 1_000);
    assert_eq!(refused.headers["x-should-retry"], "true");
    let problem = refused.expect_problem(429, "provider_rate_limited");
    assert_eq!(problem["retryAfter"], until_midnight);
    let list = ana.get("/api/v1/conversations").await.expect(200);
    assert_eq!(
        list["data"].as_array().unwrap().len(),
        28,
        "what is refused leaves nothing"
    );
    app.advance(Duration::from_secs(until_midnight)).await;
    let ana = app.login(&ana).await;
    for _ in 0..14 {
        ask(&ana).await.expect(200);
    }
    assert!(uses(&provider.asked()).values().all(|uses| *uses == 3));
    app.finish().await;
}

#[tokio::test]
async fn a_day_that_a_provider_says_is_over_ends_when_it_says() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "k1" => refusal(
            429,
            "Rate limit reached on requests per day (RPD). Please try again in 1h2m3s.",
        ),
        _ => words_of(&["Yes."]),
    })
    .await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    for _ in 0..4 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(uses(&provider.asked())["k1"], 1);
    app.advance(Duration::from_mins(62)).await;
    let ana = app.login(&ana).await;
    ask(&ana).await.expect(200);
    assert_eq!(uses(&provider.asked())["k1"], 1);
    app.advance(Duration::from_secs(4)).await;
    for _ in 0..2 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(uses(&provider.asked())["k1"], 2);
    app.finish().await;
}

#[tokio::test]
async fn a_day_ends_at_midnight_of_the_zone_that_is_configured() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(ProviderArgs {
        openai_daily_requests_per_key: Some("1".to_owned()),
        provider_reset_zone: Some("Asia/Karachi".to_owned()),
        ..provider.args("k1")
    })
    .await;
    ask(&ana).await.expect(200);
    // 2026-01-02T03:04:05Z is 08:04:05 there.
    let until_midnight = 15 * HOUR + 55 * 60 + 55;
    assert_eq!(header(&ask(&ana).await, "retry-after"), until_midnight);
    app.advance(Duration::from_secs(until_midnight - 1)).await;
    let ana = app.login(&ana).await;
    assert_eq!(header(&ask(&ana).await, "retry-after"), 1);
    app.advance(Duration::from_secs(1)).await;
    ask(&ana).await.expect(200);
    assert_eq!(header(&ask(&ana).await, "retry-after"), 24 * HOUR);
    assert_eq!(provider.asked().len(), 2);
    app.finish().await;
}

/// Google counts where it is at home, where days have 23 and 25 hours when the clocks change.
#[tokio::test]
async fn a_day_ends_where_its_provider_counts_also_when_clocks_change() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(ProviderArgs {
        gemini_api_keys: Some("k1".to_owned()),
        gemini_base_url: Some(provider.base_url.clone()),
        gemini_daily_requests_per_key: Some("1".to_owned()),
        ..ProviderArgs::default()
    })
    .await;
    for (now, until_midnight) in [
        ("2026-01-02T03:04:05Z", 4 * HOUR + 55 * 60 + 55),
        ("2026-03-08T08:00:00Z", 23 * HOUR),
        ("2026-11-01T07:00:00Z", 25 * HOUR),
    ] {
        let wait = DateTime::parse_from_rfc3339(now).unwrap().to_utc() - app.clock.now();
        app.advance(wait.to_std().unwrap()).await;
        let ana = app.login(&ana).await;
        let ask = async || {
            let body = json!({ "message": "Hi", "model": "gemini-2.5-flash" });
            ana.chat(body).await
        };
        ask().await.expect(200);
        let refused = ask().await;
        assert_eq!(header(&refused, "retry-after"), until_midnight, "{now}");
        refused.expect_problem(429, "provider_rate_limited");
    }
    app.finish().await;
}
