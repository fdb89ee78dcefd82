//! The check of a server's certificate when the user names the certificates to trust, and what a failed handshake means.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Trusts a server if its certificate is signed by one of the named certificates, or is one of them.
///
/// Many servers use a certificate made by `openssl req -x509`, which says that it is a CA. The library refuses a CA certificate as that
/// of a server. This check accepts such a certificate if the user has named exactly this one.
#[derive(Debug)]
pub(super) struct NamedCertificates {
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
    /// The check of the library, which uses the same certificates as CAs.
    pub(super) by_ca: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.by_ca.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) if is_ca(&error) && self.certificates.contains(end_entity) => {
                // The library has checked the period of validity before it refused the CA, but not the name.
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_ca.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_ca.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_ca.supported_verify_schemes()
    }
}

/// Whether a certificate is refused only because it says that it is a CA. The library has no variant for this.
fn is_ca(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.to_string() == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}

/// What a failed handshake with `host` means, and what to do.
pub(super) fn explain_handshake(error: &io::Error, host: &str) -> String {
    const NO_TLS: &str =
        "the server does not speak TLS on this port; without TLS the URL begins with http://";
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidMessage(_)) => NO_TLS.to_owned(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("the server closed the connection before TLS began. Perhaps {NO_TLS}")
        }
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the certificate of the server is not signed by a CA that is trusted: name its CA, or the certificate itself, with --ca-file"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "the certificate of the server is not for the name {host}: use one of its names in the URL, or make a certificate with \
                 `-addext subjectAltName={}:{host}`",
                if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" }
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate of the server has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate of the server is not valid yet: is the clock right?".to_owned()
            }
            _ if tls.is_some_and(is_ca) => {
                "the certificate of the server is that of a CA: name exactly this certificate with --ca-file, or make one for a server \
                 with `-addext basicConstraints=critical,CA:FALSE`"
                    .to_owned()
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    }
}
