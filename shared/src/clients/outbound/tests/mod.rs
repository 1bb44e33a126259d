//! The guard before real sockets.

mod corpus;
mod hostile;
mod secure;
mod server;
mod told;

use std::{
    io::Write as _,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use server::{Server, hold};
use tokio::time::timeout;

use super::{exchange::AGENT, *};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    max_answer_bytes: 64 * 1024,
};

fn outbound(allow: &[&str]) -> Outbound {
    Outbound::new(policy(allow).allow, false).unwrap()
}

fn policy(allow: &[&str]) -> Policy {
    Policy {
        allow: allow.iter().map(|block| block.parse().unwrap()).collect(),
        plain_http: false,
    }
}

fn scripted(
    allow: &[&str],
    answer: impl Fn(&str) -> Vec<&'static str> + Send + Sync + 'static,
) -> Outbound {
    let roots = tls::system_roots().unwrap();
    Outbound::build(policy(allow), &lookup(answer), roots).unwrap()
}

fn lookup(answer: impl Fn(&str) -> Vec<&'static str> + Send + Sync + 'static) -> Lookup {
    Lookup::Scripted(Arc::new(move |name| {
        let addresses = answer(name);
        addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }))
}

async fn post(outbound: &Outbound, url: &Url, limits: Limits) -> Result<Answer, SendError> {
    send(outbound, url, limits).await.result
}

async fn send(outbound: &Outbound, url: &Url, limits: Limits) -> Sent {
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
    ];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    outbound
        .post(
            url,
            HeaderMap::from_iter(headers),
            Bytes::from_static(b"{}"),
            limits,
        )
        .await
}

fn ok(stream: &mut TcpStream) {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-seen: yes\r\n\r\nhello")
        .unwrap();
}

#[tokio::test]
async fn an_allowed_server_is_called() {
    let server = Server::start(ok);
    let outbound = outbound(&["127.0.0.0/8", "::1/128"]);

    for host in [
        "127.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.",
    ] {
        let url = server.url("http", host);
        assert_eq!(outbound.check_url(&url).await, Ok(()), "{url}");
        let answer = post(&outbound, &url, LIMITS).await.unwrap();
        assert_eq!(
            (answer.status, &*answer.body),
            (StatusCode::OK, &b"hello"[..]),
            "{url}"
        );
        assert_eq!(answer.headers["x-seen"], "yes");
        assert!(!answer.truncated && answer.duration < LIMITS.timeout);
    }

    let requests = server.requests.lock().unwrap();
    let request = requests[0].to_lowercase();
    assert!(request.starts_with("post /hook http/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("user-agent: {}", AGENT.to_lowercase())),
        "{request}"
    );
    assert!(request.contains("webhook-id: msg_1"), "{request}");
    assert!(!request.contains("accept-encoding"), "{request}");
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
}

#[tokio::test]
async fn headers_that_frame_the_request_are_ours() {
    let server = Server::start(ok);
    let url = server.url("http", "127.0.0.1");
    let mut headers = HeaderMap::new();
    headers.insert(HOST, "inside.example".parse().unwrap());
    headers.insert(CONTENT_LENGTH, "1".parse().unwrap());
    headers.insert(TRANSFER_ENCODING, "chunked".parse().unwrap());
    headers.insert("x-kept", "yes".parse().unwrap());
    let body = Bytes::from_static(b"{}");
    let sent = outbound(&["127.0.0.0/8"])
        .post(&url, headers, body, LIMITS)
        .await;

    assert_eq!(sent.result.unwrap().status, StatusCode::OK);
    let requests = server.requests.lock().unwrap();
    let request = requests[0].to_lowercase();
    assert!(
        request.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)),
        "{request}"
    );
    assert!(request.contains("content-length: 2\r\n"), "{request}");
    assert!(!request.contains("transfer-encoding"), "{request}");
    assert!(request.contains("x-kept: yes\r\n"), "{request}");
}

