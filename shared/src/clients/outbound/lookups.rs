//! Lookups of names by the system, without letting dead names keep others from being looked up.
//!
//! `getaddrinfo` cannot be stopped: a name whose servers never answer keeps its thread for as long as the system's resolver
//! tries, whoever has given up meanwhile. So there is one lookup of a name at a time, and names that have not resolved lately
//! share some of the places only, of which those of one parent domain have a few.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

/// How long a name may take to resolve, waiting for a free lookup included. Less than a connection may take to be made,
/// so that silent name servers are told apart from a silent host.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// Lookups at once: names whose servers never answer would otherwise fill the runtime's blocking threads, which passwords
/// and files need too.
const MAX_LOOKUPS: usize = 64;

/// Those of them for names that have not resolved lately.
const MAX_DOUBTFUL: usize = 16;

/// Those of them for names of one parent domain, whose names have the same servers as a rule: who has many names there does not
/// keep new names of others waiting.
const MAX_OF_PARENT: usize = 4;

/// For so long a name counts as one that resolves.
const LATELY: Duration = Duration::from_hours(1);

/// Names of which that is known; another one takes the place of the one that resolved least lately.
const MAX_KNOWN: usize = 10_000;

type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The lookups of this process.
pub(super) struct Lookups {
    resolve: Box<Resolve>,
    free: Arc<Semaphore>,
    doubtful: Arc<Semaphore>,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    under_way: HashMap<String, Flight>,
    /// When names resolved.
    known: HashMap<String, Instant>,
    /// Places of parent domains, where somebody has or wants one.
    parents: HashMap<String, Arc<Semaphore>>,
}

/// A lookup under way.
#[derive(Clone)]
struct Flight {
    begun: Instant,
    /// Closed without any where the name does not resolve.
    addresses: watch::Receiver<Option<Vec<IpAddr>>>,
}

/// Held by the thread of a lookup, not by its callers, who may give up earlier.
struct Place {
    _free: OwnedSemaphorePermit,
    _doubtful: Option<[OwnedSemaphorePermit; 2]>,
}

impl Lookups {
    pub(super) fn system() -> Self {
        Self::by(|name| {
            let sockets = (name, 0).to_socket_addrs()?;
            Ok(sockets.map(|socket| socket.ip()).collect())
        })
    }

    fn by(resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self {
            resolve: Box::new(resolve),
            free: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            doubtful: Arc::new(Semaphore::new(MAX_DOUBTFUL)),
            names: Mutex::default(),
        }
    }

    /// The addresses of a name; nothing where there are none, or not within [`LOOKUP_TIMEOUT`] from the beginning of its lookup.
    pub(super) async fn addresses(self: &Arc<Self>, name: &str) -> Option<Vec<IpAddr>> {
        let under_way = self.names().under_way.get(name).cloned();
        if let Some(flight) = under_way {
            return flight.landed().await;
        }
        let doubtful = if self.names().is_known(name) {
            None
        } else {
            let of_parent = self.names().places_of_parent(name);
            let of_parent = of_parent.acquire_owned().await.ok()?;
            Some([of_parent, self.doubtful.clone().acquire_owned().await.ok()?])
        };
        let place = Place {
            _free: self.free.clone().acquire_owned().await.ok()?,
            _doubtful: doubtful,
        };
        self.begin(name, place).landed().await
    }

