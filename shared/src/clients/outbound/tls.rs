//! TLS with servers that a user named.

use std::sync::Arc;

use rustls::{
    ClientConfig, CommonState, ProtocolVersion, RootCertStore, crypto::aws_lc_rs::default_provider,
};

use super::connection::TlsInfo;

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum NotBuilt {
    /// Then no certificate could be checked.
    #[error("the system has no root certificates")]
    NoRoots,
    /// The TLS library refuses its configuration.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// The authorities that the system trusts.
pub(super) fn system_roots() -> Result<RootCertStore, NotBuilt> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(NotBuilt::NoRoots);
    }
    Ok(roots)
}

/// TLS 1.2 and 1.3 to servers whose certificate one of these authorities signed.
pub(super) fn config(roots: RootCertStore) -> Result<ClientConfig, NotBuilt> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(NotBuilt::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What the handshake agreed on; nothing before it is complete.
pub(super) fn agreed(session: &CommonState) -> Option<TlsInfo> {
    let version = match session.protocol_version()? {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => return None,
    };
    let suite = session.negotiated_cipher_suite()?.suite();
    // The library writes TLS13_AES_256_GCM_SHA384 for IANA's TLS_AES_256_GCM_SHA384.
    let cipher = suite.as_str()?.replacen("TLS13_", "TLS_", 1);
    Some(TlsInfo { version, cipher })
}
