//! Whether an endpoint may still be sent an event for which it has a delivery: its user may have lost that right since.

use super::{Model, Scope};
use crate::{
    ids::UserId,
    models::user::{Role, Status},
};

const SUSPENDED: &str = "the endpoint's user is suspended";
const OF_ANOTHER: &str = "the endpoint is not sent other users' events any more";

impl Model {
    /// Why it may not be sent an event of a user, in words for its own user; nothing where it may. `owner` is what its own user
    /// is now.
    pub fn barred(&self, owner: Option<(Role, Status)>, of: UserId) -> Option<&'static str> {
        let Some((role, Status::Active)) = owner else {
            return Some(SUSPENDED);
        };
        let hears_all = self.scope == Scope::All && role == Role::Admin;
        (of != self.user_id && !hears_all).then_some(OF_ANOTHER)
    }
}
