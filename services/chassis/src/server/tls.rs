//! TLS on a public port: the certificate that the configuration names, and the handshake.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::server::TlsStream;

/// A certificate with its key. Clones are the same.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why a certificate or its key is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// A file is not there, or is no PEM of what it should be.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        reason: pem::Error,
    },
    /// They do not fit each other.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Reads a chain of certificates, that of this service first, and its private key, both in PEM.
    ///
    /// # Errors
    /// When a file cannot be read, holds something else, or the two do not fit each other.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, BadTls> {
        let bad = |path: &Path| {
            let path = path.display().to_string();
            move |reason| BadTls::File { path: path.clone(), reason }
        };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificates).map_err(bad(certificates))?.collect();
        let chain = chain.map_err(bad(certificates))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(bad(key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake with a client; as long as the client takes for it.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
