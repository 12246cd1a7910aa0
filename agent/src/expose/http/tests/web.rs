//! TLS, passwords and tokens at the port, asked by the client of `netcause why` and over plain sockets.

use std::time::Instant;

use super::*;
use crate::client::{Access, Client, ClientError};
use crate::web::tests::certificates::Authority;
use crate::web::tests::{Directory, basic, hash};

const TOKEN: &str = "0123456789abcdef";

/// A server with this file, and with tokens or not.
fn guarded(directory: &Directory, config: &str, has_tokens: bool) -> Running {
    let files = Files {
        config: Some(directory.write("web.yaml", config)),
        api_tokens: has_tokens.then(|| directory.write("tokens", &format!("{TOKEN}\n"))),
    };
    start_with(Ok(large()), 64, LONG, Web::load(&files).unwrap())
}

/// The status of an answer to a request with this header.
fn status(server: &Running, path: &str, header: &str) -> String {
    let mut stream = server.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n{header}Connection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn passwords_and_tokens_open_what_they_are_for() {
    let directory = Directory::new();
    let users = format!("basic_auth_users:\n  prometheus: {}\n", hash("secret"));
    let right = format!("Authorization: {}\r\n", basic("prometheus", "secret"));
    let wrong = format!("Authorization: {}\r\n", basic("prometheus", "guess"));
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let of_proxy = format!("X-Netcause-Token: {TOKEN}\r\n");
    let open = |server: &Running, open: &[(&str, &[&str])]| {
        for (path, headers) in open {
            for header in ["", &right, &wrong, &token, &of_proxy] {
                let expected = if headers.contains(&header) { "200" } else { "401" };
                assert_eq!(status(server, path, header), expected, "{path} {header:?}");
            }
        }
    };
    let all: &[&str] = &["", &right, &wrong, &token, &of_proxy];
    let (passwords, tokens): (&[&str], &[&str]) = (&[&right], &[&token, &of_proxy]);
    let health = [("/livez", all), ("/readyz", all)];
    let server = guarded(&directory, &users, false);
    open(&server, &health);
    open(&server, &[("/metrics", passwords), ("/", passwords), ("/api/v1/findings", passwords)]);
    let server = guarded(&directory, &users, true);
    open(&server, &health);
    open(&server, &[("/metrics", passwords), ("/api/v1/findings", tokens), ("/api/v1/status", tokens)]);
    assert_eq!(status(&server, "/nothing", ""), "401");
    assert_eq!(status(&server, "/nothing", &right), "404");
    assert_eq!(status(&server, "/api/v1/nothing", &right), "401");
    let server = guarded(&directory, "", true);
    open(&server, &[("/metrics", all), ("/api/v1/status", tokens)]);
}

#[test]
fn refusals_say_what_is_wanted_and_headers_are_on_all() {
    let directory = Directory::new();
    let config = format!(
        "basic_auth_users:\n  a: {}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n",
        hash("b")
    );
    let server = guarded(&directory, &config, true);
    let response = server.get("/metrics");
    assert!(response.contains("\r\nwww-authenticate: Basic realm=\"netcause\"\r\n"), "{response}");
    assert!(response.contains("\r\nx-frame-options: deny\r\n"), "{response}");
    let response = server.get("/api/v1/findings");
    assert!(response.contains("\r\nwww-authenticate: Bearer realm=\"netcause\"\r\n"), "{response}");
    assert!(server.get("/livez").contains("\r\nx-frame-options: deny\r\n"));
}

struct Port {
    server: Running,
    directory: Directory,
}

impl Port {
    fn with_tls(rest: &str) -> Self {
        let directory = Directory::new();
        let authority = Authority::new();
        for (name, [cert, key]) in
            [("server", ["cert.pem", "key.pem"]), ("prometheus", ["client.pem", "client.key"])]
        {
            let signed = authority.sign(name);
            directory.write(cert, &signed.0);
            directory.write(key, &signed.1);
        }
        directory.write("ca.pem", &authority.pem());
        directory.write("stranger.pem", &Authority::new().pem());
        let config = format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n{rest}");
        Self { server: guarded(&directory, &config, true), directory }
    }

    fn file(&self, name: &str) -> Option<std::path::PathBuf> {
        Some(self.directory.0.join(name))
    }

    /// What trusts this authority, and presents a certificate or not.
    fn access(&self, authority: &str, has_certificate: bool) -> Access {
        Access {
            ca_file: self.file(authority),
            token_file: self.file("tokens"),
            cert_file: self.file("client.pem").filter(|_| has_certificate),
            key_file: self.file("client.key").filter(|_| has_certificate),
        }
    }

    fn ask(&self, access: &Access) -> Result<String, ClientError> {
        Client::new(&format!("https://{}", self.server.address), access).unwrap().get("/api/v1/status")
    }

    fn refusal(&self, access: &Access) -> String {
        self.ask(access).err().unwrap().to_string()
    }
}

#[test]
fn the_client_speaks_tls_and_knows_the_server() {
    let port = Port::with_tls("");
    assert!(port.ask(&port.access("ca.pem", false)).unwrap().contains("\"version\""));
    let error = port.refusal(&port.access("stranger.pem", false));
    assert!(error.contains("--ca-file"), "{error}");
    let error = port.refusal(&Access { token_file: None, ..port.access("ca.pem", false) });
    assert!(error.contains("401") && error.contains("--token-file"), "{error}");
    let plain = Client::new(&format!("http://{}", port.server.address), &Access::default()).unwrap();
    let error = plain.get("/api/v1/status").unwrap_err().to_string();
    assert!(error.contains("https://"), "{error}");
    let other = guarded(&port.directory, "", true);
    let error = Client::new(&format!("https://{}", other.address), &port.access("ca.pem", false))
        .unwrap()
        .get("/api/v1/status")
        .unwrap_err()
        .to_string();
    assert!(error.contains("http://"), "{error}");
}

#[test]
fn certificates_of_clients_are_asked_for_and_looked_at() {
    const CA: &str = "  client_ca_file: ca.pem\n";
    const STRANGER: &str = "  client_ca_file: stranger.pem\n";
    for (kind, more, without, with) in [
        ("NoClientCert", "", true, true),
        ("RequestClientCert", "", true, true),
        ("RequireAnyClientCert", "", false, true),
        ("VerifyClientCertIfGiven", CA, true, true),
        ("VerifyClientCertIfGiven", STRANGER, true, false),
        ("RequireAndVerifyClientCert", CA, false, true),
        ("RequireAndVerifyClientCert", STRANGER, false, false),
        (
            "RequireAndVerifyClientCert",
            "  client_ca_file: ca.pem\n  client_allowed_sans: [other, prometheus]\n",
            false,
            true,
        ),
        (
            "RequireAndVerifyClientCert",
            "  client_ca_file: ca.pem\n  client_allowed_sans: [other]\n",
            false,
            false,
        ),
    ] {
        for versions in ["", "  min_version: TLS13\n", "  max_version: TLS12\n"] {
            let port = Port::with_tls(&format!("  client_auth_type: {kind}\n{more}{versions}"));
            for (has_certificate, is_good) in [(false, without), (true, with)] {
                let answer = port.ask(&port.access("ca.pem", has_certificate));
                assert_eq!(
                    answer.is_ok(),
                    is_good,
                    "{kind}{more}{versions} {has_certificate}: {:?}",
                    answer.err()
                );
            }
            if kind == "RequireAndVerifyClientCert" && more == CA && versions != "  max_version: TLS12\n" {
                let error = port.refusal(&port.access("ca.pem", false));
                assert!(error.contains("--cert-file"), "{error}");
            }
        }
    }
}

#[test]
fn a_handshake_that_does_not_come_is_waited_for_as_a_request() {
    let directory = Directory::new();
    let (cert, key) = Authority::new().sign("server");
    directory.write("cert.pem", &cert);
    directory.write("key.pem", &key);
    let config =
        Some(directory.write("web.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"));
    let web = Web::load(&Files { config, api_tokens: None }).unwrap();
    let counts = web.counts();
    let server = start_with(Ok(Snapshot::default()), 64, Duration::from_millis(200), web);
    let mut silent = server.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed after the timeout");
    let mut plain = server.send("/metrics");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Counted after the connection is closed.
    let deadline = Instant::now() + Duration::from_secs(10);
    while counts.refusals()[Refused::Tls as usize] == 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(counts.refusals()[Refused::Tls as usize], 1);
}
