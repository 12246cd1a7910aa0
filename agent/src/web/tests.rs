//! Files of rules, and what follows from them. The port itself is tested in `expose/http/tests/web.rs` and in the lab.

pub mod certificates;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use certificates::Authority;

/// A directory that goes with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    /// An empty one.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("netcause-web-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The hash of `secret`, of the lowest cost.
pub fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

/// `Authorization` of a user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn load(text: &str, directory: &Directory) -> Result<Web, WebError> {
    let config = Some(directory.write("web.yaml", text));
    Web::load(&Files { config, api_tokens: None })
}

fn complaint(text: &str, directory: &Directory) -> String {
    load(text, directory).err().unwrap_or_else(|| panic!("accepted: {text}")).to_string()
}

/// A directory with `ca.pem`, `cert.pem` and `key.pem`, and `other.pem`, a key of another certificate.
fn with_certificates() -> Directory {
    let directory = Directory::new();
    let authority = Authority::new();
    let (cert, key) = authority.sign("localhost");
    for (name, text) in [
        ("ca.pem", &authority.pem()),
        ("cert.pem", &cert),
        ("key.pem", &key),
        ("other.pem", &Authority::new().sign("localhost").1),
    ] {
        directory.write(name, text);
    }
    directory
}

const PAIR: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

#[test]
fn files_of_the_toolkits_format_are_accepted() {
    let directory = with_certificates();
    let hash = hash("secret");
    for (text, has_tls) in [
        (String::new(), false),
        ("# nothing yet\n\n".to_owned(), false),
        (format!("basic_auth_users:\n  prometheus: {hash}\n"), false),
        ("tls_server_config:\n".to_owned(), false),
        (PAIR.to_owned(), true),
        (format!("{PAIR}  min_version: TLS13\n  max_version: TLS13\n"), true),
        (format!("{PAIR}  client_auth_type: NoClientCert\n"), true),
        (
            format!(
                "{PAIR}  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [prometheus, 127.0.0.1]\n"
            ),
            true,
        ),
        (format!("{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"), true),
        (
            format!(
                "{PAIR}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP256]\n  prefer_server_cipher_suites: false\n"
            ),
            true,
        ),
        (
            format!(
                "{PAIR}http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=31536000\n"
            ),
            true,
        ),
    ] {
        let web = load(&text, &directory).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(web.tls().is_some(), has_tls, "{text}");
    }
}

