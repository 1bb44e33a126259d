//! Tools that models may call: keys of their services, and where they are.

use std::{fmt, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Problems, given};

/// Most servers of tools.
const SERVERS_MAX: usize = 16;
/// Longest name of a server: it stands before the names of its tools, of which models take 64 characters.
const SERVER_NAME_MAX: usize = 24;
/// Instead of an address: nobody is asked.
const OFF: &str = "off";

/// Variables of the tools.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ToolArgs {
    /// Key of `OpenWeather`; offers the tool weather [default: none]
    #[arg(long, env = "OPENWEATHER_API_KEY", hide_env_values = true)]
    pub openweather_api_key: Option<String>,
    /// Where the API of `OpenWeather` is [default: <https://api.openweathermap.org/data/2.5>]
    #[arg(long, env = "OPENWEATHER_BASE_URL")]
    pub openweather_base_url: Option<String>,
    /// Key of ExchangeRate-API; offers the tool currency [default: none]
    #[arg(long, env = "EXCHANGE_RATE_API_KEY", hide_env_values = true)]
    pub exchange_rate_api_key: Option<String>,
    /// Where ExchangeRate-API is [default: <https://v6.exchangerate-api.com/v6>]
    #[arg(long, env = "EXCHANGE_RATE_BASE_URL")]
    pub exchange_rate_base_url: Option<String>,
    /// Key of `NewsAPI`; offers the tool news [default: none]
    #[arg(long, env = "NEWS_API_KEY", hide_env_values = true)]
    pub news_api_key: Option<String>,
    /// Where `NewsAPI` is [default: <https://newsapi.org/v2>]
    #[arg(long, env = "NEWS_BASE_URL")]
    pub news_base_url: Option<String>,
    /// Key of Tavily; offers the tool `web_search` [default: none]
    #[arg(long, env = "TAVILY_API_KEY", hide_env_values = true)]
    pub tavily_api_key: Option<String>,
    /// Where the API of Tavily is [default: <https://api.tavily.com>]
    #[arg(long, env = "TAVILY_BASE_URL")]
    pub tavily_base_url: Option<String>,
    /// Key of Google's Places API (New), which the tool places then asks instead of Nominatim [default: none]
    #[arg(long, env = "GOOGLE_PLACES_API_KEY", hide_env_values = true)]
    pub google_places_api_key: Option<String>,
    /// Where Google's Places API is [default: <https://places.googleapis.com/v1>]
    #[arg(long, env = "GOOGLE_PLACES_BASE_URL")]
    pub google_places_base_url: Option<String>,
    /// Where the Nominatim is that the tool places asks; off: nowhere [default: <https://nominatim.openstreetmap.org>]
    #[arg(long, env = "NOMINATIM_BASE_URL")]
    pub nominatim_base_url: Option<String>,
    /// Servers of the Model Context Protocol (streamable HTTP) whose tools are offered: NAME=URL, comma-separated, or JSON
    /// like `[{"name": "docs", "url": "URL", "bearer": "TOKEN"}]` [default: none]
    #[arg(long, env = "MCP_SERVERS", hide_env_values = true)]
    pub mcp_servers: Option<String>,
    /// Seconds that a call of a tool may take in all, also where another instance is waited for that asks the same, 1 to 30
    /// [default: 10]
    #[arg(long, env = "TOOL_TIMEOUT_SECONDS")]
    pub tool_timeout_seconds: Option<String>,
}

/// Tools that are offered.
#[derive(Debug, Clone)]
pub struct ToolsConfig {
    /// `OpenWeather`.
    pub weather: Option<ServiceConfig>,
    /// ExchangeRate-API.
    pub currency: Option<ServiceConfig>,
    /// `NewsAPI`.
    pub news: Option<ServiceConfig>,
    /// Tavily.
    pub web_search: Option<ServiceConfig>,
    /// Google's Places API.
    pub google_places: Option<ServiceConfig>,
    /// Nominatim.
    pub nominatim: Option<Url>,
    /// Servers of the Model Context Protocol.
    pub mcp: Vec<McpConfig>,
    /// Longest time of a call.
    pub timeout: Duration,
}

/// Where a service is, and what opens it.
#[derive(Clone)]
pub struct ServiceConfig {
    /// What its paths are appended to.
    pub base_url: Url,
    /// Its key.
    pub key: SecretString,
}

impl fmt::Debug for ServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceConfig({})", self.base_url)
    }
}

/// A server of the Model Context Protocol.
#[derive(Clone)]
pub struct McpConfig {
    /// What the names of its tools begin with.
    pub name: String,
    /// Its endpoint.
    pub url: Url,
    /// What opens it.
    pub bearer: Option<SecretString>,
}

