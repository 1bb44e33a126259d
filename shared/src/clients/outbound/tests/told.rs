//! What a call tells of its connection.

use std::{
    error::Error as _,
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;
use http::{StatusCode, Version};
use tokio::{task::yield_now, time::timeout};

use super::{
    ConnectionInfo, LIMITS, Limits, Refused, SendError, Timings, ok, outbound, post, scripted,
    send,
    server::{Server, hold, talkative},
};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn a_call_tells_its_address_and_times() {
    let server = Server::start(ok);
    let outbound = scripted(&["127.0.0.0/8"], |_| vec!["127.0.0.1"]);
    let url = server.url("http", "hooks.example");

    let first = send(&outbound, &url, LIMITS).await;
    let answer = first.result.unwrap();
    assert_eq!(
        (answer.status, answer.version),
        (StatusCode::OK, Version::HTTP_11)
    );
    let ConnectionInfo {
        address,
        tls,
        reused,
        timings,
    } = first.connection;
    assert_eq!(
        (address, tls, reused),
        (Some(local(server.port)), None, false)
    );
    assert!(timings.dns.is_some() && timings.connect.is_some() && timings.tls.is_none());
    let first_byte = timings.first_byte.unwrap();
    assert!(timings.dns.unwrap() + timings.connect.unwrap() <= first_byte);
    assert!(first_byte <= answer.duration && answer.duration <= timings.total);

    let second = send(&outbound, &url, LIMITS).await;
    assert!(second.result.is_ok());
    let Timings {
        dns,
        connect,
        tls,
        first_byte,
        total,
    } = second.connection.timings;
    assert!(second.connection.reused && first_byte.unwrap() <= total);
    assert_eq!((dns, connect, tls), (None, None, None));
    assert_eq!(second.connection.address, Some(local(server.port)));
}

#[tokio::test]
async fn a_failed_connection_tells_its_address() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outbound = scripted(&["127.0.0.0/8"], |_| vec!["127.0.0.1"]);
    for (host, is_resolved) in [("127.0.0.1", false), ("hooks.example", true)] {
        let url = format!("http://{host}:{}/", closed.port()).parse().unwrap();
        let sent = send(&outbound, &url, LIMITS).await;
        assert_eq!(sent.result.unwrap_err(), SendError::Connect);
        let ConnectionInfo {
            address,
            reused,
            timings,
            ..
        } = sent.connection;
        assert_eq!((address, reused), (Some(closed), false));
        assert_eq!(timings.dns.is_some(), is_resolved);
        assert!(timings.connect.is_some() && timings.first_byte.is_none());
        assert!(timings.connect.unwrap() <= timings.total);
    }
}

#[tokio::test]
async fn the_next_address_is_tried_and_told() {
    let server = Server::start(ok);
    // Nobody listens at the first, or there is no IPv6 at all.
    let outbound = scripted(&["127.0.0.0/8", "::1/128"], |_| vec!["::1", "127.0.0.1"]);
    let sent = send(&outbound, &server.url("http", "hooks.example"), LIMITS).await;
    assert_eq!(sent.result.unwrap().status, StatusCode::OK);
    assert_eq!(sent.connection.address, Some(local(server.port)));
}

#[tokio::test]
async fn a_call_without_an_answer_tells_how_far_it_came() {
    let limits = Limits {
        timeout: Duration::from_millis(200),
        ..LIMITS
    };
    let server = Server::start(hold);
    let outbound = outbound(&["127.0.0.0/8"]);
    let sent = send(&outbound, &server.url("http", "127.0.0.1"), limits).await;
    assert_eq!(sent.result.unwrap_err(), SendError::Timeout);
    assert!(sent.partial.is_none());
    assert_eq!(sent.connection.address, Some(local(server.port)));
    let timings = sent.connection.timings;
    assert!(timings.connect.is_some() && timings.first_byte.is_none());
    assert!(timings.total >= limits.timeout);

    let url = "https://10.0.0.1/".parse().unwrap();
    let refused = send(&outbound, &url, limits).await;
    let blocked = SendError::Blocked(Refused::Address);
    assert_eq!(refused.result.unwrap_err(), blocked);
    let timings = Timings {
        total: refused.connection.timings.total,
        ..Timings::default()
    };
    let expected = ConnectionInfo {
        timings,
        ..ConnectionInfo::default()
    };
    assert_eq!(refused.connection, expected);
}

