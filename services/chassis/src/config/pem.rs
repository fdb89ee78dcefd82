//! Reads certificates and private keys in PEM. The error of a file without them says what the file has instead.

use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates in `pem`; at least one.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| damaged(&error))?;
    if !found.is_empty() {
        return Ok(found);
    }
    Err(if has(pem, "PRIVATE KEY-----") {
        "it has a private key and no certificate: is it the other file?".to_owned()
    } else {
        missing(pem, "CERTIFICATE", "openssl x509 -inform der -in FILE -out NEW")
    })
}

/// The first private key in `pem`.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    // The second text is in the older form of OpenSSL. The parser would read its header as a part of the key.
    if has(pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(pem, "Proc-Type: 4,ENCRYPTED") {
        return Err(
            "the private key is encrypted, and there is nobody to ask for its password: decrypt it with \
             `openssl pkey -in FILE -out NEW`, and let only this service read the new file"
                .to_owned(),
        );
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(if has(pem, "-----BEGIN CERTIFICATE-----") {
            "it has a certificate and no private key: is it the other file?".to_owned()
        } else {
            missing(pem, "PRIVATE KEY", "openssl pkey -inform der -in FILE -out NEW")
        }),
        Err(error) => Err(damaged(&error)),
    }
}

fn has(pem: &[u8], text: &str) -> bool {
    pem.windows(text.len()).any(|window| window == text.as_bytes())
}

fn damaged(error: &pem::Error) -> String {
    format!("its PEM is damaged ({error}): copy the file again")
}

/// Why the file has no `what`. `convert` is the command that converts DER to PEM.
fn missing(pem: &[u8], what: &str, convert: &str) -> String {
    // In DER, every certificate and key begins with this byte, which means a sequence.
    if pem.first() == Some(&0x30) && std::str::from_utf8(pem).is_err() {
        return format!("it is DER and must be PEM: convert it with `{convert}`");
    }
    format!("it has no line -----BEGIN {what}-----: it must be PEM")
}
