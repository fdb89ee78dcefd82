//! TLS of the public port: certificate, private key and handshake.

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

/// A certificate and its private key. Clones share them.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why a certificate or its key is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// A file cannot be read, or is not the PEM that it should be.
    #[error("{path}: {reason}")]
    File {
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

    /// The handshake with a client. It has no time limit of its own.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
