//! One file per table: its entity, its finders and its transitions.
//!
//! Rows of a user are found only by finders that take the user, so that no query can forget whose they are.

pub mod api_key;
pub mod attachment;
pub mod call;
pub mod context_stamp;
pub mod conversation;
pub mod delivery;
pub mod event;
pub mod export;
pub mod generation;
pub mod idempotency_key;
pub mod image;
pub mod image_variant;
pub mod job;
mod latest_try;
pub mod message;
pub mod notification;
mod page;
pub mod pending_object;
pub mod project;
pub mod provider_key;
pub mod queue_figure;
pub mod recognition;
pub mod sealed;
pub mod search;
pub mod session;
pub mod storage_view;
pub mod stored_object;
pub mod summary;
pub mod token_factor;
pub mod transcription;
pub mod turn;
pub mod usage;
pub mod usage_month;
pub mod user;
pub mod webhook;
