//! The whole product, over HTTP and with real servers.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod accounts;
mod canary;
mod config;
mod conversations;
mod engine;
mod house;
mod indexes;
mod jobs;
mod manners;
mod messages;
mod metrics;
mod ocr;
mod openapi;
mod process;
mod projects;
mod queue_figures;
mod repeats;
mod reports;
mod schema;
mod search;
mod transport;
mod webhooks;
