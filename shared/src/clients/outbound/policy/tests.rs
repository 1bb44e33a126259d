use proptest::prelude::*;

use super::*;

fn policy(allow: &[&str]) -> Policy {
    Policy {
        allow: allow.iter().map(|block| block.parse().unwrap()).collect(),
        plain_http: false,
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
fn in_development_public_addresses_are_called_over_plain_http() {
    let policy = Policy {
        allow: Vec::new(),
        plain_http: true,
    };
    for (url, expected) in [
        ("http://example.com/", Ok(Reach::Public)),
        ("http://8.8.8.8/", Ok(Reach::Public)),
        ("http://8.8.8.8:443/", Ok(Reach::Public)),
        ("https://8.8.8.8/", Ok(Reach::Public)),
        ("http://8.8.8.8:8080/", Err(Refused::Port)),
        ("https://8.8.8.8:8443/", Err(Refused::Port)),
        ("http://127.0.0.1/", Err(Refused::Address)),
        ("http://[::1]/", Err(Refused::Address)),
        ("http://10.0.0.1/", Err(Refused::Address)),
        ("http://metadata.google.internal/", Err(Refused::Address)),
        ("ftp://8.8.8.8/", Err(Refused::Scheme)),
    ] {
        let url: Url = url.parse().unwrap();
        let judged = policy.check(&url).map(|target| target.reach);
        assert_eq!(judged, expected, "{url}");
    }
}

#[test]
fn names_of_metadata_services_are_refused_whatever_they_lead_to() {
    for host in METADATA_NAMES {
        for url in [
            format!("https://{host}/latest"),
            format!("https://{host}./latest"),
            format!("https://x.{}/", host.to_uppercase()),
            format!("http://{host}:8080/"),
        ] {
            assert_eq!(check(&["0.0.0.0/0"], &url), Err(Refused::Address), "{url}");
        }
    }
    for url in [
        "https://metadata.example.com/",
        "https://my-metadata.goog/",
        "https://google.internal/",
    ] {
        assert_eq!(check(&[], url), Ok(Reach::Public), "{url}");
    }
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
