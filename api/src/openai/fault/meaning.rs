//! What problems of this API, and what providers say, mean on this surface.

use std::{fmt::Write as _, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use shared::models::message::Failure;

use super::{CONTEXT_LENGTH, Fault, QUOTA, Retry};
use crate::error::{
    FieldProblem, Problem, RETRY_AFTER_MS, SHOULD_RETRY, USAGE_LIMIT_REACHED, repeat,
};

/// What a route that is not there is called.
const NO_ROUTE: &str = "no such route";
/// When to ask again, where nobody says.
const RETRY_LATER: Duration = Duration::from_secs(2);
/// Most bad parameters that are told of.
const MOST_TOLD: usize = 5;

impl From<&Failure> for Fault {
    /// Why no answer was made, or none to its end. What providers say of a question is for its client: all of it is theirs.
    fn from(failure: &Failure) -> Self {
        let wait = failure.retry_after_ms.map(Duration::from_millis);
        let message = &failure.detail;
        let server = |status: StatusCode| Self::server(status, &failure.code, message);
        match failure.code.as_str() {
            "provider_rate_limited" => Self::limit(wait.unwrap_or(RETRY_LATER), message),
            "provider_refused" => Self::refused(failure),
            // It takes none of our keys.
            "provider_failed" if failure.provider_status.is_some() => {
                server(StatusCode::BAD_GATEWAY).for_good()
            }
            "answer_stopped" => Self::of_status(StatusCode::CONFLICT, &failure.code, message),
            "provider_unavailable" | "unavailable" | "interrupted" => {
                server(StatusCode::SERVICE_UNAVAILABLE).after(wait.unwrap_or(RETRY_LATER))
            }
            "timeout" => server(StatusCode::GATEWAY_TIMEOUT).for_good(),
            "internal" => server(StatusCode::INTERNAL_SERVER_ERROR),
            _ => server(StatusCode::BAD_GATEWAY),
        }
    }
}

impl Fault {
    /// A provider does not take a question. Some statuses say that the question is to blame; all else only an operator can
    /// mend.
    fn refused(failure: &Failure) -> Self {
        let (code, message) = (&failure.code, &failure.detail);
        match failure.provider_status {
            _ if says_too_long(message) => {
                Self::request(Some("messages".to_owned()), CONTEXT_LENGTH, message)
            }
            None | Some(400 | 422) => Self::request(None, code, message),
            Some(413) => Self::of_status(StatusCode::PAYLOAD_TOO_LARGE, code, message),
            Some(_) => Self::server(StatusCode::BAD_GATEWAY, code, message).for_good(),
        }
    }
}

/// Whether a provider says that a question is too long; they all say it in these words or other ones.
fn says_too_long(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "context length",
        "context_length",
        "context window",
        "too many tokens",
    ]
    .iter()
    .any(|words| message.contains(words))
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        let status = StatusCode::from_u16(problem.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let wait = problem
            .headers
            .get(RETRY_AFTER_MS)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_millis)
            .or(problem.retry_after.map(Duration::from_secs));
        let is_hopeless = problem
            .headers
            .get(SHOULD_RETRY)
            .is_some_and(|value| value == "false");
        let (code, message) = (problem.code, problem.detail.as_str());
        let request = |code: &str| Self::of_status(status, code, message);
        match status.as_u16() {
            401 => request("invalid_api_key"),
            404 if code == "model_not_found" => Self::no_model(message),
            404 if message == NO_ROUTE => request("unknown_url"),
            409 if code == "idempotency_in_progress" => request(code).after(RETRY_LATER),
            408 => Self {
                retry: Retry::Unsaid,
                ..request(code)
            },
            422 if problem.errors.is_empty() => Self {
                status: StatusCode::BAD_REQUEST,
                ..request(code)
            },
            422 => Self::of_fields(&problem.errors),
            429 if code == USAGE_LIMIT_REACHED => Self {
                kind: QUOTA,
                code: Some(QUOTA.to_owned()),
                ..Self::limit(wait.unwrap_or(RETRY_LATER), message)
            },
            429 => Self::limit(wait.unwrap_or(RETRY_LATER), message),
            400..=499 => request(code),
            _ if is_hopeless => Self::server(status, code, message).for_good(),
            _ => {
                let fault = Self::server(status, code, message);
                match wait {
                    Some(wait) => fault.after(wait),
                    None => fault,
                }
            }
        }
    }
}

impl Fault {
    fn of_fields(fields: &[FieldProblem]) -> Self {
        let told: Vec<String> = fields
            .iter()
            .take(MOST_TOLD)
            .map(|field| format!("'{}' {}", param(&field.pointer), field.detail))
            .collect();
        let first = fields.first().map(|field| param(&field.pointer));
        Self {
            param: first.filter(|name| !name.is_empty()),
            ..Self::invalid("", format!("Invalid value: {}", told.join("; ")))
        }
    }
}

