//! What a URL must look like, and which addresses it may lead to.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::is_global;

/// Longest URL that is accepted, in bytes as sent.
const MAX_URL_BYTES: usize = 2048;

/// Names under which clouds tell a machine about itself, its credentials included.
///
/// Most lead to a link-local address and would be refused for it; a few lead to public ones, and a resolver of the
/// network may answer any of them with anything. Whatever is below such a name is refused, too. Sources: the
/// documentation of Google Cloud (`metadata`, `metadata.google.internal`, `metadata.goog`), Amazon EC2
/// (`instance-data`), Azure, Equinix Metal and Packet (public addresses), Tencent Cloud, and Rancher.
const METADATA_NAMES: [&str; 10] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
    "rancher-metadata",
];

/// Why a URL is not called.
///
/// The message is meant for the user who gave the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than 2,048 bytes.
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Neither `https` nor, where it is allowed, `http`.
    #[error("the URL must start with https://")]
    Scheme,
    /// A user name or password before the host.
    #[error("the URL must not contain a user name or password")]
    Credentials,
    /// No host, or only dots, or a host that no request can name.
    #[error("the URL has no host")]
    Host,
    /// Another port than 443 and 80, where the operator does not allow it.
    #[error("the URL's port is not allowed")]
    Port,
    /// At least one address of the host is neither public nor allowed by the operator, or it is the name of a cloud's
    /// metadata service.
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
    /// Whether public addresses may be called over plain http.
    pub(super) plain_http: bool,
}

impl Policy {
    /// Judges everything that can be judged without resolving a name, IP literals included.
    ///
    /// `Url` has already written `127.1`, `0x7f.1`, `2130706433` and full-width digits as the address they mean
    /// (WHATWG URL §3.5).
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

        let restriction = if https || self.plain_http {
            Refused::Port
        } else {
            Refused::Scheme
        };
        let reach = match (https, port) {
            (_, 0) => return Err(Refused::Port),
            (_, 443 | 80) if https || self.plain_http => Reach::Public,
            _ => Reach::AllowedOnly,
        };
        let (name, literal) = match host {
            Host::Domain(name) if name.trim_end_matches('.').is_empty() => {
                return Err(Refused::Host);
            }
            Host::Domain(name) if is_metadata(name) => return Err(Refused::Address),
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

/// Says whether a name, lower-case as `Url` writes it, is one of [`METADATA_NAMES`] or below one.
fn is_metadata(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    METADATA_NAMES.iter().any(|metadata| {
        name.strip_suffix(metadata)
            .is_some_and(|above| above.is_empty() || above.ends_with('.'))
    })
}
