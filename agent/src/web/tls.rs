//! The section `tls_server_config`: certificates, clients' certificates, versions, ciphers.

mod clients;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig, SupportedProtocolVersion};

use super::WebError;
use super::file::Reader;
use clients::Clients;

/// The section, with the names of the exporter-toolkit.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsSection {
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<String>,
    key_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_ca: Option<String>,
    client_ca_file: Option<PathBuf>,
    client_allowed_sans: Option<Vec<String>>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Option<Vec<String>>,
    curve_preferences: Option<Vec<String>>,
    prefer_server_cipher_suites: Option<bool>,
}

impl TlsSection {
    /// Whether TLS is wanted: as `IsEnabled` of the exporter-toolkit.
    pub fn is_enabled(&self) -> bool {
        let texts = [&self.cert, &self.key, &self.client_ca, &self.client_auth_type];
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        texts.iter().any(|text| text.is_some()) || files.iter().any(|file| file.is_some())
    }
}

/// A PEM text, and the key of the section that has it or names its file.
struct Pem {
    key: &'static str,
    bytes: Vec<u8>,
}

/// The cryptography in use: *ring*, which the Kubernetes client uses too.
#[must_use]
pub fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// What a handshake needs. Errors begin with the key.
pub(super) fn config(
    section: &TlsSection,
    directory: &Path,
    reader: &mut Reader,
) -> Result<ServerConfig, WebError> {
    let mut pem = |keys: [&'static str; 2], text: &Option<String>, file: &Option<PathBuf>| match (text, file)
    {
        (Some(_), Some(_)) => {
            Err(WebError(format!("{} and {}: only one of them may be given", keys[0], keys[1])))
        }
        (Some(text), None) => Ok(Some(Pem { key: keys[0], bytes: text.clone().into_bytes() })),
        (None, Some(path)) => {
            let bytes = reader.read(keys[1], &directory.join(path))?;
            Ok(Some(Pem { key: keys[1], bytes }))
        }
        (None, None) => Ok(None),
    };
    let missing = |keys: &str| WebError(format!("{keys} is missing"));
    let cert = pem(["cert", "cert_file"], &section.cert, &section.cert_file)?
        .ok_or_else(|| missing("cert_file (or cert)"))?;
    let key = pem(["key", "key_file"], &section.key, &section.key_file)?
        .ok_or_else(|| missing("key_file (or key)"))?;
    let authorities = pem(["client_ca", "client_ca_file"], &section.client_ca, &section.client_ca_file)?;
    build(section, &cert, &key, authorities.as_ref()).map_err(WebError)
}

fn build(
    section: &TlsSection,
    cert: &Pem,
    key: &Pem,
    authorities: Option<&Pem>,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider_for(section)?);
    let private = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| {
        format!("{}: no private key in PEM (PKCS#8, PKCS#1 or SEC1, without a passphrase)", key.key)
    })?;
    let chain = certificates(cert)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(section)?)
        .map_err(|error| format!("cipher_suites: {error}"))?;
    let authorities = authorities.map(|pem| Ok::<_, String>((pem.key, certificates(pem)?))).transpose()?;
    let sans = section.client_allowed_sans.as_deref();
    let builder = match Clients::new(section.client_auth_type.as_deref(), authorities, sans, &provider)? {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, private).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            format!("{} and {}: the key is not that of the (first) certificate", cert.key, key.key)
        }
        error => format!("{} and {}: {error}", cert.key, key.key),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = section.prefer_server_cipher_suites.unwrap_or(true);
    // Scrapers keep their connections; a session that is resumed would outlive a reload.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    let all = all.map_err(|error| format!("{}: not PEM: {error}", pem.key))?;
    if all.is_empty() { Err(format!("{}: no certificate in PEM", pem.key)) } else { Ok(all) }
}

fn versions(section: &TlsSection) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let position = |key: &str, name: &Option<String>, default: usize| match name.as_deref() {
        None => Ok(default),
        Some("TLS12") => Ok(0),
        Some("TLS13") => Ok(1),
        Some(name @ ("TLS10" | "TLS11")) => {
            Err(format!("{key}: {name} is no longer supported (RFC 8996); use TLS12 or TLS13"))
        }
        Some(name) => Err(format!("{key}: {name:?} is none of TLS12, TLS13")),
    };
    let least = position("min_version", &section.min_version, 0)?;
    let most = position("max_version", &section.max_version, 1)?;
    if least > most {
        return Err("max_version is below min_version".to_owned());
    }
    Ok([&TLS12, &TLS13][least..=most].to_vec())
}

/// With the ciphers and curves that are wanted. As in Go, the list of ciphers says nothing of TLS 1.3.
fn provider_for(section: &TlsSection) -> Result<CryptoProvider, String> {
    let mut provider = provider();
    if let Some(wanted) = section.cipher_suites.as_ref().filter(|list| !list.is_empty()) {
        let name = |suite: &tokio_rustls::rustls::SupportedCipherSuite| {
            format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
        };
        let all = provider.cipher_suites.clone();
        let find = |wanted: &String| {
            let found = all.iter().find(|suite| name(suite) == *wanted).copied();
            found.ok_or_else(|| {
                let names: Vec<String> = all.iter().map(name).collect();
                format!("cipher_suites: {wanted:?} is none of {}", names.join(", "))
            })
        };
        let listed: Vec<_> = wanted.iter().map(find).collect::<Result<_, _>>()?;
        let of_tls13 = all.iter().filter(|suite| suite.tls13().is_some()).copied();
        provider.cipher_suites =
            of_tls13.chain(listed.into_iter().filter(|suite| suite.tls13().is_none())).collect();
    }
    if let Some(wanted) = section.curve_preferences.as_ref().filter(|list| !list.is_empty()) {
        let groups: [(&str, &'static dyn SupportedKxGroup); 3] = [
            ("X25519", ring::kx_group::X25519),
            ("CurveP256", ring::kx_group::SECP256R1),
            ("CurveP384", ring::kx_group::SECP384R1),
        ];
        let find = |wanted: &String| {
            let found = groups.iter().find(|(name, _)| name == wanted).map(|(_, group)| *group);
            found.ok_or_else(|| {
                format!(
                    "curve_preferences: {wanted:?} is none of {}",
                    groups.map(|(name, _)| name).join(", ")
                )
            })
        };
        provider.kx_groups = wanted.iter().map(find).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}
