//! What a URL must look like, and which addresses it may lead to.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::is_global;

/// Longest URL that is accepted, in bytes as sent.
const MAX_URL_BYTES: usize = 2048;

/// Why a URL is not called.
///
/// The message is meant for the user who gave the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than 2,048 bytes.
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Neither `https` nor, where the operator allows it, `http`.
    #[error("the URL must start with https://")]
    Scheme,
    /// A user name or password before the host.
    #[error("the URL must not contain a user name or password")]
    Credentials,
    /// No host, or only dots.
    #[error("the URL has no host")]
    Host,
    /// Another port than 443 and 80, where the operator does not allow it.
    #[error("the URL's port is not allowed")]
    Port,
    /// At least one address of the host is neither public nor allowed by the operator.
    #[error("the URL's host has an address that is not public")]
    Address,
    /// The name has no address, or its servers do not answer in time.
    #[error("the URL's host name cannot be resolved")]
    Unresolvable,
}

impl Refused {
    /// Permanent code for clients.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "url_too_long",
            Self::Scheme => "url_scheme_not_allowed",
            Self::Credentials => "url_has_credentials",
            Self::Host => "url_host_missing",
            Self::Port => "url_port_not_allowed",
            Self::Address => "url_address_not_public",
            Self::Unresolvable => "url_unresolvable",
        }
    }
}

/// Which addresses a connection may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public addresses, and those that the operator allows.
    Public,
    /// Only those that the operator allows.
    AllowedOnly,
}

/// Why a host's addresses may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Inadmissible {
    #[error("the name has no address")]
    Unresolvable,
    #[error("an address is not public")]
    NotPublic,
    #[error("an address is public, and only allowed ones may be reached this way")]
    NotAllowed,
}

/// A URL whose form is fine; its name has still to be resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// None for an IP literal, which has been judged already.
    pub(super) name: Option<&'a str>,
    pub(super) reach: Reach,
    /// What is wrong with the URL if its addresses are public.
    restriction: Refused,
}

impl Target<'_> {
    pub(super) fn refused(&self, why: Inadmissible) -> Refused {
        match why {
            Inadmissible::Unresolvable => Refused::Unresolvable,
            Inadmissible::NotPublic => Refused::Address,
            Inadmissible::NotAllowed => self.restriction,
        }
    }
}

/// The rules, with the operator's exceptions.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) allow: Vec<IpNet>,
}

