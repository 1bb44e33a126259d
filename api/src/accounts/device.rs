//! From where somebody logs in.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use shared::models::session;

use crate::{app::App, client::Client, error::Error};

/// Longest name of a program that is kept, in characters.
const USER_AGENT_MAX: usize = 256;

/// The client, as limits and sessions know it.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// The network whose requests count together.
    pub network: String,
    /// What a login keeps of it.
    pub kept: session::Device,
}

impl FromRequestParts<App> for Device {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let client = Client::from_request_parts(parts, app).await?;
        let network = client.network().to_string();
        // Keyed, as the few addresses there are could be tried one by one.
        let address_hash = app.keyring.sign("address", network.as_bytes()).to_vec();
        Ok(Self {
            network,
            kept: session::Device {
                ip: client.shown(app.config.log_ip),
                user_agent: user_agent(&parts.headers),
                address_hash,
            },
        })
    }
}

/// Clients write what they like into it.
fn user_agent(headers: &HeaderMap) -> Option<String> {
    let bytes = headers.get(header::USER_AGENT)?.as_bytes();
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .filter(|character| !character.is_control())
        .take(USER_AGENT_MAX)
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_long_or_strange_name_of_a_program_is_cut() {
        let shown = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_bytes(value).unwrap());
            user_agent(&headers)
        };
        assert_eq!(shown(b"curl/8").as_deref(), Some("curl/8"));
        assert_eq!(shown(b"a\tb\xff").as_deref(), Some("ab\u{fffd}"));
        assert_eq!(shown(b""), None);
        assert_eq!(shown(&[b'x'; 1000]).unwrap().len(), USER_AGENT_MAX);
        assert_eq!(user_agent(&HeaderMap::new()), None);
    }
}
