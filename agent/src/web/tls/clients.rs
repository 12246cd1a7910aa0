//! Certificates of clients: `client_auth_type`, `client_ca_file` and `client_allowed_sans`, which mean what they do in Go's `crypto/tls`.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

/// Which certificates of clients are accepted.
#[derive(Debug)]
pub(super) struct Clients {
    /// Verifies them; `None` where any certificate will do.
    inner: Option<Arc<dyn ClientCertVerifier>>,
    is_mandatory: bool,
    /// The certificate is for one of these; empty for any.
    allowed: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    /// By the keys of the file; `None` where no certificate is asked for. `authorities` come with their key.
    pub fn new(
        kind: Option<&str>,
        authorities: Option<(&'static str, Vec<CertificateDer<'static>>)>,
        sans: Option<&[String]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Self>, String> {
        let (is_asked, is_verified, is_mandatory) = match kind.unwrap_or_default() {
            "" | "NoClientCert" => (false, false, false),
            "RequestClientCert" => (true, false, false),
            "RequireAnyClientCert" | "RequireClientCert" => (true, false, true),
            "VerifyClientCertIfGiven" => (true, true, false),
            "RequireAndVerifyClientCert" => (true, true, true),
            kind => {
                return Err(format!(
                    "client_auth_type: {kind:?} is none of NoClientCert, RequestClientCert, RequireAnyClientCert, \
                     VerifyClientCertIfGiven, RequireAndVerifyClientCert"
                ));
            }
        };
        if let Some((key, _)) = authorities.as_ref().filter(|_| !is_asked) {
            return Err(format!(
                "{key} is of no use without client_auth_type: VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            ));
        }
        let inner = match (is_verified, authorities) {
            (true, Some((key, certificates))) => Some(verifier(key, certificates, is_mandatory, provider)?),
            (true, None) => {
                return Err(format!(
                    "client_ca_file (or client_ca) is missing: client_auth_type is {}",
                    kind.unwrap_or_default()
                ));
            }
            (false, _) => None,
        };
        let allowed = match sans {
            Some(_) if !is_mandatory => {
                return Err(
                    "client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert or RequireAnyClientCert".to_owned()
                );
            }
            Some([]) => return Err("client_allowed_sans: an empty list would allow no client".to_owned()),
            Some(sans) => sans.iter().map(|san| allowed_name(san)).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(is_asked.then(|| Self { inner, is_mandatory, allowed, provider: Arc::clone(provider) }))
    }
}

fn allowed_name(san: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(san.to_owned()).map_err(|_| {
        format!("client_allowed_sans: {san:?} is no DNS name and no address; other kinds of names are not supported")
    })
}

fn verifier(
    key: &'static str,
    certificates: Vec<CertificateDer<'static>>,
    is_mandatory: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| format!("{key}: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if is_mandatory { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| format!("{key}: {error}"))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.as_ref().map_or(&[], |inner| inner.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(inner) = &self.inner {
            inner.verify_client_cert(end_entity, intermediates, now)?;
        }
        if !self.allowed.is_empty() {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let is_for = |name: &ServerName<'_>| verify_server_name(&parsed, name).is_ok();
            if !self.allowed.iter().any(is_for) {
                return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