impl fmt::Debug for McpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "McpConfig({})", self.name)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct McpEntry {
    name: String,
    url: String,
    #[serde(default)]
    bearer: Option<String>,
}

impl ToolArgs {
    /// Checks everything; what is wrong goes to `problems`. Keys are never repeated in a problem.
    pub fn check(&self, problems: &mut Problems) -> ToolsConfig {
        let mut service = |name: &'static str, key: Option<&str>, base_url| {
            let key = key.filter(|key| {
                let is_sound = key.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_sound {
                    problems.add(name, "has characters that no key has");
                }
                is_sound
            });
            key.map(|key| ServiceConfig {
                base_url,
                key: key.into(),
            })
        };
        let mut found = Problems::default();
        let mut url = |name, value, default| base_url(name, value, default, &mut found);
        let weather = url(
            "OPENWEATHER_BASE_URL",
            given(&self.openweather_base_url),
            "https://api.openweathermap.org/data/2.5",
        );
        let currency = url(
            "EXCHANGE_RATE_BASE_URL",
            given(&self.exchange_rate_base_url),
            "https://v6.exchangerate-api.com/v6",
        );
        let news = url(
            "NEWS_BASE_URL",
            given(&self.news_base_url),
            "https://newsapi.org/v2",
        );
        let web_search = url(
            "TAVILY_BASE_URL",
            given(&self.tavily_base_url),
            "https://api.tavily.com",
        );
        let google_places = url(
            "GOOGLE_PLACES_BASE_URL",
            given(&self.google_places_base_url),
            "https://places.googleapis.com/v1",
        );
        let is_off = given(&self.nominatim_base_url) == Some(OFF);
        let nominatim = (!is_off).then(|| {
            url(
                "NOMINATIM_BASE_URL",
                given(&self.nominatim_base_url),
                "https://nominatim.openstreetmap.org",
            )
        });
        let weather = service(
            "OPENWEATHER_API_KEY",
            given(&self.openweather_api_key),
            weather,
        );
        let currency = service(
            "EXCHANGE_RATE_API_KEY",
            given(&self.exchange_rate_api_key),
            currency,
        );
        let news = service("NEWS_API_KEY", given(&self.news_api_key), news);
        let web_search = service("TAVILY_API_KEY", given(&self.tavily_api_key), web_search);
        let google_places = service(
            "GOOGLE_PLACES_API_KEY",
            given(&self.google_places_api_key),
            google_places,
        );
        problems.append(found);
        let seconds = problems.number(
            "TOOL_TIMEOUT_SECONDS",
            &self.tool_timeout_seconds,
            10,
            1..=30,
        );
        ToolsConfig {
            weather,
            currency,
            news,
            web_search,
            google_places,
            nominatim,
            mcp: mcp_servers(given(&self.mcp_servers), problems),
            timeout: Duration::from_secs(seconds),
        }
    }
}

/// The address of a service, or the default where it is not given.
fn base_url(name: &'static str, text: Option<&str>, default: &str, problems: &mut Problems) -> Url {
    let default = || Url::parse(default).expect("it is written here");
    let Some(text) = text else {
        return default();
    };
    http_url(text).unwrap_or_else(|problem| {
        problems.add(name, format!("{text:?} {problem}"));
        default()
    })
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err("is not a http(s):// URL".to_owned()),
        Err(error) => Err(format!("is not a URL: {error}")),
    }
}

/// What is wrong is told by the name of a server or its place: its URL and its bearer may be secret.
fn mcp_servers(text: Option<&str>, problems: &mut Problems) -> Vec<McpConfig> {
    const VARIABLE: &str = "MCP_SERVERS";
    let Some(text) = text else {
        return Vec::new();
    };
    let entries: Vec<McpEntry> = if text.starts_with('[') {
        match serde_json::from_str(text) {
            Ok(entries) => entries,
            Err(error) => {
                let at = error.column();
                problems.add(
                    VARIABLE,
                    format!(
                        "is no JSON like [{{\"name\": …, \"url\": …}}], as seen at character {at}"
                    ),
                );
                return Vec::new();
            }
        }
    } else {
        let servers = text.split(',').map(str::trim);
        let servers = servers.filter(|server| !server.is_empty());
        servers
            .map(|server| {
                let (name, url) = server.split_once('=').unwrap_or((server, ""));
                McpEntry {
                    name: name.trim().to_owned(),
                    url: url.trim().to_owned(),
                    bearer: None,
                }
            })
            .collect()
    };
    if entries.len() > SERVERS_MAX {
        problems.add(VARIABLE, format!("has more than {SERVERS_MAX} servers"));
    }
    let mut servers: Vec<McpConfig> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        match entry.check(&servers) {
            Ok(server) => servers.push(server),
            Err(problem) => problems.add(VARIABLE, format!("server {}: {problem}", index + 1)),
        }
    }
    servers
}