/// A JSON pointer as `OpenAI` writes it: `/messages/0/content` is `messages[0].content`.
fn param(pointer: &str) -> String {
    let mut name = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            _ = write!(name, "[{part}]");
        } else {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&part);
        }
    }
    repeat(&name)
}

/// Words a problem as this surface does.
pub(crate) fn refuse(problem: &Problem) -> Response {
    let mut response = Fault::from(problem).into_response();
    let headers = response.headers_mut();
    for (name, value) in &problem.headers {
        headers.entry(name).or_insert(value.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::Error as Ours;

    fn answered(error: Ours) -> (u16, Option<String>, Option<String>) {
        let response = refuse(&Problem::from(error));
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let status = response.status().as_u16();
        (status, header("x-should-retry"), header("retry-after"))
    }

    #[test]
    fn clients_are_told_whether_to_ask_again() {
        let exhausted = |seconds| Ours::Exhausted {
            retry_after: Duration::from_secs(seconds),
            is_limit: true,
        };
        for (error, status, should_retry, retry_after) in [
            (exhausted(7), 429, Some("true"), Some("7")),
            (exhausted(60), 429, Some("true"), Some("60")),
            (exhausted(61), 429, Some("false"), Some("61")),
            (Ours::Overloaded, 503, Some("true"), Some("1")),
            (Ours::Timeout, 503, Some("true"), Some("2")),
            (Ours::NotFound("route"), 404, Some("false"), None),
            (Ours::Unauthenticated("no"), 401, Some("false"), None),
            (Ours::field("/model", "is bad"), 400, Some("false"), None),
            (Ours::Internal(anyhow::anyhow!("x")), 500, None, None),
            (
                Ours::KeysRetired {
                    model: "x".to_owned(),
                },
                503,
                Some("false"),
                None,
            ),
        ] {
            let told = format!("{error:?}");
            let (code, retry, after) = answered(error);
            assert_eq!(code, status, "{told}");
            assert_eq!(retry.as_deref(), should_retry, "{told}");
            assert_eq!(after.as_deref(), retry_after, "{told}");
        }
    }

    #[test]
    fn the_body_is_the_one_that_clients_read() {
        let error = |error: Ours| Fault::from(&Problem::from(error)).body()["error"].clone();
        let wrong = error(Ours::field("/messages/0/content", "must be a text"));
        assert_eq!(wrong["param"], "messages[0].content");
        assert_eq!(wrong["type"], "invalid_request_error");
        assert!(
            wrong["message"]
                .as_str()
                .unwrap()
                .contains("must be a text")
        );
        let unknown = error(Ours::NotFound("route"));
        assert_eq!(
            (&unknown["code"], &unknown["param"]),
            (&json!("unknown_url"), &Value::Null)
        );
        assert_eq!(
            error(Ours::Unauthenticated("no"))["code"],
            "invalid_api_key"
        );
        let day = Ours::Exhausted {
            retry_after: Duration::from_hours(5),
            is_limit: true,
        };
        assert_eq!(error(day)["code"], "insufficient_quota");
        let inner = error(Ours::Internal(anyhow::anyhow!("a secret")));
        assert_eq!(
            (&inner["type"], &inner["message"]),
            (&json!("server_error"), &json!("internal error"))
        );
    }

    #[test]
    fn what_providers_say_is_told_by_whose_fault_it_is() {
        let fault = |code: &str, detail: &str, provider_status: Option<u16>| {
            let failure = Failure {
                code: code.to_owned(),
                detail: detail.to_owned(),
                retry_after_ms: None,
                provider_status,
            };
            let fault = Fault::from(&failure);
            let is_final = fault.retry == Retry::Never;
            (
                fault.status.as_u16(),
                fault.code.unwrap_or_default(),
                is_final,
            )
        };
        let refused = "provider_refused";
        let too_long = "openai does not take the question: maximum context length is 8192 tokens";
        for (code, detail, provider_status, expected) in [
            (
                "provider_rate_limited",
                "",
                None,
                (429, "rate_limit_exceeded", false),
            ),
            (refused, "bad schema", None, (400, refused, true)),
            (refused, "bad schema", Some(400), (400, refused, true)),
            (refused, "bad schema", Some(422), (400, refused, true)),
            (refused, too_long, Some(400), (400, CONTEXT_LENGTH, true)),
            (refused, "", Some(413), (413, refused, true)),
            (refused, "", Some(402), (502, refused, true)),
            (refused, "", Some(403), (502, refused, true)),
            (refused, "", Some(404), (502, refused, true)),
            (
                "provider_failed",
                "",
                Some(401),
                (502, "provider_failed", true),
            ),
            ("provider_failed", "", None, (502, "provider_failed", false)),
            (
                "provider_unavailable",
                "",
                None,
                (503, "provider_unavailable", false),
            ),
            ("answer_stopped", "", None, (409, "answer_stopped", true)),
            ("timeout", "", None, (504, "timeout", true)),
        ] {
            let (status, told, is_final) = fault(code, detail, provider_status);
            assert_eq!(
                (status, told.as_str(), is_final),
                expected,
                "{code} {detail}"
            );
        }
    }
}
