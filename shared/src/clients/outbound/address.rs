//! Which addresses belong to the public Internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 blocks that are not globally reachable.
///
/// Source: IANA IPv4 Special-Purpose Address Registry (RFC 6890,
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>), with multicast from the IANA IPv4 Address Space
/// Registry. The few globally reachable exceptions inside 192.0.0.0/24 are refused too: they are anycast services of
/// the network, not somebody's server. So is 192.88.99.0/24, the deprecated 6to4 relay.
const NOT_GLOBAL_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// The only block from which IANA gives out global unicast IPv6 addresses (RFC 4291 §2.4; IANA IPv6 Address Space
/// Registry). Whatever lies outside (`::`, `::1`, v4-compatible, `64:ff9b:1::/48`, `100::/64`, `5f00::/16`, `fc00::/7`,
/// `fe80::/10`, `fec0::/10`, `ff00::/8`) needs no line of its own.
const GLOBAL_UNICAST_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Blocks inside [`GLOBAL_UNICAST_V6`] that are not globally reachable.
///
/// Source: IANA IPv6 Special-Purpose Address Registry (RFC 6890,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>).
/// `2001::/23` holds Teredo, benchmarking and both ORCHIDs; its few globally reachable entries are protocol anycast
/// and identifiers, so the whole block is refused.
const NOT_GLOBAL_V6: [Ipv6Net; 3] = [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x3fff, 0, 20)];

/// 6to4 (RFC 3056): the IPv4 address follows the prefix.
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 16);

/// NAT64's well-known prefix (RFC 6052 §2.1): the IPv4 address is the last 32 bits.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 96);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Says whether packets to this address may leave for the public Internet and nothing nearer.
///
/// An IPv6 address that only wraps an IPv4 address (mapped, 6to4, NAT64) is what the IPv4 address is. Stricter than
/// the unstable `IpAddr::is_global`: whatever IANA has not given out is not global.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => is_global_v4(inner),
            None => {
                GLOBAL_UNICAST_V6.contains(&address)
                    && !NOT_GLOBAL_V6.iter().any(|block| block.contains(&address))
            }
        },
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !NOT_GLOBAL_V4.iter().any(|block| block.contains(&address))
}

fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let bytes = address.octets();
    let inner = if SIX_TO_FOUR.contains(&address) {
        &bytes[2..6]
    } else if NAT64.contains(&address) {
        &bytes[12..16]
    } else {
        return None;
    };
    Some(Ipv4Addr::new(inner[0], inner[1], inner[2], inner[3]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn global(address: &str) -> bool {
        is_global(address.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_not_global() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.9",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::8.8.8.8",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:0:0:1::808:808",
            "64:ff9b:1::808:808",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:1f:ffff::1",
            "2001:20::1",
            "2001:2f:ffff::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00::",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!global(address), "{address} counts as global");
        }
    }

    #[test]
    fn the_neighbours_of_special_blocks_are_global() {
        for address in [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2002:808:808::1",
            "2003::1",
            "2606:4700::1111",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ] {
            assert!(global(address), "{address} does not count as global");
        }
    }

    proptest! {
        #[test]
        fn an_address_and_its_wrapped_forms_agree(bits: u32, tail: u64, subnet: u16) {
            let [a, b, c, d] = bits.to_be_bytes();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let [e, f, g, h] = [48, 32, 16, 0].map(|shift| u16::try_from(tail >> shift & 0xffff).unwrap());
            let plain = is_global(IpAddr::V4(bits.into()));

            for wrapped in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, subnet, e, f, g, h),
            ] {
                prop_assert_eq!(is_global(IpAddr::V6(wrapped)), plain, "{}", wrapped);
            }
        }

        #[test]
        fn the_standard_library_finds_nothing_local_among_global_addresses(bits: u32, wide: u128) {
            let four = Ipv4Addr::from(bits);
            if is_global(four.into()) {
                prop_assert!(!four.is_private() && !four.is_loopback() && !four.is_link_local());
                prop_assert!(!four.is_multicast() && !four.is_broadcast() && !four.is_documentation());
                prop_assert!(!four.is_unspecified());
            }
            for six in [Ipv6Addr::from(wide), Ipv6Addr::from(wide >> 3 | 1 << 125)] {
                if is_global(six.into()) && embedded_v4(six).is_none() {
                    prop_assert_eq!(six.segments()[0] >> 13, 1);
                    prop_assert!(!six.is_unique_local() && !six.is_unicast_link_local());
                    prop_assert!(!six.is_multicast() && !six.is_loopback() && !six.is_unspecified());
                }
            }
        }
    }
}
