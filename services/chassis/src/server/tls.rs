//! TLS of the public port: certificate, private key and handshake.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::server::TlsStream;

use crate::config::file::read_file;

/// A certificate and its private key. Clones share them.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why a certificate or its key is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: io::Error,
    },
    /// A file is not the PEM that it should be.
    #[error("{path}: {reason}")]
    NotPem {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: pem::Error,
    },
    /// The certificate and the key do not belong together.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Reads a certificate chain (the certificate of this service first) and its private key, both in PEM.
    ///
    /// # Errors
    /// A file cannot be read or is not PEM, or the two do not belong together.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, BadTls> {
        let read = |path: &Path| {
            read_file(path).map_err(|reason| BadTls::Unreadable { path: path.display().to_string(), reason })
        };
        let bad = |path: &Path| {
            let path = path.display().to_string();
            |reason| BadTls::NotPem { path, reason }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificates)?).collect();
        let chain = chain.map_err(bad(certificates))?;
        if chain.is_empty() {
            return Err(bad(certificates)(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(bad(key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake with a client. It has no time limit of its own.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
