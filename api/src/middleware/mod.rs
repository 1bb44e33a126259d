//! What happens around every request.

mod request_id;
mod timeout;

pub(crate) use self::{
    request_id::{RequestId, around},
    timeout::limit,
};
