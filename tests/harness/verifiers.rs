//! What receivers check webhooks with: the libraries of Standard Webhooks for Rust (crates.io), Python (`PyPI`) and Node
//! (npm).

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use standardwebhooks::{Webhook, WebhookError};
use wiremock::Request;

use crate::sdk::Sdk;

/// A request, and what a receiver must make of it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What the receiver checks it with.
    pub secret: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether it must be accepted.
    pub is_genuine: bool,
    /// What it is, for people.
    pub why: String,
}

/// What a verifier made of claims.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Judgement {
    pub accepted: usize,
    pub rejected: usize,
    /// Those of which it made something else than it must.
    pub otherwise: Vec<String>,
}

impl Claim {
    /// A request as it came, which must be accepted.
    pub fn of(request: &Request, secret: &str, why: impl Into<String>) -> Self {
        let headers = request.headers.iter().map(|(name, value)| {
            let value = value.to_str().expect("a plain header");
            (name.as_str().to_owned(), value.to_owned())
        });
        Self {
            secret: secret.to_owned(),
            headers: headers.collect(),
            body: request.body.clone(),
            is_genuine: true,
            why: why.into(),
        }
    }

    /// One of its headers, which must be there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.unwrap_or_else(|| panic!("no {name} in {}", self.why))
    }

    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.insert(name.to_owned(), value.into());
    }

    /// A line of what the scripts read.
    fn line(&self) -> String {
        let Self {
            secret,
            headers,
            body,
            is_genuine,
            why,
        } = self;
        let expect = if *is_genuine { "accept" } else { "reject" };
        json!({
            "secret": secret, "headers": headers, "body": BASE64_STANDARD.encode(body), "expect": expect, "why": why,
        })
        .to_string()
    }

    fn verify(&self) -> Result<(), WebhookError> {
        let headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
                (name, HeaderValue::from_str(value).expect("a plain header"))
            })
            .collect();
        Webhook::new(&self.secret)?.verify(&self.body, &headers)
    }
}

/// Lets every verifier look at each claim, and fails a test in which one of them makes something else of it.
///
/// They compare times with the machine's clock, to five minutes.
pub async fn judge(claims: &[Claim]) {
    let accepted = claims.iter().filter(|claim| claim.is_genuine).count();
    let right = Judgement {
        accepted,
        rejected: claims.len() - accepted,
        otherwise: Vec::new(),
    };
    assert_eq!(judge_here(claims), right, "of the crate");
    let (python, node) = tokio::join!(
        judge_with(Sdk::Python, claims),
        judge_with(Sdk::Node, claims)
    );
    assert_eq!(python, right, "of the library for Python");
    assert_eq!(node, right, "of the library for Node");
}

fn judge_here(claims: &[Claim]) -> Judgement {
    let mut judgement = Judgement {
        accepted: 0,
        rejected: 0,
        otherwise: Vec::new(),
    };
    for claim in claims {
        let result = claim.verify();
        if result.is_ok() {
            judgement.accepted += 1;
        } else {
            judgement.rejected += 1;
        }
        if result.is_ok() != claim.is_genuine {
            let told = format!("{}: {result:?}", claim.why);
            judgement.otherwise.push(told);
        }
    }
    judgement
}

async fn judge_with(sdk: Sdk, claims: &[Claim]) -> Judgement {
    let mut script = sdk.start_script("webhooks", &[], &[]);
    for claim in claims {
        script.tell(&claim.line()).await;
    }
    // Its input ends, and with it the script.
    let code = script.wait().await;
    assert_eq!(code, Some(0), "{sdk:?}: {}", script.output());
    let line = script.wait_for_line(r#"{"accepted":"#).await;
    serde_json::from_str(&line).expect("a judgement")
}
