//! Limits on tries to log in, over all instances, and where Redis or Postgres is away.

use std::time::Duration;

use serde_json::json;
use tests::{
    Options, TestApp,
    process::{PostgresServer, Process, free_port, program},
};

use crate::limits::{LOGIN, PASSWORD, REGISTER, limited, log_in_from, redis_keys};

#[tokio::test]
async fn what_redis_forgets_is_remembered_here() {
    let app = TestApp::with(limited("2/15m", None)).await;
    let nobody = app.anonymous();
    let login = || {
        let body = json!({ "email": "ana@example.com", "password": PASSWORD });
        nobody.post_json(LOGIN, body)
    };
    for _ in 0..2 {
        login().await.expect_problem(401, "unauthenticated");
    }
    let client = redis::Client::open(app.redis_url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for key in redis_keys(&app).await {
        redis::cmd("DEL")
            .arg(key)
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }
    login().await.expect_problem(429, "too_many_requests");
    app.finish().await;
}

#[tokio::test]
async fn our_own_trouble_is_nobodys_try() {
    let postgres = PostgresServer::start().await;
    let app = TestApp::with(Options {
        postgres_url: Some(postgres.url()),
        ..limited("2/15m", None)
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({ "email": ana.email, "password": PASSWORD });
    let other = json!({ "email": "ben@example.com", "password": PASSWORD });
    postgres.stop().await;
    for _ in 0..3 {
        for (path, body) in [(LOGIN, &body), (REGISTER, &other)] {
            ana.post_json(path, body.clone())
                .await
                .expect_problem(503, "unavailable");
        }
    }
    postgres.restart().await;
    ana.post_json(LOGIN, body).await.expect(200);
    ana.post_json(REGISTER, other).await.expect(201);
    app.finish().await;
}

#[tokio::test]
async fn without_redis_each_instance_counts_for_itself() {
    let options = Options {
        redis_url: Some(format!("redis://127.0.0.1:{}", free_port())),
        ..limited("2/15m", None)
    };
    let app = TestApp::with(options).await;
    let ana = app.user("ana").await;
    let login = |password: &str| {
        let body = json!({ "email": ana.email, "password": password });
        ana.post_json(LOGIN, body)
    };
    for _ in 0..3 {
        login(PASSWORD).await.expect(200);
    }
    for _ in 0..2 {
        login("a wrong password")
            .await
            .expect_problem(401, "unauthenticated");
    }
    login(PASSWORD)
        .await
        .expect_problem(429, "too_many_requests");
    app.advance(Duration::from_mins(15)).await;
    login(PASSWORD).await.expect(200);
    app.finish().await;
}

/// Over Redis, and by its clock.
#[tokio::test]
async fn all_instances_count_together() {
    let app = TestApp::with(Options {
        live: true,
        ..limited("5/15m", Some("loopback"))
    })
    .await;
    let port = free_port().to_string();
    let environment = app.environment();
    let mut environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    environment.extend([
        ("PORT", port.as_str()),
        ("HOST", "127.0.0.1"),
        ("TRUSTED_PROXIES", "loopback"),
    ]);
    let api = Process::start(&program("baatcheet-api"), &[], &environment);
    api.wait_for_line("listening on").await;
    let here = app.anonymous();
    let mut there = here.clone();
    there.base = format!("http://127.0.0.1:{port}");
    tests::eventually("redis is connected there", || async {
        there.get("/api/health").await.expect(200)["status"] == "healthy"
    })
    .await;
    // A script that the machine was too busy for counts there only: then the next one shows it.
    let mut shared = false;
    for number in 0..5 {
        let email = format!("someone{number}@example.com");
        for address in 0..5 {
            let address = format!("198.51.{number}.{address}");
            log_in_from(&there, &address, &email, "a wrong password")
                .await
                .expect_problem(401, "unauthenticated");
        }
        let reply = log_in_from(&here, "203.0.113.7", &email, "a wrong password").await;
        if reply.status == 429 {
            shared = true;
            break;
        }
    }
    assert!(shared, "what the other instance counted is not known here");
    drop(api);
    app.finish().await;
}
