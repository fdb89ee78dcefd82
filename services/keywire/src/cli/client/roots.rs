//! The certificate authorities that the client trusts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chassis::config::file::read_file;
use chassis::config::path::check;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A set of trusted certificate authorities.
#[derive(Clone)]
pub(crate) struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Only the authorities of a file.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        check(path)?;
        let bad = |why: &dyn fmt::Display| format!("{path}: {why}");
        let mut roots = RootCertStore::empty();
        let pem = read_file(Path::new(path)).map_err(|error| bad(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
        if roots.is_empty() { Err(bad(&"there is no certificate")) } else { Ok(Self(Arc::new(roots))) }
    }

    /// The public authorities, which browsers trust too.
    pub(super) fn public() -> Self {
        Self(Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
    }

    /// Opens TLS connections to servers whose certificate these authorities have signed.
    pub(super) fn connector(&self) -> TlsConnector {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions")
            .with_root_certificates(Arc::clone(&self.0))
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roots").field(&self.0.len()).finish()
    }
}