    /// Begins a lookup, unless somebody else was faster.
    fn begin(self: &Arc<Self>, name: &str, place: Place) -> Flight {
        let mut names = self.names();
        if let Some(flight) = names.under_way.get(name) {
            return flight.clone();
        }
        let (found, addresses) = watch::channel(None);
        let flight = Flight {
            begun: Instant::now(),
            addresses,
        };
        // Known again when it has resolved again.
        names.known.remove(name);
        names.under_way.insert(name.to_owned(), flight.clone());
        drop(names);
        let (lookups, name) = (Arc::clone(self), name.to_owned());
        spawn_blocking(move || {
            let addresses = (lookups.resolve)(&name).unwrap_or_default();
            lookups.names().land(name, !addresses.is_empty());
            if !addresses.is_empty() {
                found.send_replace(Some(addresses));
            }
            drop(place);
        });
        flight
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl Names {
    fn is_known(&self, name: &str) -> bool {
        let resolved = self.known.get(name);
        resolved.is_some_and(|at| at.elapsed() < LATELY)
    }

    /// The places of the names with the same two last labels. Those that nobody has or wants are forgotten.
    fn places_of_parent(&mut self, name: &str) -> Arc<Semaphore> {
        self.parents
            .retain(|_, places| Arc::strong_count(places) > 1);
        let mut labels = name.trim_end_matches('.').rsplit('.');
        let (last, before) = (labels.next(), labels.next());
        let parent = format!(
            "{}.{}",
            before.unwrap_or_default(),
            last.unwrap_or_default()
        );
        let places = || Arc::new(Semaphore::new(MAX_OF_PARENT));
        self.parents.entry(parent).or_insert_with(places).clone()
    }

    fn land(&mut self, name: String, has_resolved: bool) {
        self.under_way.remove(&name);
        if !has_resolved {
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(name, Instant::now());
    }
}

impl Flight {
    /// Waits for its end, but no longer than a lookup may take: then it is known that this one takes too long.
    async fn landed(mut self) -> Option<Vec<IpAddr>> {
        let found = self.addresses.wait_for(Option::is_some);
        let found = timeout_at(self.begun + LOOKUP_TIMEOUT, found)
            .await
            .ok()?
            .ok()?;
        found.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
    };

    use tokio::time::timeout;

    use super::*;

    /// Lookups that are counted. Those of names that begin with `dead` do not end before the gate is dropped.
    fn counted() -> (Arc<Lookups>, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let begun = Arc::new(AtomicUsize::new(0));
        let (opens, gate) = mpsc::channel();
        let gate = Mutex::new(gate);
        let count = begun.clone();
        let lookups = Lookups::by(move |name| {
            count.fetch_add(1, Ordering::SeqCst);
            if name.starts_with("dead") {
                let _ = gate.lock().unwrap().recv();
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()])
        });
        (Arc::new(lookups), begun, opens)
    }

    /// Begins lookups that nobody waits for.
    async fn give_up(lookups: &Arc<Lookups>, name: &str) {
        let answer = timeout(Duration::ZERO, lookups.addresses(name)).await;
        assert!(answer.is_err(), "{name} resolved");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time_and_given_up_in_time() {
        let (lookups, begun, gate) = counted();
        for _ in 0..100 {
            give_up(&lookups, "dead.example").await;
        }
        assert_eq!(lookups.doubtful.available_permits(), MAX_DOUBTFUL - 1);
        // Who comes when it has taken too long does not wait.
        if let Some(flight) = lookups.names().under_way.get_mut("dead.example") {
            flight.begun = Instant::now().checked_sub(LOOKUP_TIMEOUT).unwrap();
        }
        let at_once = timeout(Duration::from_secs(2), lookups.addresses("dead.example"));
        assert_eq!(at_once.await.expect("no wait"), None);
        drop(gate);
        while !lookups.names().under_way.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn dead_names_leave_room_for_those_that_resolve() {
        let (lookups, begun, gate) = counted();
        assert!(lookups.addresses("well.example").await.is_some());
        for number in 0..MAX_LOOKUPS {
            give_up(&lookups, &format!("dead{number}.example")).await;
        }
        assert_eq!(lookups.doubtful.available_permits(), 0);
        assert!(lookups.addresses("well.example").await.is_some());
        assert!(begun.load(Ordering::SeqCst) <= MAX_DOUBTFUL + 2);
        // One that nobody knows waits for a place.
        give_up(&lookups, "new.example").await;
        drop(gate);
        assert!(lookups.addresses("new.example").await.is_some());
    }

    #[tokio::test]
    async fn dead_names_of_one_domain_leave_room_for_new_names_of_others() {
        let (lookups, begun, gate) = counted();
        for number in 0..MAX_LOOKUPS {
            give_up(&lookups, &format!("dead{number}.one.example")).await;
        }
        let left = lookups.doubtful.available_permits();
        assert_eq!(left, MAX_DOUBTFUL - MAX_OF_PARENT);
        assert!(lookups.addresses("new.example").await.is_some());
        give_up(&lookups, "new.one.example").await;
        assert!(begun.load(Ordering::SeqCst) <= MAX_OF_PARENT + 1);
        drop(gate);
        assert!(lookups.addresses("new.one.example").await.is_some());
        while lookups.doubtful.available_permits() < MAX_DOUBTFUL {
            tokio::task::yield_now().await;
        }
        lookups.names().places_of_parent("another.example");
        assert_eq!(lookups.names().parents.len(), 1, "others are forgotten");
    }

    #[test]
    fn a_name_is_forgotten_for_one_that_resolved_later() {
        let mut names = Names::default();
        for number in 0..=MAX_KNOWN {
            names.land(number.to_string(), true);
        }
        assert_eq!(names.known.len(), MAX_KNOWN);
        assert!(!names.is_known("0") && names.is_known(&MAX_KNOWN.to_string()));
        names.land("never".to_owned(), false);
        assert!(!names.is_known("never"));
    }
}