impl Policy {
    /// Judges everything that can be judged without resolving a name, IP literals included.
    ///
    /// Literals never reach a resolver, so this is the only place where they are stopped. `Url` has already written
    /// `127.1`, `0x7f.1`, `2130706433` and full-width digits as the address they mean (WHATWG URL §3.5).
    pub(super) fn check<'a>(&self, url: &'a Url) -> Result<Target<'a>, Refused> {
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(Refused::TooLong);
        }
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Refused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = url.host().ok_or(Refused::Host)?;
        let port = url.port_or_known_default().ok_or(Refused::Port)?;

        let restriction = if https {
            Refused::Port
        } else {
            Refused::Scheme
        };
        let reach = match (https, port) {
            (_, 0) => return Err(Refused::Port),
            (true, 443 | 80) => Reach::Public,
            _ => Reach::AllowedOnly,
        };
        let (name, literal) = match host {
            Host::Domain(name) if name.trim_end_matches('.').is_empty() => {
                return Err(Refused::Host);
            }
            Host::Domain(name) => (Some(name), None),
            Host::Ipv4(address) => (None, Some(IpAddr::V4(address))),
            Host::Ipv6(address) => (None, Some(IpAddr::V6(address))),
        };
        let target = Target {
            name,
            reach,
            restriction,
        };
        if let Some(address) = literal {
            self.admit(reach, &[address])
                .map_err(|why| target.refused(why))?;
        }
        Ok(target)
    }

    /// Judges all addresses of one host together: one bad address spoils the name.
    ///
    /// Keeping the good ones would let a name flip between a public and an internal address.
    pub(super) fn admit(&self, reach: Reach, addresses: &[IpAddr]) -> Result<(), Inadmissible> {
        if addresses.is_empty() {
            Err(Inadmissible::Unresolvable)
        } else if addresses.iter().all(|address| self.allows(*address)) {
            Ok(())
        } else if !addresses.iter().all(|address| is_global(*address)) {
            Err(Inadmissible::NotPublic)
        } else if reach == Reach::AllowedOnly {
            Err(Inadmissible::NotAllowed)
        } else {
            Ok(())
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|block| block.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(allow: &[&str]) -> Policy {
        Policy {
            allow: allow.iter().map(|block| block.parse().unwrap()).collect(),
        }
    }

    fn check(allow: &[&str], url: &str) -> Result<Reach, Refused> {
        policy(allow)
            .check(&url.parse().unwrap())
            .map(|target| target.reach)
    }

    #[test]
    fn every_spelling_of_a_local_address_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0x7f.1",
            "0x7f000001",
            "0177.0.0.1",
            "2130706433",
            "0.0.0.0",
            "0",
            "１２７.0.0.1",
            "127。0。0。1",
            "%31%32%37.0.0.1",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "192.168.0.1",
            "[::]",
            "[::1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::169.254.169.254]",
            "[2002:7f00:1::]",
            "[2001:0:4136:e378::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[fd00::]",
            "[fd00:ec2::254]",
            "[ff02::1]",
        ] {
            for url in [
                format!("https://{host}/hook"),
                format!("http://{host}:8080/"),
            ] {
                assert_eq!(check(&[], &url), Err(Refused::Address), "{url}");
            }
        }
    }

    #[test]
    fn names_and_public_addresses_pass_over_https() {
        for url in [
            "https://example.com/hook?a=1#part",
            "https://example.com:443",
            "https://example.com:80/",
            "https://example.com./hook",
            "https://bücher.example/",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "https://[::ffff:8.8.8.8]/",
        ] {
            assert_eq!(check(&[], url), Ok(Reach::Public), "{url}");
        }
    }

    #[test]
    fn the_form_of_a_url_is_checked() {
        for (url, why) in [
            ("ftp://example.com/", Refused::Scheme),
            ("file:///etc/passwd", Refused::Scheme),
            ("gopher://127.0.0.1:6379/_FLUSHALL", Refused::Scheme),
            ("data:text/plain,hi", Refused::Scheme),
            ("ws://example.com/", Refused::Scheme),
            ("http://a@127.0.0.1/", Refused::Credentials),
            ("https://a:b@example.com/", Refused::Credentials),
            ("https://:b@example.com/", Refused::Credentials),
            ("https://example.com@127.0.0.1/", Refused::Credentials),
            ("https://./", Refused::Host),
            ("https://../", Refused::Host),
            ("https://example.com:0/", Refused::Port),
            ("https://8.8.8.8:8443/", Refused::Port),
            ("https://8.8.8.8:22/", Refused::Port),
            ("http://8.8.8.8/", Refused::Scheme),
            ("http://8.8.8.8:8080/", Refused::Scheme),
        ] {
            assert_eq!(check(&[], url), Err(why), "{url}");
        }
        let long = |bytes: usize| {
            let start = "https://example.com/";
            check(&[], &format!("{start}{}", "a".repeat(bytes - start.len())))
        };
        assert_eq!(long(MAX_URL_BYTES), Ok(Reach::Public));
        assert_eq!(long(MAX_URL_BYTES + 1), Err(Refused::TooLong));
    }

    #[test]
    fn plain_http_and_other_ports_reach_only_what_the_operator_allows() {
        let allow = &["127.0.0.0/8", "fd00::/8", "8.8.8.0/24"];
        for url in [
            "http://127.0.0.1:4000/",
            "http://[::ffff:127.0.0.1]/",
            "https://127.1:9/",
            "http://[fd00::1]/",
            "http://8.8.8.8/",
        ] {
            assert_eq!(check(allow, url), Ok(Reach::AllowedOnly), "{url}");
        }
        assert_eq!(check(allow, "http://8.8.4.4/"), Err(Refused::Scheme));
        assert_eq!(check(allow, "https://8.8.4.4:8443/"), Err(Refused::Port));
        assert_eq!(check(allow, "http://10.0.0.1/"), Err(Refused::Address));
        assert_eq!(
            check(allow, "https://[64:ff9b::7f00:1]/"),
            Err(Refused::Address)
        );
    }

    #[test]
    fn one_bad_address_spoils_a_name() {
        let addresses = |list: &[&str]| -> Vec<IpAddr> {
            list.iter()
                .map(|address| address.parse().unwrap())
                .collect()
        };
        let policy = policy(&["10.1.0.0/16"]);
        let admit = |reach, list: &[&str]| policy.admit(reach, &addresses(list));

        assert_eq!(admit(Reach::Public, &[]), Err(Inadmissible::Unresolvable));
        assert_eq!(
            admit(Reach::Public, &["8.8.8.8", "2606:4700::1111"]),
            Ok(())
        );
        assert_eq!(
            admit(Reach::Public, &["8.8.8.8", "127.0.0.1"]),
            Err(Inadmissible::NotPublic)
        );
        assert_eq!(admit(Reach::Public, &["10.1.0.1", "10.1.0.2"]), Ok(()));
        assert_eq!(
            admit(Reach::Public, &["10.1.0.1", "8.8.8.8"]),
            Err(Inadmissible::NotPublic)
        );
        assert_eq!(admit(Reach::AllowedOnly, &["10.1.0.1"]), Ok(()));
        assert_eq!(
            admit(Reach::AllowedOnly, &["8.8.8.8"]),
            Err(Inadmissible::NotAllowed)
        );
        assert_eq!(
            admit(Reach::AllowedOnly, &["10.1.0.1", "10.2.0.1"]),
            Err(Inadmissible::NotPublic)
        );
    }

    #[test]
    fn codes_are_permanent() {
        let all = [
            Refused::TooLong,
            Refused::Scheme,
            Refused::Credentials,
            Refused::Host,
            Refused::Port,
            Refused::Address,
            Refused::Unresolvable,
        ];
        assert_eq!(
            all.map(Refused::code),
            [
                "url_too_long",
                "url_scheme_not_allowed",
                "url_has_credentials",
                "url_host_missing",
                "url_port_not_allowed",
                "url_address_not_public",
                "url_unresolvable",
            ]
        );
    }

    proptest! {
        #[test]
        fn no_literal_passes_that_is_not_global(bits: u128, short: u32, plain: bool) {
            let scheme = if plain { "http" } else { "https" };
            let (six, four) = (IpAddr::V6(bits.into()), IpAddr::V4(short.into()));
            for (host, address) in [(format!("[{six}]"), six), (format!("{four}"), four)] {
                let passed = check(&[], &format!("{scheme}://{host}/")).is_ok();
                prop_assert_eq!(passed, !plain && is_global(address), "{}", host);
            }
        }

        #[test]
        fn checking_never_panics(text in "\\PC{0,60}") {
            if let Ok(url) = Url::parse(&format!("https://{text}")) {
                let _ = policy(&[]).check(&url);
            }
        }
    }
}
