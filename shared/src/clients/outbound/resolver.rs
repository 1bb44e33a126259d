//! Name resolution that hands on only checked addresses.

use std::{net::IpAddr, sync::Arc};

use tokio::time::timeout;

use super::{
    lookups::{LOOKUP_TIMEOUT, Lookups},
    policy::{Inadmissible, Policy, Reach},
};

/// Resolves names for connections of one [`Reach`].
#[derive(Clone)]
pub(super) struct Resolver {
    policy: Arc<Policy>,
    reach: Reach,
    lookup: Lookup,
}

impl Resolver {
    pub(super) fn new(policy: Arc<Policy>, reach: Reach, lookup: Lookup) -> Self {
        Self {
            policy,
            reach,
            lookup,
        }
    }

    /// Resolves a name once; the returned addresses are the ones that were judged.
    pub(super) async fn admitted(&self, name: &str) -> Result<Vec<IpAddr>, Inadmissible> {
        let addresses = timeout(LOOKUP_TIMEOUT, self.lookup.addresses(name))
            .await
            .ok()
            .flatten()
            .ok_or(Inadmissible::Unresolvable)?;
        self.policy.admit(self.reach, &addresses)?;
        Ok(addresses)
    }

    /// Judges an address that stands in place of a name.
    pub(super) fn admitted_literal(&self, address: IpAddr) -> Result<Vec<IpAddr>, Inadmissible> {
        self.policy.admit(self.reach, &[address])?;
        Ok(vec![address])
    }
}

/// Where addresses come from.
#[derive(Clone)]
pub(super) enum Lookup {
    System(Arc<Lookups>),
    #[cfg(test)]
    Scripted(Arc<Script>),
}

#[cfg(test)]
type Script = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

impl Lookup {
    pub(super) fn system() -> Self {
        Self::System(Arc::new(Lookups::system()))
    }

    /// Nothing where there are none in time.
    async fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        match self {
            Self::System(lookups) => lookups.addresses(name).await,
            #[cfg(test)]
            Self::Scripted(answer) => Some(answer(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(reach: Reach) -> Resolver {
        Resolver::new(
            Arc::new(Policy {
                allow: Vec::new(),
                plain_http: false,
            }),
            reach,
            Lookup::system(),
        )
    }

    #[tokio::test]
    async fn localhost_is_not_public() {
        for name in ["localhost", "LOCALHOST"] {
            let outcome = system(Reach::Public).admitted(name).await;
            assert_eq!(outcome, Err(Inadmissible::NotPublic), "{name}");
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_unresolvable() {
        let outcome = system(Reach::Public).admitted("nobody.invalid").await;
        assert_eq!(outcome, Err(Inadmissible::Unresolvable));
    }
}
