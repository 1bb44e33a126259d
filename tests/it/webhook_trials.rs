//! What endpoints are put through, and put us through: order with failures in between, outages, and hostile receivers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use shared::clients::outbound::Limits;
use tests::{Actor, Options, TestApp, eventually, fakes::receiver::Receiver, process::RedisServer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::method};

const WEBHOOKS: &str = "/api/v1/webhooks";

async fn endpoint(actor: &Actor, url: &str, more: Value) -> String {
    let mut body = json!({ "url": url, "events": ["image.*"] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = actor.post_json(WEBHOOKS, body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// A server that fails one request of twenty, and notes what it took.
#[derive(Clone, Default)]
struct Moody {
    seed: Arc<AtomicU64>,
    taken: Arc<Mutex<Vec<String>>>,
    failed: Arc<AtomicU64>,
}

impl Respond for Moody {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        // xorshift64*; a seed of its own makes each run the same.
        let mut seed = self.seed.load(Ordering::SeqCst);
        if seed == 0 {
            seed = 88_172_645_463_325_252;
        }
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        self.seed.store(seed, Ordering::SeqCst);
        if seed.wrapping_mul(2_685_821_657_736_338_717) >> 32 & 0xff < 13 {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return ResponseTemplate::new(500);
        }
        let body: Value = request.body_json().expect("a JSON body");
        let text = body["data"]["extractedText"].as_str().expect("a text");
        self.taken.lock().unwrap().push(text.to_owned());
        ResponseTemplate::new(204)
    }
}

#[tokio::test]
async fn a_thousand_events_arrive_in_order_though_some_tries_fail() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (server, moody) = (MockServer::start().await, Moody::default());
    Mock::given(method("POST"))
        .respond_with(moody.clone())
        .mount(&server)
        .await;
    endpoint(&ana, &server.uri(), json!({ "ordering": "endpoint" })).await;
    let texts: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    for text in &texts {
        app.ocr_completed(&ana, text).await;
    }
    // Each failure costs five seconds of the clock, and there are more than a thousand rounds.
    while app.count_live_jobs().await > 0 {
        app.run_due_jobs().await;
        app.advance(Duration::from_secs(6)).await;
    }
    let failed = moody.failed.load(Ordering::SeqCst);
    assert!((20..=90).contains(&failed), "{failed} failed");
    assert_eq!(*moody.taken.lock().unwrap(), texts);
    app.finish().await;
}

#[tokio::test]
async fn events_about_one_thing_arrive_in_order_and_others_pass_by() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver =
        Receiver::scripted(vec![ResponseTemplate::new(500), ResponseTemplate::new(204)]).await;
    let body = json!({ "url": receiver.url(), "events": ["conversation.*"], "ordering": "key" });
    ana.post_json(WEBHOOKS, body).await.expect(201);
    let first = ana.conversation("one").await;
    app.run_due_jobs().await; // fails, and waits
    for title in ["two", "three"] {
        let path = format!("/api/v1/conversations/{first}");
        ana.patch_json(&path, json!({ "title": title }))
            .await
            .expect(200);
    }
    let other = ana.conversation("other").await;
    app.run_due_jobs().await;
    let told = |bodies: Vec<Value>| -> Vec<(String, String)> {
        bodies
            .iter()
            .map(|body| {
                (
                    body["data"]["conversationId"].as_str().unwrap().to_owned(),
                    body["data"]["title"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    };
    let bodies = told(receiver.bodies().await);
    assert_eq!(
        bodies.last().unwrap().0,
        other,
        "it does not wait for another one"
    );
    assert_eq!(bodies.len(), 2);
    app.run_jobs().await;
    let mut by_thing: HashMap<String, Vec<String>> = HashMap::new();
    for (thing, title) in told(receiver.bodies().await) {
        by_thing.entry(thing).or_default().push(title);
    }
    assert_eq!(by_thing[&first], ["one", "one", "two", "three"]);
    app.finish().await;
}

#[tokio::test]
async fn all_that_happens_in_a_minute_without_redis_is_delivered_once() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::with(Options {
        live: true,
        redis_url: Some(redis.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    endpoint(&ana, &receiver.url(), json!({})).await;
    let worker = app.start_worker();
    let mut expected = Vec::new();
    let mut happen = async |phase: &str, every: Duration| {
        let mut every = tokio::time::interval(every);
        for number in 0..40 {
            every.tick().await;
            let text = format!("{phase} {number}");
            app.ocr_completed(&ana, &text).await;
            expected.push(text);
        }
    };
    let (at_once, in_a_minute) = (Duration::from_millis(1), Duration::from_millis(1540));
    happen("before", at_once).await;
    redis.stop().await;
    happen("during", in_a_minute).await;
    let arrived = || async { receiver.requests().await.len() >= 80 };
    eventually("what happened is delivered without redis", arrived).await;
    happen("still", at_once).await;
    redis.restart().await;
    happen("after", at_once).await;
    let arrived = || async { app.count_live_jobs().await == 0 };
    eventually("all is delivered", arrived).await;
    let mut texts: Vec<String> = receiver
        .bodies()
        .await
        .iter()
        .map(|body| body["data"]["extractedText"].as_str().unwrap().to_owned())
        .collect();
    texts.sort();
    expected.sort();
    assert_eq!(texts, expected);
    worker.shutdown().await;
    app.finish().await;
}

/// What a hostile server does with a connection once a request is read.
#[derive(Clone, Copy, Debug)]
enum Trick {
    EndlessBody,
    ByteAtATime,
    GoneByteAtATime,
    LargeHead,
    Silence,
    RedirectToLoopback,
}

/// Serves tricks until it is dropped.
struct Hostile {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Hostile {
    async fn start(trick: Trick) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(play(stream, trick));
            }
        });
        Self {
            address,
            _serving: serving,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

async fn play(mut stream: TcpStream, trick: Trick) {
    let mut request = vec![0; 64 * 1024];
    let _ = stream.read(&mut request).await;
    let lump = vec![b'x'; 64 * 1024];
    match trick {
        Trick::EndlessBody => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head).await;
            while stream.write_all(b"10000\r\n").await.is_ok()
                && stream.write_all(&lump).await.is_ok()
                && stream.write_all(b"\r\n").await.is_ok()
            {}
        }
        Trick::ByteAtATime => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
            drip(&mut stream, head).await;
        }
        Trick::GoneByteAtATime => {
            let head = b"HTTP/1.1 410 Gone\r\ncontent-length: 100\r\n\r\n";
            let _ = stream.write_all(head).await;
            drip(&mut stream, b"x").await;
        }
        Trick::LargeHead => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-large: ").await;
            for _ in 0..160 {
                if stream.write_all(&lump).await.is_err() {
                    break;
                }
            }
        }
        Trick::Silence => {
            let _ = stream.read(&mut request).await;
        }
        Trick::RedirectToLoopback => {
            let head =
                b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(head).await;
        }
    }
}

/// Sends these bytes over and over, one a second.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for byte in bytes.iter().cycle() {
        second.tick().await;
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4096
}

#[tokio::test]
async fn a_hundred_hostile_receivers_at_once_cost_little_memory_and_end() {
    let app = TestApp::spawn().await;
    let limits = Limits {
        timeout: Duration::from_secs(2),
        max_answer_bytes: 64 * 1024,
    };
    for trick in [
        Trick::EndlessBody,
        Trick::ByteAtATime,
        Trick::LargeHead,
        Trick::Silence,
        Trick::RedirectToLoopback,
    ] {
        let server = Hostile::start(trick).await;
        let url = server.url().parse().unwrap();
        let before = resident();
        let sent = (0..100).map(|_| {
            app.context
                .outbound
                .post(&url, HeaderMap::new(), Bytes::new(), limits)
        });
        let sent = futures::future::join_all(sent).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 64 * 1024 * 1024, "{trick:?}: {grown} bytes more");
        for sent in sent {
            match (trick, &sent.result) {
                (Trick::EndlessBody, Ok(answer)) => {
                    assert!(answer.truncated && answer.body.len() <= 64 * 1024);
                }
                (Trick::RedirectToLoopback, Ok(answer)) => assert_eq!(answer.status, 302),
                (Trick::LargeHead, Err(error)) => assert_eq!(error.code(), "answer_broken"),
                (Trick::ByteAtATime | Trick::Silence, Err(error)) => {
                    assert_eq!(error.code(), "timeout");
                }
                (trick, result) => panic!("{trick:?}: {result:?}"),
            }
            assert!(
                sent.connection.timings.total < Duration::from_secs(3),
                "{trick:?}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn an_endpoints_own_time_limit_counts_and_the_try_is_told() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let server = Hostile::start(Trick::ByteAtATime).await;
    let id = endpoint(
        &ana,
        &server.url(),
        json!({ "timeoutSeconds": 1, "schedule": "short" }),
    )
    .await;
    app.ocr_completed(&ana, "text").await;
    app.run_due_jobs().await;
    let attempts = ana
        .get(&format!("{WEBHOOKS}/{id}/attempts"))
        .await
        .expect(200);
    let attempt = &attempts["data"][0];
    assert_eq!(attempt["errorCode"], "timeout");
    let took = attempt["durationMs"].as_u64().unwrap();
    assert!((1000..2000).contains(&took), "{took} ms");
    ana.delete(&format!("{WEBHOOKS}/{id}")).await.expect(204);
    sqlx::query("UPDATE jobs SET run_at = job_now() WHERE state = 'queued'")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_due_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_says_it_is_gone_and_no_end_of_it_is_switched_off() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let server = Hostile::start(Trick::GoneByteAtATime).await;
    let id = endpoint(&ana, &server.url(), json!({ "timeoutSeconds": 1 })).await;
    app.ocr_completed(&ana, "text").await;
    app.run_due_jobs().await;
    let path = format!("{WEBHOOKS}/{id}");
    let told = ana.get(&path).await.expect(200);
    assert_eq!(told["disabledReason"], "the endpoint answered 410 Gone");
    let attempts = ana.get(&format!("{path}/attempts")).await.expect(200);
    let attempt = &attempts["data"][0];
    assert_eq!(attempt["statusCode"], 410);
    assert_eq!(attempt["errorCode"], "timeout");
    assert_eq!(attempt["responseHeaders"]["content-length"], "100");
    assert_eq!(attempt["responseTruncated"], true);
    app.expect_failed(1);
    app.finish().await;
}
