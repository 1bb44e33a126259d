//! The routes that users take.

use std::fmt;

use reqwest::Method;

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

/// A path, with `{id}` for an id, and what is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) path: &'static str,
    verb: Verb,
}

impl Route {
    const fn get(path: &'static str) -> Self {
        let verb = Verb::Get;
        Self { path, verb }
    }

    const fn post(path: &'static str) -> Self {
        let verb = Verb::Post;
        Self { path, verb }
    }

    const fn patch(path: &'static str) -> Self {
        let verb = Verb::Patch;
        Self { path, verb }
    }

    const fn delete(path: &'static str) -> Self {
        let verb = Verb::Delete;
        Self { path, verb }
    }

    pub(super) fn method(self) -> Method {
        match self.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        }
    }

    /// Whether it speaks `OpenAI`'s words, and takes API keys.
    pub(super) fn is_openai(self) -> bool {
        self.path.starts_with("/v1/")
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As one text, so that it can be padded.
        f.pad(&format!("{} {}", self.method(), self.path))
    }
}

pub(super) const REGISTER: Route = Route::post("/api/v1/auth/register");
pub(super) const CREATE_API_KEY: Route = Route::post("/api/v1/api-keys");
pub(super) const CHAT: Route = Route::post("/api/v1/chat/completions");
pub(super) const CHAT_AS_OPENAI: Route = Route::post("/v1/chat/completions");
pub(super) const CREATE_CONVERSATION: Route = Route::post("/api/v1/conversations");
pub(super) const LIST_CONVERSATIONS: Route = Route::get("/api/v1/conversations");
pub(super) const UPDATE_CONVERSATION: Route = Route::patch("/api/v1/conversations/{id}");
pub(super) const DELETE_CONVERSATION: Route = Route::delete("/api/v1/conversations/{id}");
pub(super) const ARCHIVE: Route = Route::post("/api/v1/conversations/{id}/archive");
pub(super) const UNARCHIVE: Route = Route::post("/api/v1/conversations/{id}/unarchive");
pub(super) const LIST_MESSAGES: Route = Route::get("/api/v1/conversations/{id}/messages");
pub(super) const GET_CONTEXT: Route = Route::get("/api/v1/conversations/{id}/context");
pub(super) const SEARCH: Route = Route::get("/api/v1/search");
pub(super) const UPLOAD: Route = Route::post("/api/v1/attachments");
pub(super) const LIST_ATTACHMENTS: Route = Route::get("/api/v1/attachments");
pub(super) const GET_ATTACHMENT: Route = Route::get("/api/v1/attachments/{id}");
pub(super) const DOWNLOAD: Route = Route::get("/api/v1/attachments/{id}/content");
pub(super) const DELETE_ATTACHMENT: Route = Route::delete("/api/v1/attachments/{id}");
pub(super) const GET_USAGE: Route = Route::get("/api/v1/usage");
