//! Error answers, described once, each with an example.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};
use utoipa::{
    IntoResponses,
    openapi::{Ref, RefOr},
};

use crate::{
    denied::Denied,
    error::{Error, Problem},
    limits::Exhausted,
};

/// The statuses of error answers, and what they mean.
pub(super) const PROBLEMS: &[(&str, &str)] = &[
    ("400", "The request cannot be read"),
    ("401", "No valid credentials"),
    ("403", "Not allowed for this caller; `code` says why"),
    ("404", "Not found, or not yours"),
    ("408", "The body comes too slowly"),
    ("409", "In conflict with a rule; `code` says which"),
    ("412", "`If-Match` does not name the present version"),
    ("413", "Larger than allowed here"),
    ("415", "A media type that is not accepted here"),
    (
        "422",
        "Some values are invalid; `errors` names each of them",
    ),
    (
        "429",
        "Too many requests, or a limit of usage is reached; `retryAfter` says when to try again",
    ),
    ("500", "An error of the server"),
    (
        "503",
        "Not available now; `retryAfter` says when to try again",
    ),
];

/// Every error answer, for the documentation of an operation; `openapi` describes them.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> std::collections::BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let of = |(status, _): &(&str, &str)| {
            let response = Ref::from_response_name(format!("Problem{status}"));
            ((*status).to_owned(), response.into())
        };
        PROBLEMS.iter().map(of).collect()
    }
}

/// The body of an error answer with this status, as it is sent.
pub(super) fn example(status: &str) -> Value {
    let error = match status {
        "400" => Error::Malformed(
            "the body is not JSON: EOF while parsing a value at line 1 column 0".to_owned(),
        ),
        "401" => Error::Unauthenticated("the access token or API key is unknown or has expired"),
        "403" => Error::Denied(Denied::InsufficientScope),
        "404" => Error::NotFound("conversation"),
        "408" => Error::SlowBody {
            limit: Duration::from_secs(20),
        },
        "409" => Error::IdempotencyInProgress,
        "412" => Error::PreconditionFailed,
        "413" => Error::TooLarge {
            limit_bytes: 262_144,
        },
        "415" => Error::UnsupportedMediaType("the body must be application/json".to_owned()),
        "416" => Error::RangeNotSatisfiable {
            length_bytes: 48_213,
        },
        "422" => Error::field("/password", "must have at least 10 characters"),
        "429" => Error::TooManyRequests(Exhausted {
            retry_after: 60,
            policy: "login-address",
            policies: Vec::new(),
        }),
        "503" => Error::Unavailable(anyhow!("nobody sees this")),
        _ => Error::Internal(anyhow!("nobody sees this")),
    };
    let mut problem = Problem::from(error);
    problem.request_id = Some("3f1c9a52-8f0e-4b7e-9a39-0d6a5f1f2b10".to_owned());
    json!(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_has_the_status_that_it_stands_for() {
        for (status, _) in PROBLEMS {
            assert_eq!(example(status)["status"].to_string(), *status);
        }
    }
}
