//! Clients of everything outside: one file per service.

pub mod outbound;
pub mod sentry;
pub mod storage;
