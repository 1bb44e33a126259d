//! What receivers check webhooks with (`tests::verifiers`), and what they get: real deliveries, and such as somebody has
//! changed on the way.

use serde_json::{Value, json};
use shared::{clock::Clock, keyring::hmac_sha256};
use standardwebhooks::Webhook;
use tests::{
    Actor, TestApp, eventually,
    fakes::receiver::Receiver,
    verifiers::{Claim, judge},
};
use wiremock::Request;

const WEBHOOKS: &str = "/api/v1/webhooks";
const DELIVERIES: usize = 300;
/// What a library may read otherwise than we wrote it: scripts, signs that are joined, and what JSON and HTML escape.
const TITLES: [&str; 8] = [
    "Plans",
    "नमस्ते दुनिया",
    "آپ کیسے ہیں",
    "👩‍👩‍👧‍👦 e\u{301} é",
    r#"a "quoted\" and 'single' word"#,
    "<b>&amp;</b>",
    "v1,abc= v1,def= 1.2.3",
    "ẞ – …",
];
/// How old a request may be for the libraries, in seconds; and how far ahead of them.
const TOLERANCE: i64 = 5 * 60;
/// What of a request that is too early passes until a library looks at it, in seconds, at most.
const READING: i64 = 5 * 60;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// What a change needs to know besides the request.
struct Around<'a> {
    /// Another delivery to the same endpoint.
    another: &'a Claim,
    /// The secret of another endpoint.
    foreign_secret: &'a str,
    /// Says at which place a change is made.
    n: usize,
}

