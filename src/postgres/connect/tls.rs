//! TLS as libpq's `sslmode` means it, with rustls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_name, WebPkiServerVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum TlsMode {
    Disable,
    /// TLS where the server offers it, unverified.
    Prefer,
    /// TLS, unverified.
    Require,
    /// The chain must lead to a trusted root; the host's name is not compared.
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct TlsSettings {
    pub(in crate::postgres) mode: TlsMode,
    /// PEM; None means the roots of the operating system.
    pub(in crate::postgres) root_cert: Option<PathBuf>,
    /// PEM files of a certificate chain and its unencrypted key.
    pub(in crate::postgres) client_cert: Option<(PathBuf, PathBuf)>,
    /// TLS from the first byte (Postgres 17), which needs ALPN.
    pub(in crate::postgres) direct: bool,
}

/// Reads the files again, so that certificates may be rotated.
pub(in crate::postgres) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let trust = match settings.mode {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Trust::Anyone,
        TlsMode::VerifyCa => Trust::Roots { roots: trusted(settings, &provider)?, names: Names::Ignored },
        TlsMode::VerifyFull => Trust::Roots { roots: trusted(settings, &provider)?, names: Names::Compared },
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { trust, provider }));
    let mut config = match &settings.client_cert {
        Some((cert, key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("cannot read the key {}: {error}", key.display()))?;
            builder
                .with_client_auth_cert(certificates(cert)?, key_der)
                .map_err(|error| format!("client certificate {}: {error}", cert.display()))?
        }
        None => builder.with_no_client_auth(),
    };
    if settings.direct {
        config.alpn_protocols.push(b"postgresql".to_vec());
    }
    Ok(MakeRustlsConnect::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot read the certificate {}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&error))?;
    match found.is_empty() {
        true => Err(failed(&"no certificate in it")),
        false => Ok(found),
    }
}

fn trusted(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<Roots, String> {
    // Reading the system's store takes some 10 ms, too long for every attempt while Postgres is away.
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    let certificates = match &settings.root_cert {
        Some(path) => certificates(path)?,
        None => SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs).clone(),
    };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        return Err("no trusted root certificate found; give sslrootcert".to_owned());
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Roots { chain, certificates })
}

#[derive(Debug)]
enum Names {
    Ignored,
    Compared,
}

#[derive(Debug)]
enum Trust {
    Anyone,
    Roots { roots: Roots, names: Names },
}

#[derive(Debug)]
struct Roots {
    chain: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Verifies as much as the mode asks for; that the server holds the key of its certificate is checked in every mode.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Roots { roots, names } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        // A self-signed certificate given as its own root, the way Postgres' manual begins: webpki takes no CA for a server.
        if roots.certificates.iter().any(|root| root == end_entity) {
            return match names {
                Names::Compared => verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
                    .map(|()| ServerCertVerified::assertion()),
                Names::Ignored => Ok(ServerCertVerified::assertion()),
            };
        }
        // The name is compared after the chain has been verified, so that a wrong name means a good chain.
        match (roots.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now), names) {
            (
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )),
                Names::Ignored,
            ) => Ok(ServerCertVerified::assertion()),
            (verified, _) => verified,
        }
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