#[test]
fn pem_may_be_inline() {
    let directory = Directory::new();
    let (cert, key) = Authority::new().sign("localhost");
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", indented(&cert), indented(&key));
    assert!(load(&text, &directory).unwrap().tls().is_some());
    let error = complaint(&format!("{text}  key_file: key.pem\n"), &directory);
    assert!(error.contains("key and key_file: only one"), "{error}");
    // Not even a file that cannot be parsed is quoted.
    for broken in [
        format!("{text}  nothing: 1\n"),
        text.replace("  key: |", "  key: [|"),
        text.replace("key: |", "key: {"),
    ] {
        let error = complaint(&broken, &directory);
        let secret = key.lines().nth(1).unwrap();
        assert!(!error.contains(secret) && !error.contains(&secret[..20]), "{error}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_key_and_file() {
    let directory = with_certificates();
    directory.write("empty.pem", "");
    directory.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let section = |rest: &str| format!("{PAIR}  {rest}\n");
    for (text, words) in [
        ("tls_config: {}\n".to_owned(), vec!["tls_config", "tls_server_config"]),
        (section("certificate: x"), vec!["certificate", "cert_file"]),
        ("rate_limit:\n  burst: 1\n".to_owned(), vec!["rate_limit"]),
        ("tls_server_config:\n  cert_file: cert.pem\n".to_owned(), vec!["tls_server_config", "key_file"]),
        (
            "tls_server_config:\n  key_file: key.pem\n".to_owned(),
            vec!["tls_server_config", "cert_file", "missing"],
        ),
        ("tls_server_config:\n  client_ca_file: ca.pem\n".to_owned(), vec!["cert_file", "missing"]),
        (PAIR.replace("cert.pem", "none.pem"), vec!["cert_file", "none.pem", "No such file"]),
        (PAIR.replace("cert.pem", "."), vec!["cert_file", "no regular file"]),
        (PAIR.replace("cert.pem", "empty.pem"), vec!["cert_file", "no certificate"]),
        (PAIR.replace("cert.pem", "broken.pem"), vec!["cert_file", "not PEM"]),
        (PAIR.replace("key.pem", "cert.pem"), vec!["key_file", "no private key"]),
        (PAIR.replace("key.pem", "other.pem"), vec!["cert_file and key_file", "not that of"]),
        (section("min_version: TLS11"), vec!["min_version", "TLS11", "TLS12"]),
        (section("min_version: SSL3"), vec!["min_version", "SSL3", "TLS13"]),
        (section("min_version: TLS13\n  max_version: TLS12"), vec!["max_version", "min_version"]),
        (section("cipher_suites: [RC4]"), vec!["cipher_suites", "RC4", "TLS_AES_128_GCM_SHA256"]),
        (section("curve_preferences: [CurveP521]"), vec!["curve_preferences", "CurveP521", "X25519"]),
        (
            section("client_auth_type: Always"),
            vec!["client_auth_type", "Always", "RequireAndVerifyClientCert"],
        ),
        (section("client_ca_file: ca.pem"), vec!["client_ca_file", "client_auth_type"]),
        (section("client_auth_type: RequireAndVerifyClientCert"), vec!["client_ca_file", "missing"]),
        (
            section("client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: empty.pem"),
            vec!["client_ca_file", "no certificate"],
        ),
        (section("client_allowed_sans: [a]"), vec!["client_allowed_sans", "client_auth_type"]),
        (
            section("client_auth_type: RequireAnyClientCert\n  client_allowed_sans: []"),
            vec!["client_allowed_sans", "empty"],
        ),
        (
            section("client_auth_type: RequireAnyClientCert\n  client_allowed_sans: ['spiffe://a/b']"),
            vec!["client_allowed_sans", "spiffe://a/b"],
        ),
        ("basic_auth_users: [a]\n".to_owned(), vec!["web.yaml"]),
        ("basic_auth_users:\n  alice: secret\n".to_owned(), vec!["basic_auth_users", "alice", "bcrypt"]),
        (
            "basic_auth_users:\n  alice: $2y$31$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n"
                .to_owned(),
            vec!["alice", "31", "16"],
        ),
        (
            "http_server_config:\n  headers:\n    Server: x\n".to_owned(),
            vec!["headers", "Server", "X-Frame-Options"],
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: never\n".to_owned(),
            vec!["X-Frame-Options", "never", "sameorigin"],
        ),
        (
            "http_server_config:\n  headers:\n    X-XSS-Protection: \"a\\nb\"\n".to_owned(),
            vec!["X-XSS-Protection"],
        ),
        ("http_server_config:\n  http3: true\n".to_owned(), vec!["http3"]),
    ] {
        let error = complaint(&text, &directory);
        for word in words.into_iter().chain(["web_config_file", "web.yaml"]) {
            assert!(error.contains(word), "{text}says: {error}\nwithout {word}");
        }
        assert!(!error.contains("secret"), "{error}");
    }
    let none = Files { config: Some("/nowhere/web.yaml".into()), api_tokens: None };
    let error = Web::load(&none).err().unwrap().to_string();
    assert!(error.starts_with("web_config_file: cannot read /nowhere/web.yaml"), "{error}");
    let none = Files { config: None, api_tokens: Some("/nowhere/token".into()) };
    let error = Web::load(&none).err().unwrap().to_string();
    assert!(error.starts_with("api_token_file: cannot read /nowhere/token"), "{error}");
}

/// What a poll finds, and does.
fn poll(web: &Web, watched: &mut Watched) -> Option<Outcome> {
    let fresh = watched.look() == Look::Fresh;
    fresh.then(|| {
        let before = web.rules();
        watched.read(&before)
    })
}

fn take(web: &Web) -> Watched {
    web.watched.lock().unwrap().take().unwrap()
}

fn replace(path: &Path, text: &str) {
    // Another inode, as every tool that replaces a file makes one: stamps of one moment differ.
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_new_certificate_is_read_when_it_has_been_the_same_twice() {
    let directory = with_certificates();
    let web = load(PAIR, &directory).unwrap();
    let mut watched = take(&web);
    assert!(poll(&web, &mut watched).is_none());
    assert!(
        matches!(poll(&web, &mut watched), Some(Outcome::Same)),
        "stamps of the first reading are not trusted"
    );
    assert!(poll(&web, &mut watched).is_none());
    let (cert, key) = Authority::new().sign("localhost");
    replace(&directory.0.join("cert.pem"), &cert);
    assert!(poll(&web, &mut watched).is_none());
    // The key is not there yet.
    let Some(Outcome::Failed(Some(error))) = poll(&web, &mut watched) else { panic!() };
    assert!(error.to_string().contains("cert_file and key_file"), "{error}");
    assert!(matches!(poll(&web, &mut watched), None | Some(Outcome::Failed(None))), "said once");
    replace(&directory.0.join("key.pem"), &key);
    let outcomes: Vec<_> = (0..3).filter_map(|_| poll(&web, &mut watched)).collect();
    let new = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::New(rules) if rules.tls.is_some()));
    assert_eq!(new.count(), 1);
    fs::remove_file(directory.0.join("key.pem")).unwrap();
    let gone: Vec<_> = (0..4).filter_map(|_| poll(&web, &mut watched)).collect();
    assert!(
        matches!(gone.as_slice(), [Outcome::Failed(Some(_)), rest @ ..] if rest.iter().all(|it| matches!(it, Outcome::Failed(None))))
    );
    replace(&directory.0.join("key.pem"), &key);
    let back: Vec<_> = (0..4).filter_map(|_| poll(&web, &mut watched)).collect();
    assert!(matches!(back.last(), Some(Outcome::Same)), "what is in force is back");
}

#[test]
fn a_file_that_is_cut_does_not_open_the_port() {
    let directory = with_certificates();
    let users = format!("basic_auth_users:\n  a: {}\n", hash("secret"));
    for (before, after, word) in [
        (&users[..], "", "basic_auth_users"),
        (PAIR, &users[..], "TLS"),
        (&users[..], PAIR, "TLS"),
        (PAIR, "", "TLS"),
    ] {
        let web = load(before, &directory).unwrap();
        let mut watched = take(&web);
        replace(&directory.0.join("web.yaml"), after);
        let failed = (0..3).filter_map(|_| poll(&web, &mut watched)).find_map(|outcome| match outcome {
            Outcome::Failed(error) => error,
            _ => None,
        });
        let error = failed.unwrap().to_string();
        assert!(error.contains(word) && error.contains("restart"), "{error}");
    }
}
