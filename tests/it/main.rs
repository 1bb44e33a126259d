//! The whole product, over HTTP and with real servers.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod accounts;
mod engine;
mod jobs;
mod manners;
mod ocr;
mod process;
mod transport;
mod webhooks;
