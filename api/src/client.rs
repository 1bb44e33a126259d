//! From where a request comes: its peer, or what proxies that we trust say of theirs.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, request::Parts},
};
use ipnet::IpNet;

use crate::{
    config::LogIp,
    error::{Error, Result},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// This machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// Networks without a way to the internet: RFC 1918, shared address space (RFC 6598), link-local (RFC 3927, RFC 4291)
/// and unique local addresses (RFC 4193).
const PRIVATE: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fe80::/10",
    "fc00::/7",
];

/// Bits of an IPv6 address that belong to one subscriber: the rest they choose themselves (RFC 6177).
const IPV6_SUBSCRIBER_BITS: u8 = 64;

/// Proxies whose `X-Forwarded-*` count.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Adds networks by CIDR, by address, or by the words `loopback` and `private`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        match text {
            "loopback" => self.0.extend(networks(&LOOPBACK)),
            "private" => self.0.extend(networks(&PRIVATE)),
            _ => {
                let network = text.parse::<IpNet>().or_else(|error| {
                    let address = text.parse::<IpAddr>();
                    address.map(IpNet::from).map_err(|_| error)
                });
                self.0.push(network.map_err(|error| {
                    format!(
                        "{text:?}: {error}; it is a network like 10.0.0.0/8, loopback or private"
                    )
                })?);
            }
        }
        Ok(())
    }

    /// Whether no proxy is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The other end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Whose address limits, logs and sessions speak of.
    pub address: IpAddr,
    /// Whether the client speaks TLS, with us or with a proxy that we trust.
    pub is_https: bool,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get()
            .copied()
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("the request has no peer")))
    }
}

impl Client {
    /// Finds out who sends a request.
    pub(crate) fn of(
        extensions: &Extensions,
        headers: &HeaderMap,
        trusted: &TrustedProxies,
    ) -> Option<Self> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(Self::behind(peer.ip().to_canonical(), headers, trusted))
    }

    /// Walks `X-Forwarded-For` from its end, where the nearest proxy writes, as long as the writers are trusted.
    ///
    /// An entry that is no address ends the walk at the proxy that wrote it.
    fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let mut address = peer;
        if !trusted.contains(peer) {
            return Self {
                address,
                is_https: false,
            };
        }
        let entries = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .rev()
            .map(|line| line.to_str().unwrap_or("?"))
            .flat_map(|line| line.rsplit(','));
        for entry in entries {
            let Some(claimed) = parse(entry.trim()) else {
                break;
            };
            address = claimed;
            if !trusted.contains(address) {
                break;
            }
        }
        // Inner proxies add to the header or leave it: its first word is the outermost one's.
        let is_https = headers
            .get(X_FORWARDED_PROTO)
            .and_then(|line| line.to_str().ok())
            .and_then(|line| line.split(',').next())
            .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
        Self { address, is_https }
    }

    /// Whether the request seems to come through a proxy of the operator that nobody told us of: then all clients
    /// have its address.
    pub(crate) fn is_unknown_proxy(&self, headers: &HeaderMap, trusted: &TrustedProxies) -> bool {
        trusted.is_empty()
            && headers.contains_key(X_FORWARDED_FOR)
            && networks(&LOOPBACK)
                .chain(networks(&PRIVATE))
                .any(|network| network.contains(&self.address))
    }

    /// The network whose requests count together: a whole IPv4 address, or the part of an IPv6 address that its
    /// subscriber cannot change.
    pub(crate) fn network(&self) -> IpNet {
        match self.address {
            IpAddr::V4(_) => self.address.into(),
            IpAddr::V6(_) => IpNet::new(self.address, IPV6_SUBSCRIBER_BITS)
                .expect("an IPv6 address has more bits")
                .trunc(),
        }
    }

    /// The address as the operator wants it to be kept.
    pub(crate) fn shown(&self, how: LogIp) -> Option<String> {
        match (how, self.address) {
            (LogIp::Off, _) => None,
            (LogIp::Full, ip) => Some(ip.to_string()),
            (LogIp::Masked, IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                Some(format!("{a}.{b}.{c}.0"))
            }
            (LogIp::Masked, IpAddr::V6(ip)) => {
                let [a, b, c, ..] = ip.segments();
                Some(format!("{a:x}:{b:x}:{c:x}::"))
            }
        }
    }
}

fn networks(texts: &[&str]) -> impl Iterator<Item = IpNet> {
    texts
        .iter()
        .map(|text| text.parse().expect("the constants are networks"))
}

