//! Raw TCP servers, so that answers can be wrong, slow or endless.

use std::{
    io::{ErrorKind, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use url::Url;

/// A server that counts its connections and hands each to `answer` after the request was read.
pub(super) struct Server {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn start(answer: fn(&mut TcpStream)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let server = Self {
            port,
            connections,
            requests,
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                let requests: Arc<Mutex<Vec<String>>> = Arc::clone(&requests);
                thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        requests.lock().unwrap().push(request);
                        answer(&mut stream);
                    }
                });
            }
        });
        server
    }

    pub(super) fn url(&self, scheme: &str, host: &str) -> Url {
        format!("{scheme}://{host}:{}/hook", self.port)
            .parse()
            .unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads a head and the body it announces; nothing once the client has closed.
pub(super) fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .filter_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")
                .map(str::to_owned)
        })
        .find_map(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

/// Keeps the socket open until the client closes it.
pub(super) fn hold(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// Sends a byte now and then until the client closes.
pub(super) fn drip(stream: &mut TcpStream) {
    stream
        .set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    while stream.write_all(b"a").is_ok() {
        match stream.read(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return,
        }
    }
}

/// A port whose server speaks first, and not TLS.
pub(super) fn talkative() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        hold(&mut stream);
    });
    address
}
