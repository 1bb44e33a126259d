//! Clients of everything outside: one file per service.

pub mod chat;
pub mod outbound;
mod retry_after;
pub mod sentry;
pub mod storage;
pub mod transcriber;

pub use self::retry_after::retry_after;
