//! The corpus of URLs that aim at the inside of a network: none is called.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    ConnectionInfo, LIMITS, Outbound, Policy, Refused, SendError, Timings, lookup, ok, outbound,
    post, scripted, send, server::Server, tls,
};

/// Hosts of which every form is refused for its address, with what they are.
const HOSTS: [(&str, &str); 44] = [
    ("loopback", "127.0.0.1"),
    ("its end", "127.255.255.254"),
    ("without zeros", "127.1"),
    ("one number", "2130706433"),
    ("a hexadecimal number", "0x7f000001"),
    ("a hexadecimal part", "0x7f.1"),
    ("an octal part", "0177.0.0.1"),
    ("full-width digits", "１２７.0.0.1"),
    ("ideographic full stops", "127。0。0。1"),
    ("escaped digits", "%31%32%37.0.0.1"),
    ("a trailing dot", "127.0.0.1."),
    ("two trailing dots", "127.0.0.1.."),
    ("this host", "0.0.0.0"),
    ("this host, short", "0"),
    ("private, class A", "10.0.0.1"),
    ("private, class B", "172.16.0.1"),
    ("private, class C", "192.168.1.1"),
    ("shared by carriers", "100.64.0.1"),
    ("metadata of Alibaba Cloud", "100.100.100.200"),
    ("metadata of most clouds", "169.254.169.254"),
    ("metadata of Oracle Cloud", "192.0.0.192"),
    ("broadcast", "255.255.255.255"),
    ("multicast", "224.0.0.1"),
    ("IPv6 loopback", "[::1]"),
    ("IPv6 loopback, long", "[0:0:0:0:0:0:0:1]"),
    ("IPv6, none", "[::]"),
    ("IPv4-mapped", "[::ffff:127.0.0.1]"),
    ("IPv4-mapped, hexadecimal", "[::ffff:7f00:1]"),
    ("IPv4-compatible", "[::127.0.0.1]"),
    ("IPv4-translated", "[::ffff:0:127.0.0.1]"),
    ("NAT64", "[64:ff9b::7f00:1]"),
    ("NAT64, local use", "[64:ff9b:1::7f00:1]"),
    ("6to4", "[2002:7f00:1::]"),
    ("Teredo", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]"),
    ("site-local", "[fec0::1]"),
    ("unique local", "[fd00::]"),
    ("metadata of Amazon over IPv6", "[fd00:ec2::254]"),
    ("link-local", "[fe80::1]"),
    ("metadata by name", "metadata.google.internal"),
    (
        "metadata by name, trailing dot",
        "METADATA.google.internal.",
    ),
    ("a private name", "private.example"),
    ("a loopback name, trailing dot", "loopback.example."),
    ("mixed A records", "mixed.example"),
    ("mixed A and AAAA records", "mixed-six.example"),
];

fn addresses(name: &str) -> Vec<&'static str> {
    match name {
        "private.example" => vec!["192.168.0.1"],
        "loopback.example" => vec!["127.0.0.1"],
        "mixed.example" => vec!["8.8.8.8", "10.0.0.1"],
        "mixed-six.example" => vec!["8.8.8.8", "64:ff9b::a9fe:a9fe"],
        "public.example" => vec!["8.8.8.8"],
        _ => panic!("{name} was resolved"),
    }
}

/// What a call that was refused knows of its connection.
fn is_untouched(connection: &ConnectionInfo) -> bool {
    let ConnectionInfo {
        address,
        tls,
        reused,
        timings,
    } = connection;
    let Timings {
        connect,
        tls: handshake,
        first_byte,
        ..
    } = timings;
    address.is_none()
        && tls.is_none()
        && !reused
        && connect.is_none()
        && handshake.is_none()
        && first_byte.is_none()
}

