//! What callers may not do, whoever the thing belongs to.

/// A caller who is known, and still may not; the codes are permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// An operator has barred the account.
    #[error("the account is suspended")]
    Suspended,
    /// The API key was made for less.
    #[error("the API key lacks the scope that this needs")]
    InsufficientScope,
    /// An API key is not enough.
    #[error("this takes the access token of a login, not an API key")]
    SessionRequired,
    /// It is for operators.
    #[error("this is for administrators only")]
    AdminRequired,
    /// The operator lets nobody in but those who are there.
    #[error("this server takes no registrations")]
    RegistrationClosed,
}

impl Denied {
    /// Permanent code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::InsufficientScope => "insufficient_scope",
            Self::SessionRequired => "session_required",
            Self::AdminRequired => "admin_required",
            Self::RegistrationClosed => "registration_closed",
        }
    }
}