fn begin(stream: &mut TcpStream) {
    let head = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 9";
    write!(stream, "{head}\r\n\r\nhe").unwrap();
}

#[tokio::test]
async fn what_came_of_an_answer_that_breaks_off_is_told() {
    let late = Server::start(|stream| {
        begin(stream);
        hold(stream);
    });
    let cut = Server::start(|stream| {
        begin(stream);
        stream.shutdown(Shutdown::Both).unwrap();
    });
    let limits = Limits {
        timeout: Duration::from_secs(1),
        ..LIMITS
    };
    let outbound = outbound(&["127.0.0.0/8"]);
    for (server, error) in [(late, SendError::Timeout), (cut, SendError::Broken)] {
        let sent = send(&outbound, &server.url("http", "127.0.0.1"), limits).await;
        assert_eq!(sent.result.as_ref().unwrap_err(), &error);
        let came = sent.answer().unwrap();
        assert_eq!(came.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(came.headers["retry-after"], "60");
        assert_eq!((&*came.body, came.truncated), (&b"he"[..], true));
        assert!(sent.connection.timings.first_byte.unwrap() <= came.duration);
        assert!(came.duration <= sent.connection.timings.total);
    }
}

#[tokio::test]
async fn calls_at_once_tell_each_its_own_connection() {
    let server = Server::start(ok);
    let outbound = scripted(&["127.0.0.0/8"], |_| vec!["127.0.0.1"]);
    let url = server.url("http", "hooks.example");
    let mut made = 0;
    for _ in 0..5 {
        let calls = (0..8).map(|_| send(&outbound, &url, LIMITS));
        for sent in join_all(calls).await {
            assert!(sent.result.is_ok());
            let ConnectionInfo {
                address,
                reused,
                timings,
                ..
            } = sent.connection;
            assert_eq!(address, Some(local(server.port)));
            assert_eq!(timings.dns.is_none(), reused);
            assert_eq!(timings.connect.is_none(), reused);
            made += usize::from(!reused);
        }
    }
    assert!(made > 0 && made <= server.connections());
    assert_eq!(server.requests.lock().unwrap().len(), 40);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_no_call() {
    static CLOSED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(|stream: &mut TcpStream| {
        ok(stream);
        stream.shutdown(Shutdown::Both).unwrap();
        CLOSED.fetch_add(1, Ordering::SeqCst);
    });
    let outbound = scripted(&["127.0.0.0/8"], |_| vec!["127.0.0.1"]);
    let url = server.url("http", "hooks.example");

    for calls in 1..=5 {
        let sent = send(&outbound, &url, LIMITS).await;
        assert_eq!(sent.result.unwrap().status, StatusCode::OK);
        assert!(!sent.connection.reused && sent.connection.timings.connect.is_some());
        let closed = async {
            while CLOSED.load(Ordering::SeqCst) < calls {
                yield_now().await;
            }
            // The runtime looks at its sockets every few turns.
            for _ in 0..1000 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), closed).await.unwrap();
        assert_eq!(server.connections(), calls);
        assert_eq!(server.requests.lock().unwrap().len(), calls);
    }
}

#[tokio::test]
async fn failures_are_told_apart_without_naming_addresses() {
    let outbound = outbound(&["127.0.0.0/8"]);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = format!("http://{closed}/").parse().unwrap();
    let garbage = Server::start(|stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").unwrap());
    let no_tls = format!("https://127.0.0.1:{}/", talkative().port())
        .parse()
        .unwrap();
    let cut = Server::start(|stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhe")
            .unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    });

    for (url, expected) in [
        (refused, SendError::Connect),
        (garbage.url("http", "127.0.0.1"), SendError::Broken),
        (cut.url("http", "127.0.0.1"), SendError::Broken),
        (no_tls, SendError::Tls),
    ] {
        let error = post(&outbound, &url, LIMITS).await.unwrap_err();
        assert_eq!(error, expected, "{url}");
        assert!(
            error.source().is_none() && !error.to_string().contains("127."),
            "{error}"
        );
    }
}
