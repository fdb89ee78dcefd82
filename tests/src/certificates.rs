//! Certificates for one test, issued by an authority of its own.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A certificate authority and a certificate that it has issued, as files in a private folder.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Issues a certificate for `names`: hosts or addresses.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let authority = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::new([]).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority).expect("it can sign itself");
        let issuer = Issuer::new(params, authority);
        let key = KeyPair::generate().expect("keys can be made");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let given = CertificateParams::new(names).expect("valid names").signed_by(&key, &issuer);
        let given = given.expect("the authority can sign");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("a file can be written");
        };
        write("ca.pem", root.pem());
        write("cert.pem", given.pem());
        write("key.pem", key.serialize_pem());
        Self { folder }
    }

    /// Issues a certificate for `names` that has signed itself and says that it is an authority, as `openssl req -x509` does.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let key = KeyPair::generate().expect("keys can be made");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it can sign itself").pem();
        for (name, text) in
            [("ca.pem", &certificate), ("cert.pem", &certificate), ("key.pem", &key.serialize_pem())]
        {
            std::fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        Self { folder }
    }

    /// The file of the authority's certificate.
    #[must_use]
    pub fn authority(&self) -> String {
        self.file("ca.pem")
    }

    /// The file of the issued certificate.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.file("cert.pem")
    }

    /// The file of the private key of the issued certificate.
    #[must_use]
    pub fn key(&self) -> String {
        self.file("key.pem")
    }

    fn file(&self, name: &str) -> String {
        Path::display(&self.folder.path().join(name)).to_string()
    }
}
