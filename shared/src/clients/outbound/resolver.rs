//! Name resolution that hands on only checked addresses.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::policy::{Inadmissible, Policy, Reach};

/// How long a name may take to resolve, waiting for a free lookup included. Less than a connection may take to be made,
/// so that silent name servers are told apart from a silent host.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// Lookups at once. `getaddrinfo` cannot be stopped, so names whose servers never answer would otherwise fill the
/// runtime's blocking threads, which passwords and files need too.
const MAX_LOOKUPS: usize = 32;

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
            .map_err(|_| Inadmissible::Unresolvable)?
            .map_err(|_| Inadmissible::Unresolvable)?;
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
    System(Arc<Semaphore>),
    #[cfg(test)]
    Scripted(Arc<Script>),
}

#[cfg(test)]
type Script = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

impl Lookup {
    pub(super) fn system() -> Self {
        Self::System(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }

    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System(free) => {
                let permit = Arc::clone(free)
                    .acquire_owned()
                    .await
                    .map_err(io::Error::other)?;
                let name = name.to_owned();
                spawn_blocking(move || {
                    // Held by the thread, not by the caller, who may give up earlier.
                    let _permit = permit;
                    let sockets = (name.as_str(), 0).to_socket_addrs()?;
                    Ok(sockets.map(|socket| socket.ip()).collect())
                })
                .await?
            }
            #[cfg(test)]
            Self::Scripted(answer) => Ok(answer(name)),
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

    #[tokio::test]
    async fn a_lookup_that_outlives_its_caller_keeps_its_place() {
        let free = Arc::new(Semaphore::new(0));
        let lookup = Lookup::System(Arc::clone(&free));
        let waiting = timeout(Duration::ZERO, lookup.addresses("localhost")).await;
        assert!(waiting.is_err(), "a lookup began although none was free");

        free.add_permits(1);
        assert!(!lookup.addresses("localhost").await.unwrap().is_empty());
        assert_eq!(free.available_permits(), 1);
    }
}
