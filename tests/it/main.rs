//! The whole product, over HTTP and with real servers.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod accounts;
mod config;
mod conversations;
mod engine;
mod house;
mod indexes;
mod jobs;
mod manners;
mod messages;
mod ocr;
mod openapi;
mod process;
mod projects;
mod repeats;
mod schema;
mod search;
mod transport;
mod webhooks;
