//! The certificates that the client trusts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chassis::config::file::read_file;
use chassis::config::path::check_path;
use chassis::config::pem;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::server_certificate::NamedCertificates;

/// Trusted certificates: of certificate authorities, and of single servers.
#[derive(Clone)]
pub(crate) struct Roots {
    authorities: Arc<RootCertStore>,
    /// The certificates in the file that the user named. Empty for the public authorities.
    named: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Only the certificates of a file.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        check_path(path)?;
        let bad = |why: &dyn fmt::Display| format!("{path}: {why}");
        let pem = read_file(Path::new(path)).map_err(|error| bad(&error))?;
        let named = pem::certificates(&pem).map_err(|why| bad(&why))?;
        let mut authorities = RootCertStore::empty();
        for certificate in &named {
            authorities.add(certificate.clone()).map_err(|error| bad(&error))?;
        }
        Ok(Self { authorities: Arc::new(authorities), named: named.into() })
    }

    /// The public authorities, which browsers trust too.
    pub(super) fn public() -> Self {
        let authorities = Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
        Self { authorities, named: Arc::default() }
    }

    /// Opens TLS connections to servers whose certificate is trusted.
    pub(super) fn connector(&self) -> TlsConnector {
        let provider = Arc::new(ring::default_provider());
        let by_ca =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.authorities), Arc::clone(&provider))
                .build()
                .expect("there are authorities");
        let verifier = NamedCertificates { certificates: Arc::clone(&self.named), by_ca };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roots").field(&self.authorities.len()).finish()
    }
}