/// An address, with or without a port, as proxies write it.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted(texts: &[&str]) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        for text in texts {
            proxies.add(text).unwrap();
        }
        proxies
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    fn address(peer: &str, lines: &[&str], proxies: &[&str]) -> String {
        let peer = peer.parse::<IpAddr>().unwrap().to_canonical();
        Client::behind(peer, &headers(lines), &trusted(proxies))
            .address
            .to_string()
    }

    #[test]
    fn the_address_is_the_rightmost_one_that_is_not_trusted() {
        for (peer, lines, proxies, expected) in [
            // Nobody is trusted, or not this peer.
            ("203.0.113.9", vec!["198.51.100.1"], vec![], "203.0.113.9"),
            (
                "203.0.113.9",
                vec!["198.51.100.1"],
                vec!["10.0.0.0/8"],
                "203.0.113.9",
            ),
            // What a client writes itself stands further left.
            (
                "10.0.0.1",
                vec!["1.1.1.1, 198.51.100.1"],
                vec!["private"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec!["1.1.1.1", "198.51.100.1, 10.0.0.2"],
                vec!["private"],
                "198.51.100.1",
            ),
            // All are trusted: the outermost one.
            (
                "10.0.0.1",
                vec!["10.0.0.3,10.0.0.2"],
                vec!["private"],
                "10.0.0.3",
            ),
            ("10.0.0.1", vec![], vec!["private"], "10.0.0.1"),
            // Nonsense ends the walk.
            (
                "10.0.0.1",
                vec!["198.51.100.1, unknown, 10.0.0.2"],
                vec!["private"],
                "10.0.0.2",
            ),
            ("127.0.0.1", vec![""], vec!["loopback"], "127.0.0.1"),
            // Ports, brackets and mapped addresses.
            (
                "::ffff:10.0.0.1",
                vec!["198.51.100.1:4711"],
                vec!["10.0.0.1"],
                "198.51.100.1",
            ),
            (
                "::1",
                vec!["[2001:db8::7]:443"],
                vec!["loopback"],
                "2001:db8::7",
            ),
            (
                "::1",
                vec!["[2001:db8::7]"],
                vec!["loopback"],
                "2001:db8::7",
            ),
            (
                "::1",
                vec!["::ffff:198.51.100.1"],
                vec!["loopback"],
                "198.51.100.1",
            ),
        ] {
            assert_eq!(
                address(peer, &lines, &proxies),
                expected,
                "{peer} {lines:?} {proxies:?}"
            );
        }
    }

    #[test]
    fn only_a_trusted_peer_tells_of_tls() {
        let mut headers = headers(&[]);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("HTTPS, http"));
        let peer = "10.0.0.1".parse().unwrap();
        let told = |proxies: &[&str]| {
            let Client { is_https, .. } = Client::behind(peer, &headers, &trusted(proxies));
            is_https
        };
        assert!(told(&["private"]));
        assert!(!told(&[]));
    }

    #[test]
    fn a_proxy_that_nobody_told_of_is_noticed() {
        let noticed = |peer: &str, lines: &[&str], proxies: &[&str]| {
            let (headers, trusted) = (headers(lines), trusted(proxies));
            let client = Client::behind(peer.parse().unwrap(), &headers, &trusted);
            client.is_unknown_proxy(&headers, &trusted)
        };
        assert!(noticed("10.0.0.1", &["198.51.100.1"], &[]));
        assert!(noticed("127.0.0.1", &["198.51.100.1"], &[]));
        assert!(!noticed("10.0.0.1", &[], &[]));
        assert!(!noticed("10.0.0.1", &["10.0.0.2"], &["10.0.0.1"]));
        // Anybody may write what they like.
        assert!(!noticed("203.0.113.9", &["198.51.100.1"], &[]));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "everybody", "10.0.0.0/33", "example.com"] {
            assert!(TrustedProxies::default().add(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subscriber_counts_as_one_network() {
        let network = |text: &str| {
            let address = text.parse().unwrap();
            Client {
                address,
                is_https: false,
            }
            .network()
            .to_string()
        };
        assert_eq!(network("198.51.100.1"), "198.51.100.1/32");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn addresses_are_masked() {
        let client = |text: &str| Client {
            address: text.parse().unwrap(),
            is_https: false,
        };
        let (v4, v6) = (client("203.0.113.7"), client("2001:db8:1:2::3"));
        assert_eq!(v4.shown(LogIp::Masked).unwrap(), "203.0.113.0");
        assert_eq!(v6.shown(LogIp::Masked).unwrap(), "2001:db8:1::");
        assert_eq!(v4.shown(LogIp::Full).unwrap(), "203.0.113.7");
        assert_eq!(v4.shown(LogIp::Off), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~]{0,60}") {
            let headers = headers(&[&text]);
            Client::behind([127, 0, 0, 1].into(), &headers, &trusted(&["loopback"]));
        }
    }
}