type Change = fn(&mut Claim, &Around<'_>);

/// What may be done to a request on its way; none of it may be accepted then.
const CHANGES: [(&str, Change); 30] = [
    ("a bit of the body", |claim, around| {
        let at = around.n * 7919 % claim.body.len();
        claim.body[at] ^= 1_u8 << (around.n % 8);
    }),
    ("body without its last byte", |claim, _| {
        claim.body.pop();
    }),
    ("body with a space after it", |claim, _| {
        claim.body.push(b' ');
    }),
    ("body that was parsed and written again", |claim, _| {
        let read: Value = serde_json::from_slice(&claim.body).unwrap();
        claim.body = serde_json::to_vec_pretty(&read).unwrap();
    }),
    ("no body", |claim, _| claim.body.clear()),
    ("body of another", |claim, around| {
        claim.body.clone_from(&around.another.body);
    }),
    ("a letter of the id", |claim, around| {
        let at = around.n * 7 % claim.header(ID).len();
        change_letter(claim, ID, at);
    }),
    ("id of another", |claim, around| {
        claim.set_header(ID, around.another.header(ID));
    }),
    ("empty id", |claim, _| claim.set_header(ID, "")),
    ("no id", |claim, _| {
        claim.headers.remove(ID);
    }),
    ("a second later", |claim, _| {
        let sent = sent_at(claim);
        claim.set_header(TIMESTAMP, (sent + 1).to_string());
    }),
    ("another time, too old", |claim, _| {
        let sent = sent_at(claim);
        claim.set_header(TIMESTAMP, (sent - TOLERANCE - 1).to_string());
    }),
    ("time in milliseconds", |claim, _| {
        let sent = sent_at(claim);
        claim.set_header(TIMESTAMP, (sent * 1000).to_string());
    }),
    ("time in words", |claim, _| {
        claim.set_header(TIMESTAMP, "hello");
    }),
    ("no time", |claim, _| {
        claim.headers.remove(TIMESTAMP);
    }),
    // Well signed: the time is all that is wrong.
    ("kept for too long", |claim, _| {
        sign_at(claim, now() - TOLERANCE - 1);
    }),
    ("from the future", |claim, _| {
        sign_at(claim, now() + TOLERANCE + READING);
    }),
    ("a letter of the signature", |claim, around| {
        change_letter(claim, SIGNATURE, letter_of_signature(around.n));
    }),
    ("signature that is cut", |claim, around| {
        let kept = claim.header(SIGNATURE)[..4 + around.n % 43].to_owned();
        claim.set_header(SIGNATURE, kept);
    }),
    ("signature without content", |claim, _| {
        claim.set_header(SIGNATURE, "v1,");
    }),
    ("empty signature", |claim, _| {
        claim.set_header(SIGNATURE, "");
    }),
    ("no signature", |claim, _| {
        claim.headers.remove(SIGNATURE);
    }),
    ("signature of another", |claim, around| {
        claim.set_header(SIGNATURE, around.another.header(SIGNATURE));
    }),
    ("signature of version 2", |claim, _| {
        let other = claim.header(SIGNATURE).replace("v1,", "v2,");
        claim.set_header(SIGNATURE, other);
    }),
    ("signature of version 1a", |claim, _| {
        let other = claim.header(SIGNATURE).replace("v1,", "v1a,");
        claim.set_header(SIGNATURE, other);
    }),
    ("signature in hex, of the body alone", |claim, _| {
        let plain = format!("v1,{}", claim.header("x-baatcheet-signature"));
        claim.set_header(SIGNATURE, plain);
    }),
    ("many signatures, all bad", |claim, around| {
        let good = claim.header(SIGNATURE).to_owned();
        change_letter(claim, SIGNATURE, letter_of_signature(around.n));
        let bad = claim.header(SIGNATURE);
        let list = format!(
            "{bad} {} {} {} v1,",
            good.replace("v1,", "v2,"),
            good.replace("v1,", "v1a,"),
            around.another.header(SIGNATURE),
        );
        claim.set_header(SIGNATURE, list);
    }),
    ("secret of another endpoint", |claim, around| {
        around.foreign_secret.clone_into(&mut claim.secret);
    }),
    ("a letter of the secret", |claim, around| {
        let at = "whsec_".len() + around.n % 40;
        claim.secret = with_another_letter(&claim.secret, at);
    }),
    ("empty secret", |claim, _| {
        "whsec_".clone_into(&mut claim.secret);
    }),
];

/// A place in a signature; not that of its last letter, in which base64 has bits that mean nothing.
fn letter_of_signature(n: usize) -> usize {
    "v1,".len() + n % 42
}

fn change_letter(claim: &mut Claim, header: &str, at: usize) {
    let changed = with_another_letter(claim.header(header), at);
    claim.set_header(header, changed);
}

/// A text of ASCII with another letter at this place.
fn with_another_letter(text: &str, at: usize) -> String {
    let letter = if text.as_bytes()[at] == b'a' {
        'b'
    } else {
        'a'
    };
    format!("{}{letter}{}", &text[..at], &text[at + 1..])
}

fn sent_at(claim: &Claim) -> i64 {
    claim.header(TIMESTAMP).parse().unwrap()
}

fn now() -> i64 {
    Clock::System.now().timestamp()
}

/// Signs a request anew, as if it had been sent then.
fn sign_at(claim: &mut Claim, time: i64) {
    let webhook = Webhook::new(&claim.secret).unwrap();
    let signature = webhook.sign(claim.header(ID), time, &claim.body);
    claim.set_header(TIMESTAMP, time.to_string());
    claim.set_header(SIGNATURE, signature.unwrap());
}

/// What a request becomes that must not be accepted.
fn forged(claim: &Claim, change: (&str, Change), around: &Around<'_>) -> Claim {
    let (name, make) = change;
    let mut claim = Claim {
        is_genuine: false,
        why: format!("{}, {name} ({})", claim.why, around.n),
        ..claim.clone()
    };
    make(&mut claim, around);
    claim
}

/// An endpoint that hears of conversations: its path and secret.
async fn subscribe(actor: &Actor, receiver: &Receiver) -> (String, String) {
    let events = ["conversation.created", "conversation.updated"];
    let body = json!({ "url": receiver.url(), "events": events });
    let made = actor.post_json(WEBHOOKS, body).await.expect(201);
    let path = format!("{WEBHOOKS}/{}", made["id"].as_str().unwrap());
    (path, secret_of(&made))
}

fn secret_of(answer: &Value) -> String {
    answer["secret"].as_str().unwrap().to_owned()
}

/// Lets this many things happen, and waits for what comes of it.
async fn deliver(
    app: &TestApp,
    actor: &Actor,
    receiver: &Receiver,
    deliveries: usize,
) -> Vec<Request> {
    let titles = TITLES.iter().cycle().enumerate();
    for (n, title) in titles.take(deliveries / 2) {
        let id = actor.conversation(&format!("{title} {n}")).await;
        let body = json!({ "title": format!("{n} {title}") });
        let path = format!("/api/v1/conversations/{id}");
        actor.patch_json(&path, body).await.expect(200);
    }
    eventually("everything is delivered", || async {
        app.run_due_jobs().await;
        receiver.requests().await.len() >= deliveries
    })
    .await;
    let requests = receiver.requests().await;
    assert_eq!(requests.len(), deliveries);
    requests
}

#[tokio::test]
async fn every_verifier_accepts_what_is_delivered_and_nothing_that_was_changed() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let (_, secret) = subscribe(&ana, &receiver).await;
    let foreign_secret = secret_of(&ana.webhook("http://127.0.0.1:9/").await);

    let requests = deliver(&app, &ana, &receiver, DELIVERIES).await;
    let numbered = requests.iter().enumerate();
    let genuine: Vec<Claim> = numbered
        .map(|(n, request)| Claim::of(request, &secret, format!("delivery {n}")))
        .collect();
    let others = genuine.iter().cycle().skip(1);
    let changes = CHANGES.into_iter().cycle();
    let forged = genuine.iter().zip(others).zip(changes).enumerate().map(
        |(index, ((claim, another), change))| {
            let around = Around {
                another,
                foreign_secret: &foreign_secret,
                n: index + index / CHANGES.len(),
            };
            forged(claim, change, &around)
        },
    );
    let claims: Vec<Claim> = forged.chain(genuine.iter().cloned()).collect();
    assert_eq!(claims.len(), 2 * DELIVERIES);
    judge(&claims).await;
    app.finish().await;
}

