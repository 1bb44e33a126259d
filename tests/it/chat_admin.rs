//! What operators see of providers, and do with their keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, refusal, words_of},
};

use crate::{chat::id, chat_streams::Instance};

/// An administrator of a product whose provider refuses `k1` and asks `beta` to wait.
async fn product(provider: &Provider, live: bool) -> (TestApp, Actor, Actor) {
    let app = TestApp::with(Options {
        live,
        providers: ProviderArgs {
            openai_daily_requests_per_key: Some("900".to_owned()),
            ..provider
                .args("acme:k1-secret-key,beta:k2-secret-key,beta:k3-secret-key,k4-secret-key")
        },
        ..Options::default()
    })
    .await;
    let (ana, eve) = (app.user("ana").await, app.user("eve").await);
    let eve = app.promote(&eve).await;
    (app, ana, eve)
}

async fn provider() -> Provider {
    Provider::start(|asked| match asked.key.as_str() {
        "k1-secret-key" => refusal(401, "Incorrect API key provided"),
        "k2-secret-key" => refusal(429, "Rate limit reached").with("retry-after", "7"),
        _ => words_of(&["Yes."]),
    })
    .await
}

/// A question that is answered.
pub(crate) async fn ask(actor: &Actor) {
    let body = json!({ "message": "Hi", "model": "gpt-4o-mini" });
    actor.chat(body).await.expect(200);
}

const LIST: &str = "/api/v1/admin/providers";

fn group<'a>(list: &'a Value, name: &str) -> &'a Value {
    let groups = list["data"][0]["groups"].as_array().unwrap();
    groups.iter().find(|group| group["name"] == name).unwrap()
}

#[tokio::test]
async fn administrators_see_keys_masked_and_bring_them_back() {
    let provider = provider().await;
    let (app, ana, eve) = product(&provider, false).await;
    ana.get(LIST).await.expect_problem(403, "admin_required");
    for _ in 0..4 {
        ask(&ana).await;
    }
    let list = eve.get(LIST).await.expect(200);
    assert!(!list.to_string().contains("secret"), "{list}");
    assert_eq!(list["data"][0]["name"], "openai");
    assert_eq!(list["data"][0]["dailyRequestsPerKey"], 900);
    let acme = &group(&list, "acme")["keys"][0];
    assert_eq!(acme["masked"], "k1-s…-key");
    assert_eq!(acme["retired"], "401: Incorrect API key provided");
    let beta = group(&list, "beta");
    assert_eq!(beta["cooldownMs"], 7_000);
    assert_eq!(beta["keys"][0]["usedToday"], 1);
    let alone = list["data"][0]["groups"][2].clone();
    assert_eq!(alone["name"], alone["keys"][0]["id"]);
    assert_eq!(alone["keys"][0]["usedToday"], 4);
    assert_eq!(list["data"][0]["breakers"], json!([]));

    let path = format!("{LIST}/openai/revive");
    ana.post(&path).await.expect_problem(403, "admin_required");
    eve.post_json(&path, json!({ "keyId": "nothing" }))
        .await
        .expect_problem(404, "not_found");
    eve.post(&format!("{LIST}/nobody/revive"))
        .await
        .expect_problem(404, "not_found");
    let list = eve
        .post_json(&path, json!({ "keyId": id(&acme["id"]) }))
        .await
        .expect(200);
    assert_eq!(group(&list, "acme")["keys"][0]["retired"], Value::Null);
    assert_eq!(group(&list, "beta")["cooldownMs"], 7_000);
    let list = eve.post(&path).await.expect(200);
    assert_eq!(group(&list, "beta")["cooldownMs"], Value::Null);
    let before = provider.asked().len();
    for _ in 0..3 {
        ask(&ana).await;
    }
    let keys: Vec<String> = provider.asked()[before..]
        .iter()
        .map(|asked| asked.key.clone())
        .collect();
    assert!(keys.contains(&"k1-secret-key".to_owned()), "{keys:?}");
    app.finish().await;
}

#[tokio::test]
async fn what_is_revived_is_used_again_by_programs_that_were_refused_themselves() {
    let is_back = Arc::new(AtomicBool::new(false));
    let seen = is_back.clone();
    let provider = Provider::start(move |_| {
        if seen.load(Ordering::SeqCst) {
            words_of(&["Yes."])
        } else {
            refusal(429, "Rate limit reached").with("retry-after", "3600")
        }
    })
    .await;
    let (app, ana, eve) = product(&provider, true).await;
    let keys = ("OPENAI_API_KEYS", "acme:k1-secret-key,beta:k2-secret-key");
    let other = Instance::start(&app, &provider, &[keys]).await;
    let there = other.of(&ana);
    let body = json!({ "message": "Hi", "model": "gpt-4o-mini" });
    there
        .chat(body.clone())
        .await
        .expect_problem(429, "provider_rate_limited");
    is_back.store(true, Ordering::SeqCst);
    let list = eve.post(&format!("{LIST}/openai/revive")).await.expect(200);
    assert_eq!(group(&list, "acme")["cooldownMs"], Value::Null);
    eventually("it asks again", async || {
        there.chat(body.clone()).await.status == 200
    })
    .await;
    // Nor did it tell others what it knew.
    let list = eve.get(LIST).await.expect(200);
    for name in ["acme", "beta"] {
        assert_eq!(group(&list, name)["cooldownMs"], Value::Null, "{name}");
    }
    app.finish().await;
}

