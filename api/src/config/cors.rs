//! Origins whose pages may use the API.

use shared::config::Problems;
use url::Url;

pub(super) fn origins(problems: &mut Problems, value: Option<&str>) -> Vec<String> {
    let mut origins = Vec::new();
    for text in value.unwrap_or_default().split(',').map(str::trim) {
        if text.is_empty() {
            continue;
        }
        match origin(text) {
            Ok(()) => origins.push(text.to_owned()),
            Err(problem) => problems.add("CORS_ORIGINS", format!("{text:?} {problem}")),
        }
    }
    origins
}

/// Whether it is an origin exactly as browsers write it (RFC 6454 §6.2), so that comparing texts is enough.
///
/// Pages of apps have schemes of their own, such as `capacitor://localhost`.
pub(super) fn origin(text: &str) -> Result<(), String> {
    if text.contains('*') || text == "null" {
        return Err("would let too many pages in; name each origin".to_owned());
    }
    let url: Url = text
        .parse()
        .map_err(|error| format!("is no origin like https://app.example.com: {error}"))?;
    let written = if url.origin().is_tuple() {
        url.origin().ascii_serialization()
    } else {
        let port = url.port().map(|port| format!(":{port}"));
        let host = url.host_str().unwrap_or_default();
        format!("{}://{host}{}", url.scheme(), port.unwrap_or_default())
    };
    if url.host_str().is_none_or(str::is_empty) {
        return Err("is no origin like https://app.example.com: it has no host".to_owned());
    }
    if written != text {
        return Err(format!("is not how browsers write an origin: {written}"));
    }
    Ok(())
}
