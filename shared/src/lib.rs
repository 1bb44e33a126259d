//! What the API and the worker share: configuration, the database and its models, the queue's asking half, the
//! contracts of jobs and events, and clients of outside services.
//!
//! Nothing here knows HTTP servers or how jobs run.
#![warn(missing_docs)]

pub mod attachment_text;
pub mod catalogue;
pub mod clients;
pub mod clock;
pub mod config;
pub mod context;
pub mod database;
pub mod events;
pub mod ids;
pub mod jobs;
pub mod keyring;
pub mod language;
pub mod ledger;
pub mod metrics;
pub mod models;
pub mod picture;
pub mod providers;
pub mod queue;
pub mod redis;
pub mod scratch;
pub mod shutdown;
pub mod speech;
pub mod telemetry;
pub mod tokens;
pub mod tools;
