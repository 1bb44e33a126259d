//! Keeping programs from the network.

use std::{env::temp_dir, path::Path, time::Duration};

use super::{Limits, Output, ProcessError, run};

/// What trying out an isolation may use.
const TRIAL_LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_secs(5),
    file_bytes: 0,
    timeout: Duration::from_secs(5),
    isolation: Isolation::None,
};

/// How a program is kept from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// It is not: the machine does not let us.
    None,
    /// By a network namespace, as root.
    Root,
    /// By a network namespace inside a user namespace.
    User,
}

impl Isolation {
    /// How it is done, for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Root => "a network namespace, as root",
            Self::User => "a network namespace inside a user namespace",
        }
    }

    pub(super) fn command(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Root => &["unshare", "--net", "--"],
            Self::User => &["unshare", "--user", "--map-root-user", "--net", "--"],
        }
    }
}

/// Finds out how programs can be kept from the network on this machine.
///
/// # Errors
///
/// Why they cannot: many containers forbid it, and so does `RestrictNamespaces=` of systemd.
pub async fn isolation() -> Result<Isolation, ProcessError> {
    if trial(Isolation::Root).await.is_ok() {
        return Ok(Isolation::Root);
    }
    trial(Isolation::User).await.map(|_| Isolation::User)
}

async fn trial(isolation: Isolation) -> Result<Output, ProcessError> {
    if !cfg!(target_os = "linux") {
        return Err(ProcessError::Missing {
            program: "unshare".to_owned(),
        });
    }
    let limits = Limits {
        isolation,
        ..TRIAL_LIMITS
    };
    run(Path::new("true"), [""; 0], &[], &temp_dir(), &limits).await
}
