//! What happens around every request.

mod cors;
mod headers;
mod request_id;
mod timeout;

pub(crate) use self::{
    cors::preflight,
    headers::{docs, headers},
    request_id::{RequestId, around},
    timeout::limit,
};
