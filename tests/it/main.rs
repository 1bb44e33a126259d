//! The whole product, over HTTP and with real servers.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod accounts;
mod canary;
mod config;
mod conversations;
mod deletions;
mod deliveries;
mod downloads;
mod engine;
mod house;
mod indexes;
mod jobs;
mod manners;
mod messages;
mod metrics;
mod notifications;
mod ocr;
mod openapi;
mod pending_objects;
mod process;
mod projects;
mod queue_figures;
mod repeats;
mod reports;
mod resends;
mod s3_server;
mod schema;
mod search;
mod storage;
mod storage_health;
mod transport;
mod verify;
mod webhook_changes;
mod webhooks;
