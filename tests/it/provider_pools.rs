//! Pools of keys as several programs see them, that share a Redis or lose it.

use std::{cell::RefCell, time::Duration};

use futures::FutureExt as _;
use shared::{
    clients::chat::Limit,
    config::{Problems, ProviderArgs, RedisConfig},
    providers::{Picked, Providers},
    redis::Redis,
};
use tests::{Options, TestApp, eventually, process::RedisServer};

const MODEL: &str = "m";

/// What a program that belongs to the product knows of `OpenAI`'s keys.
async fn pools(app: &TestApp, keys: &str) -> Providers {
    let args = ProviderArgs {
        openai_api_keys: Some(keys.to_owned()),
        script_limit: Some(Duration::from_secs(2)),
        ..ProviderArgs::default()
    };
    let redis = Redis::connect(&RedisConfig {
        url: app.redis_url.clone().into(),
        tls_insecure: false,
        ca: None,
        prefix: app.prefix.clone(),
    })
    .unwrap();
    eventually("redis is there", async || redis.ping().await.is_ok()).await;
    Providers::new(
        args.check(&mut Problems::default()),
        app.context.db.clone(),
        redis,
        app.clock.clone(),
        app.context.keyring.clone(),
    )
}

/// Three failures in a row.
async fn fail(pools: &Providers) {
    for _ in 0..3 {
        let picked = pools.pick("openai", MODEL, &[]).await.unwrap();
        pools.failed(&picked).await;
    }
    assert!(pools.pick("openai", MODEL, &[]).await.is_err(), "it opens");
}

/// A key, once it may be had.
async fn pick(pools: &Providers) -> Picked {
    let picked = RefCell::new(None);
    eventually("a key is had", async || {
        let had = pools.pick("openai", MODEL, &[]).await.ok();
        let is_had = had.is_some();
        *picked.borrow_mut() = had;
        is_had
    })
    .await;
    picked.into_inner().unwrap()
}

#[tokio::test]
async fn a_probe_is_not_lost_with_whoever_asked() {
    let app = TestApp::spawn().await;
    let pools = pools(&app, "k1").await;
    fail(&pools).await;
    app.advance(Duration::from_secs(21)).await;
    let probe = pools.pick("openai", MODEL, &[]).await.unwrap();
    assert!(pools.pick("openai", MODEL, &[]).await.is_err(), "one only");
    drop(probe);
    // Another one may look.
    pools.end_probe(&pick(&pools).await).await;
    // The next is stopped before it hears that it may.
    let picking = pools.pick("openai", MODEL, &[]).now_or_never();
    assert!(picking.is_none());
    // A third one is stopped while it tells that the provider is back.
    let probe = pick(&pools).await;
    assert!(pools.answered(&probe).now_or_never().is_none());
    drop(probe);
    eventually("it is closed", async || {
        pools.view().await[0].models.is_empty()
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_list_that_is_old_brings_no_dead_key_back() {
    let mut app = TestApp::spawn().await;
    let pools = pools(&app, "k1").await;
    let picked = pools.pick("openai", MODEL, &[]).await.unwrap();
    // Nobody else reads the tables.
    app.stop_api().await;
    let mut lock = app.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE provider_pools IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let retire = async {
        // The list of retired keys is read, and not known here yet.
        app.database.somebody_waits().await;
        let mut retiring = std::pin::pin!(pools.retired(&picked, "401".to_owned()));
        // As long as it is not known, none must be stored: so this ends after the lock, or it is wrong.
        let while_locked = tokio::time::timeout(Duration::from_millis(500), &mut retiring);
        let is_stored = while_locked.await.is_ok();
        lock.commit().await.unwrap();
        if !is_stored {
            retiring.await;
        }
    };
    let (refreshed, ()) = tokio::join!(pools.refresh(), retire);
    refreshed.unwrap();
    assert!(!pools.can_ask("openai"));
    app.finish().await;
}

#[tokio::test]
async fn what_one_program_revives_all_use_again() {
    let app = TestApp::spawn().await;
    let (one, other) = (pools(&app, "k1").await, pools(&app, "k1").await);
    let limit = Limit {
        wait: Some(Duration::from_hours(1)),
        is_daily: false,
    };
    for _ in 0..2 {
        let picked = one.pick("openai", MODEL, &[]).await.unwrap();
        one.limited(&picked, limit).await;
        assert!(one.pick("openai", MODEL, &[]).await.is_err());
        other.revive("openai", None).await.unwrap();
        // It is not left alone here any more, nor do others hear from here that it is.
        for pools in [&one, &other] {
            assert!(pools.pick("openai", MODEL, &[]).await.is_ok());
        }
        fail(&one).await;
        assert!(other.pick("openai", MODEL, &[]).await.is_err());
        other.revive("openai", None).await.unwrap();
        for pools in [&one, &other] {
            assert!(pools.pick("openai", MODEL, &[]).await.is_ok());
        }
        // Failures in a row begin anew.
        for _ in 0..2 {
            let picked = one.pick("openai", MODEL, &[]).await.unwrap();
            one.failed(&picked).await;
        }
        other.revive("openai", None).await.unwrap();
        let picked = one.pick("openai", MODEL, &[]).await.unwrap();
        one.failed(&picked).await;
        let picked = one.pick("openai", MODEL, &[]).await.unwrap();
        one.completed(&picked).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_breaker_that_another_program_closed_is_closed_without_redis_too() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::with(Options {
        redis_url: Some(redis.url()),
        ..Options::default()
    })
    .await;
    let (one, other) = (pools(&app, "k1").await, pools(&app, "k1").await);
    fail(&one).await;
    app.advance(Duration::from_secs(21)).await;
    let probe = other.pick("openai", MODEL, &[]).await.unwrap();
    other.answered(&probe).await;
    assert!(one.pick("openai", MODEL, &[]).await.is_ok());
    redis.stop().await;
    // None of them has to see whether the provider is back.
    for _ in 0..2 {
        assert!(one.pick("openai", MODEL, &[]).await.is_ok());
    }
    app.finish().await;
}