#[tokio::test]
async fn the_corpus_is_refused() {
    let outbound = scripted(&[], addresses);
    let forms = HOSTS.iter().flat_map(|(form, host)| {
        [
            format!("https://{host}/hook"),
            format!("http://{host}/"),
            format!("https://{host}:8443/"),
            format!("http://{host}:6379/"),
        ]
        .map(|url| (*form, url, Refused::Address))
    });
    let credentials = [
        "http://a@127.0.0.1/",
        "https://a:b@public.example/",
        "https://public.example@127.0.0.1/",
    ]
    .map(|url| ("credentials", url.to_owned(), Refused::Credentials));

    for (form, url, why) in forms.chain(credentials) {
        let url = url.parse().unwrap();
        assert_eq!(outbound.check_url(&url).await, Err(why), "{form}: {url}");
        let sent = send(&outbound, &url, LIMITS).await;
        assert_eq!(
            sent.result.unwrap_err(),
            SendError::Blocked(why),
            "{form}: {url}"
        );
        assert!(is_untouched(&sent.connection), "{form}: {url}");
    }
}

#[tokio::test]
async fn a_rebinding_name_leads_nowhere() {
    let server = Server::start(ok);
    let calls = AtomicUsize::new(0);
    // The network that is allowed opens the server's port, so that it is not the port that is refused.
    let outbound = scripted(&["10.0.0.0/8"], move |_| {
        match calls.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => vec!["10.0.0.1"],
            _ => vec!["127.0.0.1"],
        }
    });
    for scheme in ["http", "https"] {
        let url = server.url(scheme, "rebind.example");
        assert_eq!(outbound.check_url(&url).await, Ok(()));
        let sent = send(&outbound, &url, LIMITS).await;
        assert_eq!(
            sent.result.unwrap_err(),
            SendError::Blocked(Refused::Address)
        );
        assert!(is_untouched(&sent.connection));
        assert!(sent.connection.timings.dns.is_some());
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_to_loopback_is_not_followed() {
    static INSIDE: OnceLock<u16> = OnceLock::new();
    fn redirect(stream: &mut TcpStream) {
        let port = INSIDE.get().unwrap();
        write!(
            stream,
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
        )
        .unwrap();
    }
    let (inside, outside) = (Server::start(ok), Server::start(redirect));
    INSIDE.set(inside.port).unwrap();
    let outbound = outbound(&["127.0.0.0/8"]);

    let answer = post(&outbound, &outside.url("http", "127.0.0.1"), LIMITS)
        .await
        .unwrap();
    assert_eq!(answer.status.as_u16(), 302);
    assert_eq!((outside.connections(), inside.connections()), (1, 0));
}

#[tokio::test]
async fn development_opens_plain_http_and_nothing_else() {
    let policy = Policy {
        allow: Vec::new(),
        plain_http: true,
    };
    let roots = tls::system_roots().unwrap();
    let outbound = Outbound::build(policy, &lookup(addresses), roots).unwrap();
    for (url, judged) in [
        ("http://public.example/hook", Ok(())),
        ("https://public.example/hook", Ok(())),
        ("http://public.example:8080/", Err(Refused::Port)),
        ("http://loopback.example/", Err(Refused::Address)),
        ("http://mixed.example/", Err(Refused::Address)),
        ("http://127.0.0.1/", Err(Refused::Address)),
        ("http://metadata.google.internal/", Err(Refused::Address)),
    ] {
        let url = url.parse().unwrap();
        assert_eq!(outbound.check_url(&url).await, judged, "{url}");
        if let Err(why) = judged {
            let sent = post(&outbound, &url, LIMITS).await;
            assert_eq!(sent.unwrap_err(), SendError::Blocked(why), "{url}");
        }
    }
}

#[tokio::test]
async fn a_host_that_no_request_can_name_is_refused() {
    let outbound = scripted(&[], addresses);
    let url = "https://a{b}.example/".parse().unwrap();
    assert_eq!(outbound.check_url(&url).await, Err(Refused::Host));
    let sent = post(&outbound, &url, LIMITS).await;
    assert_eq!(sent.unwrap_err(), SendError::Blocked(Refused::Host));
}