#[tokio::test]
async fn what_is_not_allowed_is_never_connected_to() {
    let server = Server::start(ok);
    let address = Err(SendError::Blocked(Refused::Address));

    for allow in [&[][..], &["10.0.0.0/8"], &["127.0.0.2/32"]] {
        let outbound = outbound(allow);
        for scheme in ["http", "https"] {
            for host in [
                "127.0.0.1",
                "[::ffff:127.0.0.1]",
                "localhost",
                "localhost.",
                "0.0.0.0",
                "127.0.0.1..",
            ] {
                let url = server.url(scheme, host);
                let sent = post(&outbound, &url, LIMITS)
                    .await
                    .map(|answer| answer.status);
                assert_eq!(sent, address, "{url}");
                assert_eq!(
                    outbound.check_url(&url).await,
                    Err(Refused::Address),
                    "{url}"
                );
            }
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_turns_local_after_the_check_is_blocked() {
    let server = Server::start(ok);
    let calls = AtomicUsize::new(0);
    let outbound = scripted(&[], move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => vec!["8.8.8.8"],
        _ => vec!["127.0.0.1"],
    });
    let url = "https://rebind.example/hook".parse().unwrap();

    assert_eq!(outbound.check_url(&url).await, Ok(()));
    let sent = post(&outbound, &url, LIMITS).await.unwrap_err();
    assert_eq!(sent, SendError::Blocked(Refused::Address));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_turns_public_after_the_check_gets_no_plain_http() {
    let calls = AtomicUsize::new(0);
    let outbound = scripted(&["127.0.0.0/8"], move |_| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 | 2 => vec!["127.0.0.1"],
            _ => vec!["8.8.8.8"],
        }
    });
    for (url, why) in [
        ("http://rebind.example:25/", Refused::Scheme),
        ("https://rebind.example:25/", Refused::Port),
    ] {
        let url = url.parse().unwrap();
        assert_eq!(outbound.check_url(&url).await, Ok(()));
        let sent = post(&outbound, &url, LIMITS).await.unwrap_err();
        assert_eq!(sent, SendError::Blocked(why), "{url}");
    }
}

#[tokio::test]
async fn the_connection_goes_to_the_checked_address() {
    let server = Server::start(ok);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let outbound = scripted(&["127.0.0.0/8"], move |name| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert_eq!(name, "xn--bcher-kva.example");
        vec!["127.0.0.1"]
    });
    let url = server.url("http", "bücher.example.");

    assert_eq!(
        post(&outbound, &url, LIMITS).await.unwrap().status,
        StatusCode::OK
    );
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // The second request reuses the connection, so it needs no address.
    assert_eq!(
        post(&outbound, &url, LIMITS).await.unwrap().status,
        StatusCode::OK
    );
    assert_eq!((calls.load(Ordering::SeqCst), server.connections()), (1, 1));
    let host = format!("host: xn--bcher-kva.example:{}\r\n", server.port);
    assert!(server.requests.lock().unwrap()[0].contains(&host));
}

#[tokio::test]
async fn mixed_and_missing_records_are_told_apart() {
    let outbound = scripted(&[], |name| match name {
        "mixed.example" => vec!["8.8.8.8", "10.0.0.1"],
        "wrapped.example" => vec!["2606:4700::1111", "64:ff9b::a9fe:a9fe"],
        _ => vec![],
    });
    for name in ["mixed.example", "wrapped.example"] {
        let url = format!("https://{name}/").parse().unwrap();
        assert_eq!(outbound.check_url(&url).await, Err(Refused::Address));
        let sent = post(&outbound, &url, LIMITS).await.unwrap_err();
        assert_eq!(sent, SendError::Blocked(Refused::Address));
    }
    let url = "https://missing.example/".parse().unwrap();
    assert_eq!(outbound.check_url(&url).await, Err(Refused::Unresolvable));
    assert_eq!(
        post(&outbound, &url, LIMITS).await.unwrap_err(),
        SendError::Unresolvable
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = Server::start(|stream| {
        let head =
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
    });
    let answer = post(
        &outbound(&["127.0.0.0/8"]),
        &server.url("http", "127.0.0.1"),
        LIMITS,
    )
    .await;

    let answer = answer.unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers["location"], "/other");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_timeout_covers_the_head_and_the_body() {
    let limits = Limits {
        timeout: Duration::from_millis(200),
        ..LIMITS
    };
    for answer in [hold, |stream: &mut TcpStream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
            .unwrap();
        hold(stream);
    }] {
        let server = Server::start(answer);
        let started = Instant::now();
        let sent = post(
            &outbound(&["127.0.0.0/8"]),
            &server.url("http", "127.1"),
            limits,
        )
        .await;
        assert_eq!(sent.unwrap_err(), SendError::Timeout);
        assert!((limits.timeout..Duration::from_secs(5)).contains(&started.elapsed()));
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_its_connection_closed() {
    static SERVER_STOPPED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
        SERVER_STOPPED.fetch_add(1, Ordering::SeqCst);
    });
    let answer = post(
        &outbound(&["127.0.0.0/8"]),
        &server.url("http", "127.1"),
        LIMITS,
    )
    .await;

    let answer = answer.unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.body.len(), LIMITS.max_answer_bytes);
    let stopped = async {
        while SERVER_STOPPED.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), stopped)
        .await
        .expect("the connection stayed open");
}

#[tokio::test]
async fn an_answer_of_exactly_the_limit_is_whole() {
    let server = Server::start(ok);
    let outbound = outbound(&["127.0.0.0/8"]);
    let url = server.url("http", "127.1");

    let whole = post(
        &outbound,
        &url,
        Limits {
            max_answer_bytes: 5,
            ..LIMITS
        },
    )
    .await
    .unwrap();
    assert_eq!((&*whole.body, whole.truncated), (&b"hello"[..], false));
    let cut = post(
        &outbound,
        &url,
        Limits {
            max_answer_bytes: 4,
            ..LIMITS
        },
    )
    .await
    .unwrap();
    assert_eq!((&*cut.body, cut.truncated), (&b"hell"[..], true));
    let none = post(
        &outbound,
        &url,
        Limits {
            max_answer_bytes: 0,
            ..LIMITS
        },
    )
    .await
    .unwrap();
    assert_eq!((&*none.body, none.truncated), (&b""[..], true));
}
