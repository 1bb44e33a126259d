//! Receivers that want our time or our memory.

use std::{io::Write as _, net::TcpStream, time::Duration};

use futures::future::join_all;

use super::{
    LIMITS, Limits, SendError, outbound, post, send,
    server::{Server, drip, hold},
};

const SHORT: Limits = Limits {
    timeout: Duration::from_millis(300),
    ..LIMITS
};

/// Far above [`SHORT`], far below what the receivers would like to take.
const SOON: Duration = Duration::from_secs(5);

fn drip_a_head(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ").unwrap();
    drip(stream);
}

fn drip_a_body(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    drip(stream);
}

fn endless_body(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    while stream.write_all(&[b'a'; 4096]).is_ok() {}
}

fn endless_interim_answers(stream: &mut TcpStream) {
    while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
}

/// Ten megabytes, unless the client closes before.
fn huge_head(stream: &mut TcpStream) {
    let line = format!("x-filler: {}\r\n", "a".repeat(1000));
    let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n");
    for _ in 0..10_000 {
        sent = sent.and_then(|()| stream.write_all(line.as_bytes()));
    }
    let _ = sent.and_then(|()| stream.write_all(b"content-length: 0\r\n\r\n"));
}

/// One header of ten megabytes.
fn huge_header(stream: &mut TcpStream) {
    let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nx-filler: ");
    for _ in 0..10_000 {
        sent = sent.and_then(|()| stream.write_all(&[b'a'; 1000]));
    }
    let _ = sent.and_then(|()| stream.write_all(b"\r\ncontent-length: 0\r\n\r\n"));
}

/// So many headers, the length of the body among them.
fn headers(stream: &mut TcpStream, count: usize) {
    let filler = "x-filler: 1\r\n".repeat(count - 1);
    let head = format!("HTTP/1.1 200 OK\r\n{filler}content-length: 0\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
}

/// What a server does with its connection, and whether it sends the head of an answer.
type Receiver = (fn(&mut TcpStream), bool);

#[tokio::test]
async fn a_byte_at_a_time_ends_with_the_limit() {
    let outbound = outbound(&["127.0.0.0/8"]);
    let receivers: [Receiver; 3] = [
        (drip_a_head, false),
        (endless_interim_answers, false),
        (drip_a_body, true),
    ];
    for (receiver, has_head) in receivers {
        let server = Server::start(receiver);
        let sent = send(&outbound, &server.url("http", "127.0.0.1"), SHORT).await;
        assert_eq!(sent.result.unwrap_err(), SendError::Timeout);
        let timings = sent.connection.timings;
        assert!((SHORT.timeout..SOON).contains(&timings.total));
        assert_eq!(timings.first_byte.is_some(), has_head);
        assert!(sent.connection.address.is_some());
    }
}

#[tokio::test]
async fn ten_megabytes_of_headers_are_not_read() {
    let outbound = outbound(&["127.0.0.0/8"]);
    let receivers: [fn(&mut TcpStream); 2] = [huge_head, huge_header];
    for receiver in receivers {
        let server = Server::start(receiver);
        let sent = send(&outbound, &server.url("http", "127.0.0.1"), LIMITS).await;
        assert_eq!(sent.result.unwrap_err(), SendError::Broken);
        assert!(sent.connection.timings.total < SOON);
    }
}

#[tokio::test]
async fn a_hundred_headers_are_an_answer_and_more_are_not() {
    let outbound = outbound(&["127.0.0.0/8"]);
    let enough = Server::start(|stream| headers(stream, 100));
    let answer = post(&outbound, &enough.url("http", "127.0.0.1"), LIMITS)
        .await
        .unwrap();
    assert_eq!(answer.headers.len(), 100);

    let too_many = Server::start(|stream| headers(stream, 101));
    let sent = post(&outbound, &too_many.url("http", "127.0.0.1"), LIMITS).await;
    assert_eq!(sent.unwrap_err(), SendError::Broken);
}

#[tokio::test]
async fn a_hundred_hostile_receivers_at_once_end_with_their_limit() {
    let outbound = outbound(&["127.0.0.0/8"]);
    let receivers: [fn(&mut TcpStream); 5] =
        [hold, drip_a_head, drip_a_body, endless_body, huge_head];
    let servers = receivers.map(Server::start);
    let urls: Vec<_> = servers
        .iter()
        .cycle()
        .take(100)
        .map(|server| server.url("http", "127.0.0.1"))
        .collect();
    let calls = urls.iter().map(|url| send(&outbound, url, SHORT));

    for sent in join_all(calls).await {
        assert!(sent.connection.timings.total < SOON);
        match sent.result {
            Ok(answer) => assert!(answer.truncated && answer.body.len() <= SHORT.max_answer_bytes),
            Err(error) => assert!(matches!(error, SendError::Timeout | SendError::Broken)),
        }
    }
    let connections: usize = servers.iter().map(Server::connections).sum();
    assert!(connections <= 100, "a call was repeated");
}
