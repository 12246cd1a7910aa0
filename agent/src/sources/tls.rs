//! A server behind TLS, for tests of the sources.
//!
//! Its certificate is signed by itself, as most kubelets' are, for 127.0.0.1, from 2020 to 2120 (`openssl ca -selfsign`
//! with `basicConstraints=critical,CA:FALSE` and `subjectAltName=IP:127.0.0.1`). The key is that of these tests and of
//! nothing else.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4HQvyQYGcL4F0RrO
Y5hLj9IaUkF4lXOyH2DuimFPqLShRANCAASEJh25CzfrcmWc0E6Hj849EKRNyp/N
l5QNLTi0U6Ln7YSTEyIqOZeDU1jlKZ6RwG/RRgLYzimDzBdmwP3hWxP6
-----END PRIVATE KEY-----
";

/// Its certificate, in PEM.
pub const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBfjCCASSgAwIBAgIUft4hkzqsmuxaG85Sscmq+TJURYIwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSYSBrdWJlbGV0IG9mIHRlc3RzMCAXDTIwMDEwMTAwMDAwMFoY
DzIxMjAwMTAxMDAwMDAwWjAdMRswGQYDVQQDDBJhIGt1YmVsZXQgb2YgdGVzdHMw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASEJh25CzfrcmWc0E6Hj849EKRNyp/N
l5QNLTi0U6Ln7YSTEyIqOZeDU1jlKZ6RwG/RRgLYzimDzBdmwP3hWxP6o0AwPjAM
BgNVHRMBAf8EAjAAMA8GA1UdEQQIMAaHBH8AAAEwHQYDVR0OBBYEFDiVVt5/zWhH
tuFoxFwhQtb1luPvMAoGCCqGSM49BAMCA0gAMEUCIQCpxPXBvsBivPsORt7w1NyL
nmozL1viou1uDdNlFW5/CQIgAzstygol79QpQCXY67nORn6w3YG06kYldV1fA1hS
hhk=
-----END CERTIFICATE-----
";

/// Accepts connections with that certificate.
pub fn acceptor() -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
