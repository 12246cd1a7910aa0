//! TLS of clients: whom they trust, and who they are, by files.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::web::provider;

/// A file, and the flag or setting that names it, for errors.
pub type Named<'a> = (&'a str, &'a Path);

/// Certificates of a client, in PEM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// Who may have signed the server's certificate; without it, whom the system trusts.
    pub ca: Option<Named<'a>>,
    /// The client's own certificate and its private key.
    pub identity: Option<[Named<'a>; 2]>,
}

impl Files<'_> {
    /// What makes TLS connections.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        let mut roots = RootCertStore::empty();
        match self.ca {
            Some((flag, path)) => {
                for certificate in certificates(flag, path)? {
                    roots.add(certificate).map_err(|error| format!("{flag} {}: {error}", path.display()))?;
                }
            }
            None => {
                // Some that cannot be read are no error; with none the handshake fails, and says so.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match self.identity {
            Some([(cert_flag, cert), (key_flag, key)]) => {
                let chain = certificates(cert_flag, cert)?;
                let private = PrivateKeyDer::from_pem_slice(&read(key_flag, key)?)
                    .map_err(|_| format!("{key_flag} {}: no private key in PEM", key.display()))?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| format!("{cert_flag} {}: {error}", cert.display()))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// The bytes of a file that a flag or setting names.
///
/// # Errors
///
/// When it cannot be read.
pub fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{flag}: cannot read {}: {error}", path.display()))
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(flag, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{flag} {}: no certificate in PEM", path.display())),
    }
}
