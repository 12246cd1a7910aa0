//! The kubelet behind TLS.

use std::path::PathBuf;

use super::super::super::tls::{self, CERTIFICATE};
use super::*;

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
        let acceptor = tls::acceptor();
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
