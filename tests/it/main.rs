//! The whole product, over HTTP and with real servers.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod accounts;
mod config;
mod engine;
mod house;
mod jobs;
mod manners;
mod ocr;
mod openapi;
mod process;
mod repeats;
mod schema;
mod transport;
mod webhooks;
