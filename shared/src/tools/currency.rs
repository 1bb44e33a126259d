//! What money is worth in another currency, by ExchangeRate-API.
//!
//! Source: <https://www.exchangerate-api.com/docs/pair-conversion-requests>, read in November 2026.

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{
    Answer, Executor, Tool, ToolError, answer,
    http::{self, Http},
    output::reason,
    text,
};
use crate::config::ServiceConfig;

/// How long its results are remembered.
const MINUTES: u64 = 5;
/// Most that is converted: a float of such a size is exact to the hundredth.
const AMOUNT_MAX: f64 = 1e12;
/// Errors of the question; all others are of the account.
const OF_THE_QUESTION: [&str; 2] = ["unsupported-code", "malformed-request"];

/// The tool.
pub(super) fn tool(service: &ServiceConfig, http: &Http) -> Tool {
    let code = json!({ "type": "string", "pattern": "^[A-Za-z]{3}$", "description": "ISO 4217, like PKR" });
    let parameters = json!({
        "type": "object",
        "properties": {
            "from": code,
            "to": code,
            "amount": { "type": "number", "minimum": 0, "maximum": AMOUNT_MAX, "description": "1 unless given" },
        },
        "required": ["from", "to"],
        "additionalProperties": false,
    });
    let currency = Currency {
        service: service.clone(),
        http: http.clone(),
    };
    Tool::builtin(
        "currency",
        "Converts an amount of money from one currency to another at the current rate.",
        parameters,
        MINUTES,
        currency,
    )
}

struct Currency {
    service: ServiceConfig,
    http: Http,
}

#[async_trait]
impl Executor for Currency {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        let code = |name| text(arguments, name).unwrap_or_default().to_uppercase();
        let (from, to) = (code("from"), code("to"));
        let amount = arguments
            .get("amount")
            .and_then(Value::as_f64)
            .unwrap_or(1.0);
        let key = self.service.key.expose_secret();
        let url = self.service.at(&format!("{key}/pair/{from}/{to}"));
        let unknown =
            || answer(&json!({ "error": format!("{from} or {to} is no currency that is known") }));
        let said = match http::ask(self.http.get(url)).await {
            Err(ToolError::Refused { reason, .. })
                if OF_THE_QUESTION.iter().any(|word| reason.contains(word)) =>
            {
                return Ok(unknown());
            }
            said => said?,
        };
        if said["result"] != "success" {
            let error = said["error-type"].as_str().unwrap_or_default();
            if OF_THE_QUESTION.contains(&error) {
                return Ok(unknown());
            }
            return Err(ToolError::Unavailable(reason(&error)));
        }
        let Some(rate) = said["conversion_rate"].as_f64() else {
            return Err(ToolError::Unavailable("it tells no rate".to_owned()));
        };
        Ok(answer(&json!({
            "from": from,
            "to": to,
            "amount": amount,
            "rate": rate,
            "result": (amount * rate * 1e4).round() / 1e4,
            "asOf": said["time_last_update_utc"],
        })))
    }
}
