//! The API server behind TLS.

use super::super::super::tls::CERTIFICATE;
use super::super::testing::{Client, TestServer, event, kubeconfig_of, list_end, pod};
use super::PODS;
use netcause_apiserver::{Answer, Step};

/// A client of this server; `trust` stands in the kubeconfig beside the server's URL.
fn start(server: &TestServer, trust: impl FnOnce(&str) -> String) -> Client {
    Client::start(server.address, |options, directory| {
        let authority = directory.join("authority");
        std::fs::write(&authority, CERTIFICATE).unwrap();
        let trust = trust(&authority.display().to_string());
        let text = kubeconfig_of(server.address, "{token: eyJtop.secret}")
            .replace("server: 'http:", &format!("{trust}server: 'https:"));
        std::fs::write(options.kubeconfig.as_ref().unwrap(), text).unwrap();
    })
}

fn server() -> TestServer {
    TestServer::start_tls(|asked, _| match &*asked.path {
        PODS if asked.token() != Some("eyJtop.secret") => Answer::status(401, "who is it?"),
        PODS => Answer::events(&[event("ADDED", &pod("a", 1)), list_end(7)], Step::Hang),
        _ => Answer::unscripted(),
    })
}

#[tokio::test]
async fn the_authority_of_the_configuration_counts() {
    let server = server();
    let mut client = start(&server, |authority| format!("certificate-authority: '{authority}', "));
    assert_eq!(client.pods(3).await, ["begin", "+a", "end"]);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_by_name() {
    let server = server();
    // The certificates that the system trusts have not signed this one; a system may have none.
    let client = start(&server, |_| String::new());
    client.until(|client| client.failures("unreachable") + client.failures("unconfigured") > 0).await;
    let message = client.state(netcause_core::enrich::objects::Kind::Pod).unwrap().message.unwrap();
    assert!(message.contains("certificate"), "{message}");
    assert!(server.asked(PODS).is_empty(), "a token went to whoever answered");
}
