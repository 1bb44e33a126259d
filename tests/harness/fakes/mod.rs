//! Other companies' services, as scripted HTTP servers.

pub mod receiver;
pub mod sentry;