#[tokio::test]
async fn pools_are_replaced_while_the_programs_run() {
    let provider = provider().await;
    let (app, ana, eve) = product(&provider, true).await;
    let other = Instance::start(&app, &provider, &[("OPENAI_API_KEYS", "k4-secret-key")]).await;
    let path = format!("{LIST}/openai/keys");
    let put = |body: Value| eve.send(eve.request(reqwest::Method::PUT, &path).json(&body));
    for bad in [
        json!({ "keys": [] }),
        json!({ "keys": ["a,b"] }),
        json!({ "keys": [":x"] }),
    ] {
        assert_eq!(put(bad).await.expect_bad_fields(), ["/keys"]);
    }
    let list = put(json!({ "keys": ["new:k5-secret-key"] }))
        .await
        .expect(200);
    assert_eq!(group(&list, "new")["keys"][0]["masked"], "k5-s…-key");
    let stored: Vec<u8> = sqlx::query_scalar("SELECT sealed_keys FROM provider_pools")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&stored).contains("k5"));
    for actor in [ana.clone(), other.of(&ana)] {
        eventually("the new key is used", async || {
            ask(&actor).await;
            provider.asked().pop().unwrap().key == "k5-secret-key"
        })
        .await;
    }
    eve.delete(&path).await.expect(204);
    eventually("the old keys are used", async || {
        ask(&ana).await;
        provider.asked().pop().unwrap().key != "k5-secret-key"
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_program_that_starts_knows_what_is_set_and_retired_before_it_is_asked() {
    let provider = provider().await;
    let (app, ana, eve) = product(&provider, true).await;
    let body = json!({ "keys": ["k1-secret-key", "k5-secret-key"] });
    let put = eve.request(reqwest::Method::PUT, &format!("{LIST}/openai/keys"));
    eve.send(put.json(&body)).await.expect(200);
    for _ in 0..2 {
        ask(&ana).await;
    }
    let before = provider.asked();
    assert!(before.iter().any(|asked| asked.key == "k1-secret-key"));
    // It has no keys of its own.
    let other = Instance::start(&app, &provider, &[("LOG_FORMAT", "json")]).await;
    for _ in 0..4 {
        ask(&other.of(&ana)).await;
    }
    let asked = provider.asked();
    let mut later = asked[before.len()..].iter();
    assert!(later.all(|asked| asked.key == "k5-secret-key"));
    app.finish().await;
}

/// The scripts in Redis and the rules of a process without it decide alike.
#[tokio::test]
async fn keys_are_picked_alike_with_and_without_redis() {
    use shared::{
        catalogue::Catalogue,
        clients::chat::Limit,
        clock::Clock,
        config::{Problems, RedisConfig},
        providers::{NotNow, Picked, Providers},
        redis::Redis,
    };
    let app = TestApp::spawn().await;
    let args = ProviderArgs {
        openai_api_keys: Some("a:k1,a:k2,b:k3,k4".to_owned()),
        openai_daily_requests_per_key: Some("3".to_owned()),
        ..ProviderArgs::default()
    };
    let ai = args.check(&mut Problems::default());
    // It is Redis that shall decide, however busy the machine is.
    let mut patient = ai.clone();
    patient.script_limit = Duration::from_secs(2);
    assert!(Catalogue::built_in().provider("openai").is_some());
    let clock = Clock::frozen(app.clock.now());
    let redis = |url: &str, prefix: &str| {
        let config = RedisConfig {
            url: url.to_owned().into(),
            tls_insecure: false,
            ca: None,
            prefix: prefix.to_owned(),
        };
        Redis::connect(&config).unwrap()
    };
    let keyring = app.context.keyring.clone();
    let shared = redis(&app.redis_url, &app.prefix);
    eventually("redis is there", async || shared.ping().await.is_ok()).await;
    let with = Providers::new(
        patient,
        app.context.db.clone(),
        shared,
        clock.clone(),
        keyring.clone(),
    );
    let without = Providers::new(
        ai,
        app.context.db.clone(),
        redis("redis://127.0.0.1:1", "x:"),
        clock.clone(),
        keyring,
    );
    let told = |picked: &Result<Picked, NotNow>| match picked {
        Ok(picked) => format!("{} of {}", picked.key_id(), picked.group()),
        Err(why) => format!("{why:?}"),
    };
    let mut random: u64 = 7;
    let mut next = |most: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..2_000 {
        let model = ["m1", "m2"][usize::try_from(next(2)).unwrap()];
        let one = with.pick("openai", model, &[]).await;
        let other = without.pick("openai", model, &[]).await;
        assert_eq!(told(&one), told(&other), "step {step}");
        seen.insert(told(&one).split('(').next().unwrap().to_owned());
        if let (Ok(one), Ok(other)) = (one, other) {
            let limit = Limit {
                wait: [None, Some(Duration::from_secs(next(30)))]
                    [usize::try_from(next(2)).unwrap()],
                is_daily: next(4) == 0,
            };
            match next(8) {
                0 => tokio::join!(with.limited(&one, limit), without.limited(&other, limit)),
                1 => tokio::join!(with.unused(&one), without.unused(&other)),
                2..=4 => tokio::join!(with.failed(&one), without.failed(&other)),
                _ => tokio::join!(with.answered(&one), without.answered(&other)),
            };
        }
        clock.advance(Duration::from_millis(next(20_000)));
        if next(50) == 0 {
            clock.advance(Duration::from_hours(next(30)));
        }
    }
    assert!(seen.len() > 5, "{seen:?}");
    // It was Redis that decided.
    let client = redis::Client::open(app.redis_url.clone()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}providers:openai", app.prefix);
    let turns: i64 = redis::cmd("HGET")
        .arg(key)
        .arg("turn")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(turns > 100, "{turns}");
    app.finish().await;
}
