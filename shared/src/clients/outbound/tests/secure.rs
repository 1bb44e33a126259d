//! TLS: what is told of it, and whose certificates are taken.
//!
//! `ca.pem` is an authority of these tests, `server.pem` its certificate for hooks.example and 127.0.0.1, both until 2125;
//! made by `openssl ca`, and nobody trusts them.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use url::Url;

use super::{
    LIMITS, Outbound, SendError, TlsInfo, lookup, outbound, policy, send, server::read_request,
};

/// Starts a server that says hello over TLS, and gives its port.
fn start(version: &'static SupportedProtocolVersion) -> u16 {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || {
                let mut stream = StreamOwned::new(session, stream);
                while read_request(&mut stream).is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                    let sent = stream.write_all(answer).and_then(|()| stream.flush());
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Trusts the authority of these tests alone; every name leads to this machine.
fn trusting() -> Outbound {
    let authority = CertificateDer::from_pem_slice(include_bytes!("ca.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let lookup = lookup(|_| vec!["127.0.0.1"]);
    Outbound::build(policy(&["127.0.0.0/8"]), &lookup, roots).unwrap()
}

fn url(host: &str, port: u16) -> Url {
    format!("https://{host}:{port}/hook").parse().unwrap()
}

#[tokio::test]
async fn version_and_cipher_are_told() {
    for (version, expected) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let port = start(version);
        let outbound = trusting();
        for host in ["hooks.example", "127.0.0.1"] {
            let url = url(host, port);
            let first = send(&outbound, &url, LIMITS).await;
            assert_eq!(&*first.result.unwrap().body, b"hello", "{url}");
            let TlsInfo { version, cipher } = first.connection.tls.clone().unwrap();
            assert_eq!(version, expected);
            assert!(
                cipher.starts_with("TLS_") && cipher.contains("SHA"),
                "{cipher}"
            );
            let timings = first.connection.timings;
            assert!(timings.connect.is_some() && timings.tls.unwrap() <= timings.total);
            assert!(!first.connection.reused);

            let second = send(&outbound, &url, LIMITS).await;
            assert!(second.result.is_ok() && second.connection.reused);
            assert_eq!(second.connection.tls, first.connection.tls);
            assert_eq!(second.connection.timings.tls, None);
        }
    }
}

#[tokio::test]
async fn a_certificate_for_others_or_of_nobody_is_refused() {
    let port = start(&TLS13);
    let strict = outbound(&["127.0.0.0/8"]);
    for (outbound, host) in [(trusting(), "other.example"), (strict, "127.0.0.1")] {
        let sent = send(&outbound, &url(host, port), LIMITS).await;
        assert_eq!(sent.result.unwrap_err(), SendError::Tls, "{host}");
        let connection = sent.connection;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!((connection.address, connection.tls), (Some(address), None));
        assert!(connection.timings.tls.is_some() && connection.timings.first_byte.is_none());
    }
}