impl McpEntry {
    fn check(self, known: &[McpConfig]) -> Result<McpConfig, String> {
        let name = self.name;
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let is_name = (1..=SERVER_NAME_MAX).contains(&name.len())
            && name.chars().all(is_part)
            && !name.contains("__")
            && !name.ends_with('_');
        if !is_name {
            return Err(format!(
                "its name must have 1 to {SERVER_NAME_MAX} small letters, digits, - and single _"
            ));
        }
        if known.iter().any(|server| server.name == name) {
            return Err(format!("{name} is there twice"));
        }
        let url = http_url(&self.url).map_err(|problem| format!("the URL of {name} {problem}"))?;
        let bearer = self.bearer.filter(|bearer| !bearer.is_empty());
        let is_sound = |bearer: &String| bearer.bytes().all(|byte| byte.is_ascii_graphic());
        if bearer.as_ref().is_some_and(|bearer| !is_sound(bearer)) {
            return Err(format!("the bearer of {name} has characters that none has"));
        }
        Ok(McpConfig {
            name,
            url,
            bearer: bearer.map(SecretString::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn check(args: &ToolArgs) -> (ToolsConfig, String) {
        let mut problems = Problems::default();
        let config = args.check(&mut problems);
        let told = problems
            .finish(Some(()))
            .map_or_else(|problems| problems.to_string(), |()| String::new());
        (config, told)
    }

    #[test]
    fn only_what_has_a_key_is_there_but_for_nominatim() {
        let (config, told) = check(&ToolArgs::default());
        assert_eq!(told, "");
        assert!(config.weather.is_none() && config.google_places.is_none());
        assert!(config.nominatim.is_some() && config.mcp.is_empty());
        let (config, told) = check(&ToolArgs {
            openweather_api_key: Some("key-1".to_owned()),
            nominatim_base_url: Some("off".to_owned()),
            ..ToolArgs::default()
        });
        assert_eq!(told, "");
        assert_eq!(
            config.weather.as_ref().unwrap().base_url.as_str(),
            "https://api.openweathermap.org/data/2.5"
        );
        assert!(config.nominatim.is_none());
        assert!(!format!("{config:?}").contains("key-1"));
    }

    #[test]
    fn servers_are_written_in_two_ways() {
        let (config, told) = check(&ToolArgs {
            mcp_servers: Some(
                "docs=https://a.example/mcp, my-own=http://localhost:1/x=y".to_owned(),
            ),
            ..ToolArgs::default()
        });
        assert_eq!(told, "");
        let names: Vec<&str> = config.mcp.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["docs", "my-own"]);
        assert_eq!(config.mcp[1].url.as_str(), "http://localhost:1/x=y");
        let (config, told) = check(&ToolArgs {
            mcp_servers: Some(
                r#"[{"name":"docs","url":"https://a.example","bearer":"hush"}]"#.to_owned(),
            ),
            ..ToolArgs::default()
        });
        assert_eq!(told, "");
        let bearer = config.mcp[0].bearer.as_ref().unwrap();
        assert_eq!(bearer.expose_secret(), "hush");
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn nonsense_is_told_at_once_and_without_secrets() {
        let (_, told) = check(&ToolArgs {
            tavily_api_key: Some("hush hush".to_owned()),
            news_base_url: Some("ftp://x".to_owned()),
            mcp_servers: Some(
                "a__b=https://x.example,docs=hush,docs=https://x.example,=".to_owned(),
            ),
            tool_timeout_seconds: Some("0".to_owned()),
            ..ToolArgs::default()
        });
        assert_eq!(told.matches("MCP_SERVERS").count(), 3, "{told}");
        for variable in ["TAVILY_API_KEY", "NEWS_BASE_URL", "TOOL_TIMEOUT_SECONDS"] {
            assert!(told.contains(variable), "{told}");
        }
        assert!(!told.contains("hush"), "{told}");
        let (_, told) = check(&ToolArgs {
            mcp_servers: Some(r#"[{"name":"hush"}]"#.to_owned()),
            ..ToolArgs::default()
        });
        assert!(
            told.contains("MCP_SERVERS") && !told.contains("hush"),
            "{told}"
        );
    }
}
