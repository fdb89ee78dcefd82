//! TLS of the public port: certificate, private key and handshake.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::file::read_file;
use crate::config::pem;

/// A certificate and its private key. Clones share them.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why a certificate or its key is refused. The message names the settings and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// The file of the certificates.
    #[error("TLS_CERT_FILE: {}: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file of the private key.
    #[error("TLS_KEY_FILE: {}: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate and the key do not belong together.
    #[error(
        "TLS_CERT_FILE, TLS_KEY_FILE: the private key in {} is not that of the first certificate in {}: name the key with which the \
         certificate was made, and put the certificate of this service before those of its CAs",
        key.display(), certificates.display()
    )]
    Mismatch {
        /// The file of the certificates.
        certificates: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The TLS library refuses the certificate or the key for another reason.
    #[error("TLS_CERT_FILE, TLS_KEY_FILE: the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// Reads a certificate chain (the certificate of this service first) and its private key, both in PEM.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be, or the two do not belong together.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, BadTls> {
        let read = |path: &Path| read_file(path).map_err(|error| error.to_string());
        let chain = read(certificates).and_then(|pem| pem::certificates(&pem));
        let chain = chain.map_err(|why| BadTls::Certificates { path: certificates.to_owned(), why })?;
        let private_key = read(key).and_then(|pem| pem::private_key(&pem));
        let private_key = private_key.map_err(|why| BadTls::Key { path: key.to_owned(), why })?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private_key);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                BadTls::Mismatch { certificates: certificates.to_owned(), key: key.to_owned() }
            }
            error => BadTls::Unusable(error),
        })?;
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
