//! Connections to addresses that were judged.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::{
    connection::{Attempt, Call},
    policy::Inadmissible,
    resolver::Resolver,
    stream::Stream,
    tls,
};

/// How long a connection may take to be made, name resolution and TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one host that are tried: a name with many would have us knock at each.
const MAX_ADDRESSES: usize = 4;

/// Makes connections under one [`Reach`](super::policy::Reach).
#[derive(Clone)]
pub(super) struct Connector {
    resolver: Resolver,
    tls: TlsConnector,
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Inadmissible(#[from] Inadmissible),
    #[error("the connection was not made in time")]
    TimedOut,
    #[error("no address could be connected to")]
    Tcp(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failed;
    type Future = BoxFuture<'static, Result<Self::Response, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Here and not in the future, which may be carried on without the call.
        let attempt = Call::begin();
        let connector = self.clone();
        Box::pin(async move {
            let deadline = Instant::now() + CONNECT_TIMEOUT;
            timeout_at(deadline, connector.connect(&uri, deadline, attempt))
                .await
                .unwrap_or(Err(Failed::TimedOut))
                .map(TokioIo::new)
        })
    }
}

impl Connector {
    pub(super) fn new(resolver: Resolver, tls: TlsConnector) -> Self {
        Self { resolver, tls }
    }

    async fn connect(
        &self,
        uri: &Uri,
        deadline: Instant,
        attempt: Attempt,
    ) -> Result<Stream, Failed> {
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);

        let addresses = self.addresses(host, &attempt).await?;
        let addresses = in_turn(addresses, port);

        let begun = Instant::now();
        let tcp = first_reached(&addresses, deadline, &attempt).await;
        attempt.note(|progress| progress.connect = Some(begun.elapsed()));
        let tcp = tcp?;
        tcp.set_nodelay(true).map_err(Failed::Tcp)?;
        if !is_tls {
            return Ok(Stream::plain(tcp, attempt));
        }

        let begun = Instant::now();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failed::Tls(io::Error::other(error)))?;
        let tls = self.tls.connect(name, tcp).await;
        attempt.note(|progress| progress.handshake = Some(begun.elapsed()));
        let tls = tls.map_err(Failed::Tls)?;
        let agreed = tls::agreed(tls.get_ref().1);
        attempt.note(|progress| progress.tls = agreed);
        Ok(Stream::encrypted(tls, attempt))
    }

    /// The judged addresses of a host, be it a name or an address itself.
    async fn addresses(&self, host: &str, attempt: &Attempt) -> Result<Vec<IpAddr>, Inadmissible> {
        if let Ok(literal) = host.parse() {
            return self.resolver.admitted_literal(literal);
        }
        let begun = Instant::now();
        let admitted = self.resolver.admitted(host).await;
        attempt.note(|progress| progress.dns = Some(begun.elapsed()));
        admitted
    }
}

/// The addresses that are tried, in this order: the two families by turns, so that IPv4 is reached where IPv6 is broken.
fn in_turn(addresses: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == begins_with_v6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut sorted = Vec::with_capacity(MAX_ADDRESSES);
    loop {
        let (one, other) = (preferred.next(), others.next());
        if one.is_none() && other.is_none() {
            break;
        }
        let pair = one.into_iter().chain(other);
        sorted.extend(pair.map(|address| SocketAddr::new(address, port)));
    }
    sorted.truncate(MAX_ADDRESSES);
    sorted
}

/// Connects to the first address that answers; each has an equal share of the time that is left.
async fn first_reached(
    addresses: &[SocketAddr],
    deadline: Instant,
    attempt: &Attempt,
) -> Result<TcpStream, Failed> {
    let mut failed = Failed::TimedOut;
    for (index, address) in addresses.iter().enumerate() {
        attempt.note(|progress| progress.address = Some(*address));
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(*address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => failed = Failed::Tcp(error),
            Err(_elapsed) => failed = Failed::TimedOut,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_of_addresses_are_tried_by_turns() {
        let tried = |addresses: &[&str]| -> Vec<String> {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            in_turn(addresses.collect(), 80)
                .iter()
                .map(|socket| socket.ip().to_string())
                .collect()
        };
        assert_eq!(
            tried(&["2000::1", "2000::2", "2000::3", "8.8.8.8", "8.8.4.4"]),
            ["2000::1", "8.8.8.8", "2000::2", "8.8.4.4"]
        );
        assert_eq!(
            tried(&["8.8.8.8", "2000::1", "8.8.4.4"]),
            ["8.8.8.8", "2000::1", "8.8.4.4"]
        );
        assert_eq!(tried(&["8.8.8.8"; 9]).len(), MAX_ADDRESSES);
        assert!(tried(&[]).is_empty());
    }
}
