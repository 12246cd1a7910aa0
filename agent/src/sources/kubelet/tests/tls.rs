//! The kubelet behind TLS.

use std::path::PathBuf;

use super::super::super::tls::CERTIFICATE;
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

fn secure_url(server: &TestServer) -> String {
    format!("https://{}/pods?a=b", server.address)
}

#[tokio::test]
async fn a_certificate_is_verified_unless_it_is_not_to_be() {
    let server = TestServer::start_tls(answering(&[good(&[pod(1)])]));
    let url = secure_url(&server);
    let list = async |trust| Client::new(Options { trust, ..options(&url) }).list().await;
    assert_eq!(list(Trust::Anyone).await.unwrap().pods.len(), 1);
    let authority = Written::new("authority", CERTIFICATE);
    assert_eq!(list(Trust::Authority(authority.0.clone())).await.unwrap().pods.len(), 1);
    // Another authority: the certificates that the system trusts have not signed this one.
    let failure = list(Trust::System).await.unwrap_err();
    assert!(matches!(failure.code, FailureCode::Tls | FailureCode::Unconfigured), "{failure:?}");
    let none = Written::new("none", "no certificate");
    for trust in [Trust::Authority(none.0.clone()), Trust::Authority("/nowhere".into())] {
        let failure = list(trust).await.unwrap_err();
        assert!(matches!(failure.code, FailureCode::Tls | FailureCode::Unconfigured), "{failure:?}");
    }
    assert_eq!(server.asked("/pods").len(), 2);
}

#[tokio::test]
async fn a_token_that_rotates_is_read_again_and_never_told() {
    let server = TestServer::start_tls(answering(&[good(&[]), refused(401)]));
    let url = secure_url(&server);
    let token = Written::new("rotating", "first\n");
    let mut client = Client::new(Options { token: Some(token.0.clone()), ..options(&url) });
    client.list().await.unwrap();
    std::fs::write(&token.0, "second").unwrap();
    let failure = client.list().await.unwrap_err();
    assert!(failure.code == FailureCode::Unauthorized && !failure.reason.contains("second"), "{failure:?}");
    let asked = server.asked("/pods");
    let shown: Vec<_> = asked.iter().map(|request| (request.get("a"), request.token())).collect();
    assert_eq!(shown, [("b", Some("first")), ("b", Some("second"))]);
}
