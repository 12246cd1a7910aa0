//! The kubelet behind TLS.
//!
//! Its certificate is signed by itself, as most kubelets' are, for 127.0.0.1, from 2020 to 2120 (`openssl ca -selfsign`
//! with `basicConstraints=critical,CA:FALSE` and `subjectAltName=IP:127.0.0.1`). The key is that of this test and of
//! nothing else.

use std::path::PathBuf;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4HQvyQYGcL4F0RrO
Y5hLj9IaUkF4lXOyH2DuimFPqLShRANCAASEJh25CzfrcmWc0E6Hj849EKRNyp/N
l5QNLTi0U6Ln7YSTEyIqOZeDU1jlKZ6RwG/RRgLYzimDzBdmwP3hWxP6
-----END PRIVATE KEY-----
";

const CERTIFICATE: &str = "\
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

/// A file of a test; it goes when the test has passed.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netcause-kubelet-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Kubelet {
    async fn start_tls(&self) -> String {
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
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/pods?a=b", listener.local_addr().unwrap());
        let kubelet = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate goes.
                if let Ok(stream) = acceptor.accept(stream).await {
                    kubelet.clone().connection(stream);
                }
            }
        });
        url
    }
}

#[tokio::test]
async fn a_certificate_is_verified_unless_it_is_not_to_be() {
    let kubelet = Kubelet::answering(&[good(&[pod(1)])]);
    let url = kubelet.start_tls().await;
    let list = async |trust| Client::new(Options { trust, ..options(&url) }).list().await;
    assert_eq!(list(Trust::Anyone).await.unwrap().pods.len(), 1);
    let authority = Written::new("authority", CERTIFICATE);
    assert_eq!(list(Trust::Authority(authority.0.clone())).await.unwrap().pods.len(), 1);
    // Another authority: the certificates that the system trusts have not signed this one.
    let failure = list(Trust::System).await.unwrap_err();
    assert!(matches!(failure.reason, "tls" | "unconfigured"), "{failure:?}");
    let none = Written::new("none", "no certificate");
    for trust in [Trust::Authority(none.0.clone()), Trust::Authority("/nowhere".into())] {
        let failure = list(trust).await.unwrap_err();
        assert!(matches!(failure.reason, "tls" | "unconfigured"), "{failure:?}");
    }
    assert_eq!(kubelet.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_that_rotates_is_read_again_and_never_told() {
    let kubelet = Kubelet::answering(&[good(&[]), refused(401)]);
    let url = kubelet.start_tls().await;
    let token = Written::new("rotating", "first\n");
    let mut client = Client::new(Options { token: Some(token.0.clone()), ..options(&url) });
    client.list().await.unwrap();
    std::fs::write(&token.0, "second").unwrap();
    let failure = client.list().await.unwrap_err();
    assert!(failure.reason == "unauthorized" && !failure.why.contains("second"), "{failure:?}");
    let shown = |token: &str| ("/pods?a=b".to_owned(), Some(format!("Bearer {token}")));
    assert_eq!(*kubelet.asked.lock().unwrap(), [shown("first"), shown("second")]);
}
