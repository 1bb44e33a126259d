use serde_json::json;

use super::*;

fn kind(error: &AskError) -> String {
    match error {
        AskError::Key { .. } => "key".to_owned(),
        AskError::Barred { .. } => "barred".to_owned(),
        AskError::Limited { .. } => "limited".to_owned(),
        AskError::Unavailable { .. } => "unavailable".to_owned(),
        AskError::Refused { status, .. } => format!("refused {status}"),
    }
}

fn refused(status: u16, body: &str) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    let (headers, quirks) = (HeaderMap::new(), Quirks::default());
    let now = DateTime::UNIX_EPOCH;
    kind(&refusal(status, &headers, body.as_bytes(), &quirks, now))
}

#[test]
fn what_is_refused_is_told_apart() {
    for (status, code, message, expected) in [
        (401, "invalid_api_key", "Incorrect API key provided", "key"),
        (402, "", "Insufficient Balance", "key"),
        (403, "", "Your account is suspended", "key"),
        (403, "", "Key limit exceeded (monthly limit)", "key"),
        (
            403,
            "model_not_found",
            "Project x does not have access to model y",
            "refused 404",
        ),
        (
            403,
            "model_permission_blocked_org",
            "The model is blocked",
            "refused 404",
        ),
        (
            403,
            "unsupported_country_region_territory",
            "Country, region, or territory not supported",
            "refused 404",
        ),
        (403, "", "Your input was flagged", "refused 403"),
        (403, "", "Access denied by security policy", "barred"),
        (
            402,
            "",
            "This request requires more credits, or fewer max_tokens. You can only afford 12.",
            "refused 402",
        ),
        (
            402,
            "",
            "This request requires more credits, or fewer max_tokens. You can only afford 0. Visit",
            "key",
        ),
        (
            402,
            "",
            "Prompt tokens limit exceeded: 64128 > 6964. To increase, visit",
            "refused 402",
        ),
        (
            401,
            "missing_scope",
            "You may not do this. Missing scopes: model.request.",
            "barred",
        ),
        (
            401,
            "",
            "You have insufficient permissions for this operation. Missing scopes: model.request.",
            "barred",
        ),
        (
            400,
            "",
            "User location is not supported for the API use.",
            "refused 404",
        ),
        (
            400,
            "",
            "maximum context length is 8192 tokens",
            "refused 400",
        ),
        (
            429,
            "insufficient_quota",
            "You exceeded your current quota",
            "key",
        ),
        (429, "rate_limit_exceeded", "Rate limit reached", "limited"),
        (408, "", "", "unavailable"),
        (503, "", "overloaded", "unavailable"),
    ] {
        let body = json!({ "error": { "code": code, "message": message } });
        let told = refused(status, &body.to_string());
        assert_eq!(told, expected, "{status} {code} {message}");
    }
    let page = "<!DOCTYPE html><title>Sorry</title>";
    assert_eq!(refused(403, page), "unavailable");
    assert_eq!(refused(401, ""), "key");
}

#[test]
fn what_a_question_says_harms_nobody_else() {
    for (status, code, message, expected) in [
        (
            400,
            "invalid_value",
            "Invalid value: 'api key not valid'. Supported values are: 'low', 'high'.",
            "refused 400",
        ),
        (
            400,
            "",
            "API_KEY_INVALID is not one of ['low', 'high']",
            "refused 400",
        ),
        (
            400,
            "",
            "api key not valid is not one of ['low', 'high']",
            "refused 400",
        ),
        (
            429,
            "rate_limit_exceeded",
            "Rate limit reached for 'insufficient_quota billing_hard_limit limit: 0,'",
            "limited",
        ),
        (
            403,
            "",
            "Flagged: 'you can only afford 0, said he'",
            "refused 403",
        ),
        (
            402,
            "",
            "Fewer max_tokens are needed for 'can only afford 0'",
            "refused 402",
        ),
    ] {
        let body = json!({ "error": { "code": code, "message": message } });
        let told = refused(status, &body.to_string());
        assert_eq!(told, expected, "{status} {code} {message}");
    }
}

#[test]
fn gemini_says_with_codes_what_is_wrong_with_a_key() {
    let error = |status: &str, message: &str, reason: &str| {
        let details =
            [json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason })];
        let code = 400;
        json!([{ "error": { "code": code, "message": message, "status": status, "details": details } }])
            .to_string()
    };
    let invalid = "API key not valid. Please pass a valid API key.";
    for (status, body, expected) in [
        (
            400,
            error("INVALID_ARGUMENT", "Anything", "API_KEY_INVALID"),
            "key",
        ),
        (400, error("INVALID_ARGUMENT", invalid, ""), "key"),
        (
            400,
            error("INVALID_ARGUMENT", "Invalid value: 'api key not valid'", ""),
            "refused 400",
        ),
        (400, error("", invalid, ""), "refused 400"),
        (
            429,
            error(
                "RESOURCE_EXHAUSTED",
                "Quota exceeded for metric: x, limit: 0, model: gemini-2.5-pro",
                "",
            ),
            "barred",
        ),
        (
            429,
            error("RESOURCE_EXHAUSTED", "Quota exceeded, limit: 05", ""),
            "limited",
        ),
    ] {
        assert_eq!(refused(status, &body), expected, "{body}");
    }
}

#[test]
fn what_another_one_says_is_no_fault_of_the_key() {
    for (status, expected) in [
        (401, "refused 404"),
        (402, "refused 402"),
        (403, "refused 403"),
    ] {
        let error = |name: Value| {
            json!({ "error": { "code": status, "message": "Provider returned error",
                               "metadata": { "provider_name": name } } })
            .to_string()
        };
        assert_eq!(refused(status, &error(json!("Anthropic"))), expected);
        assert_eq!(refused(status, &error(Value::Null)), "key");
    }
}

#[test]
fn an_error_within_a_success_means_the_same() {
    let within = |status: u16, message: &str| {
        let error = json!({ "code": status, "message": message });
        super::within(&error, status, message)
            .as_ref()
            .map(kind)
            .unwrap_or_default()
    };
    for (status, message, expected) in [
        (401, "No auth credentials found", "key"),
        (402, "Insufficient credits", "key"),
        (402, "Prompt tokens limit exceeded: 9 > 3", "refused 402"),
        (403, "Forbidden", "refused 403"),
        (400, "'api key not valid'", "refused 400"),
        (429, "Slow down", "limited"),
        (418, "A teapot", ""),
        (502, "Bad gateway", ""),
    ] {
        assert_eq!(within(status, message), expected, "{status} {message}");
    }
}
