//! Other companies' services, as scripted HTTP servers.

pub mod cloudinary;
pub mod held_receiver;
pub mod mcp;
pub mod openai;
pub mod provider;
pub mod receiver;
pub mod sentry;
pub mod services;
pub mod transcriber;