/// What the libraries' own tests have: a list of signatures of which one is right, and what is refused.
#[tokio::test]
async fn every_verifier_judges_as_is_published() {
    let bad = "v1,tFtCZ5RDCPxzWQRWXWPgrCgE2frDBe9gjpbWQxnVfsQ=";
    let mut claim = Claim {
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        headers: [(ID.to_owned(), "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned())].into(),
        body: br#"{"test": 2432232314}"#.to_vec(),
        is_genuine: true,
        why: "one signature".to_owned(),
    };
    sign_at(&mut claim, now());
    let good = claim.header(SIGNATURE).to_owned();
    let mut claims = vec![claim.clone()];
    for (is_genuine, why, signature) in [
        (
            true,
            "one of many",
            format!("{bad} {} {good} {bad}", bad.replace("v1", "v2")),
        ),
        (
            true,
            "ours, with Ed25519 besides",
            worker::signature::header(
                std::slice::from_ref(&claim.secret),
                &[[7; 32]],
                claim.header(ID),
                sent_at(&claim),
                &claim.body,
            )
            .unwrap(),
        ),
        (false, "bad ones only", format!("{bad} {bad}")),
    ] {
        let mut claim = Claim {
            is_genuine,
            why: why.to_owned(),
            ..claim.clone()
        };
        claim.set_header(SIGNATURE, signature);
        claims.push(claim);
    }
    let mut former = Claim {
        is_genuine: false,
        why: "the vector, of 2021".to_owned(),
        ..claim
    };
    former.set_header(TIMESTAMP, "1614265330");
    former.set_header(SIGNATURE, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    claims.push(former);
    judge(&claims).await;
}

#[tokio::test]
async fn after_a_rotation_every_verifier_accepts_with_either_secret() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let (path, former) = subscribe(&ana, &receiver).await;
    let rotated = ana
        .post_json(&format!("{path}/rotate-secret"), json!({}))
        .await;
    let current = secret_of(&rotated.expect(200));
    assert_ne!(current, former);
    let foreign = secret_of(&ana.webhook("http://127.0.0.1:9/").await);

    let requests = deliver(&app, &ana, &receiver, 20).await;
    let mut claims = Vec::new();
    for (n, request) in requests.iter().enumerate() {
        for (name, secret) in [
            ("current", &current),
            ("former", &former),
            ("foreign", &foreign),
        ] {
            let mut claim = Claim::of(request, secret, format!("delivery {n}, {name} secret"));
            claim.is_genuine = name != "foreign";
            claims.push(claim);
        }
        // Who reads the plain signature, which is one, is to have the current secret.
        let plain = hex::encode(hmac_sha256(current.as_bytes(), &request.body));
        assert_eq!(request.headers["x-baatcheet-signature"], plain);
        let list = request.headers[SIGNATURE].to_str().unwrap();
        assert_eq!(list.split(' ').count(), 2, "{list}");
    }
    judge(&claims).await;
    app.finish().await;
}
