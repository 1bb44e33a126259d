//! Headers that tell browsers what not to do with an answer (OWASP HTTP Headers Cheat Sheet).

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::cors;
use crate::{app::App, client::Client, error::Error};

const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_XSS_PROTECTION, "1; mode=block"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), \
         geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=(), \
         xr-spatial-tracking=()",
    ),
];
/// Unless an answer has its own: data, which nobody keeps and in which nothing runs.
const DEFAULTS: [(HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];
/// Two years: what the preload list of browsers asks for.
const HSTS: &str = "max-age=63072000; includeSubDomains";
/// Swagger UI sets styles inline, and its pictures are `data:` URLs; its scripts are files.
const DOCS_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// Adds what every answer has, whoever made it.
pub(crate) async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let config = &app.config;
    let origin = cors::allowed(&config.cors_origins, request.headers());
    let client = Client::of(
        request.extensions(),
        request.headers(),
        &config.trusted_proxies,
    );
    let is_https =
        config.public_url.scheme() == "https" || client.is_some_and(|client| client.is_https);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in DEFAULTS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if is_https {
        let hsts = HeaderValue::from_static(HSTS);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    if app.stop.is_cancelled() {
        // A router that keeps connections would go on sending requests here, and find them cut.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if !config.cors_origins.is_empty() {
        cors::share(headers, origin);
    }
    response
}

/// Makes pages of files that are the same for everybody: the documentation.
pub(crate) async fn docs(response: Response) -> Response {
    let mut response = match response.status() {
        StatusCode::NOT_FOUND => return Error::NotFound("page").into_response(),
        _ => response,
    };
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static(DOCS_POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let caching = HeaderValue::from_static("public, max-age=300");
    headers.insert(header::CACHE_CONTROL, caching);
    response
}
