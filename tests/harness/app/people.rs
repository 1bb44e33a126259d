//! Those who use the product.

use serde_json::json;

use super::TestApp;
use crate::Actor;

impl TestApp {
    /// Somebody without an account.
    pub fn anonymous(&self) -> Actor {
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Actor {
            http,
            base: self.base.clone(),
            token: None,
            email: String::new(),
        }
    }

    /// Somebody with an account, logged in.
    pub async fn user(&self, name: &str) -> Actor {
        let mut actor = self.anonymous();
        actor.email = format!("{name}@example.com");
        let body = json!({ "email": actor.email, "password": "correct horse battery", "displayName": name });
        let session = actor
            .post_json("/api/v1/auth/register", body)
            .await
            .expect(201);
        actor.token = session["accessToken"].as_str().map(str::to_owned);
        actor
    }

    /// The same person, logged in anew.
    pub async fn login(&self, actor: &Actor) -> Actor {
        let body = json!({ "email": actor.email, "password": "correct horse battery" });
        let session = actor
            .post_json("/api/v1/auth/login", body)
            .await
            .expect(200);
        Actor {
            token: session["accessToken"].as_str().map(str::to_owned),
            ..actor.clone()
        }
    }
}
