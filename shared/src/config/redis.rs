//! Where Redis is: one URL, or its parts.

use url::Url;

use super::{CommonArgs, Problems, RedisConfig, given};

impl CommonArgs {
    pub(super) fn check_redis(&self, problems: &mut Problems) -> Option<RedisConfig> {
        let url = self.redis_url(problems);
        let tls_insecure = problems.parse("REDIS_TLS_INSECURE", &self.redis_tls_insecure, false);
        let ca = given(&self.redis_ca_file).and_then(|path| {
            std::fs::read(path)
                .map_err(|error| problems.add("REDIS_CA_FILE", format!("{path}: {error}")))
                .ok()
        });
        Some(RedisConfig {
            url: url?.to_string().into(),
            tls_insecure,
            ca,
            prefix: given(&self.redis_prefix).unwrap_or_default().to_owned(),
        })
    }

    fn redis_url(&self, problems: &mut Problems) -> Option<Url> {
        let from_parts = given(&self.redis_host).and_then(|host| {
            let port = problems.number("REDIS_PORT", &self.redis_port, 6379u16, 1..=u16::MAX);
            let mut url = Url::parse(&format!("redis://{host}:{port}"))
                .map_err(|error| problems.add("REDIS_HOST", format!("{host:?}: {error}")))
                .ok()?;
            if let Some(password) = given(&self.redis_password) {
                url.set_password(Some(password)).ok()?;
            }
            Some(url)
        });
        let Some(text) = given(&self.redis_url) else {
            if from_parts.is_none() {
                problems.add("REDIS_URL", "is not set");
            }
            if given(&self.redis_password).is_some() && given(&self.redis_host).is_none() {
                problems.add("REDIS_PASSWORD", "is set without REDIS_HOST");
            }
            return from_parts;
        };
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() => url,
            Ok(_) => {
                problems.add(
                    "REDIS_URL",
                    "is not a redis:// or rediss:// URL with a host",
                );
                return None;
            }
            Err(error) => {
                problems.add("REDIS_URL", format!("is not a URL: {error}"));
                return None;
            }
        };
        if let Some(parts) = from_parts
            && (parts.host(), parts.port()) != (url.host(), Some(url.port().unwrap_or(6379)))
        {
            problems.add(
                "REDIS_HOST",
                "and REDIS_URL name different servers; set one of them",
            );
        }
        // A URL holds it in percent-encoding, which another URL shares.
        let mut with_password = url.clone();
        if let Some(password) = given(&self.redis_password)
            && with_password.set_password(Some(password)).is_ok()
            && with_password != url
        {
            problems.add(
                "REDIS_PASSWORD",
                "and the password in REDIS_URL differ; set one of them",
            );
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        url: Option<&str>,
        host: Option<&str>,
        password: Option<&str>,
    ) -> Result<RedisConfig, Problems> {
        let args = CommonArgs {
            redis_url: url.map(str::to_owned),
            redis_host: host.map(str::to_owned),
            redis_password: password.map(str::to_owned),
            ..CommonArgs::default()
        };
        let mut problems = Problems::default();
        let config = args.check_redis(&mut problems);
        problems.finish(config)
    }

    #[test]
    fn two_servers_are_a_problem() {
        let told = |host: &str| check(Some("redis://h"), Some(host), None).err();
        assert!(told("other").unwrap().to_string().contains("REDIS_HOST"));
        assert!(told("h").is_none());
    }

    #[test]
    fn a_password_is_the_one_of_the_url() {
        for (url, host) in [
            (Some("redis://h"), None),
            (Some("redis://h"), Some("h")),
            (Some("redis://:other@h"), Some("h")),
            (None, None),
        ] {
            let told = check(url, host, Some("hush hush")).unwrap_err().to_string();
            assert!(told.contains("REDIS_PASSWORD"), "{told}");
            assert!(!told.contains("hush"), "a secret is repeated: {told}");
        }
        check(None, Some("h"), Some("hush hush")).unwrap();
        check(Some("redis://:hush%20hush@h"), None, Some("hush hush")).unwrap();
    }
}
