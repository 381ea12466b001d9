//! Encryption of connections by TLS 1.3, with the certificates of a run.
//!
//! A client knows the server by the authority that its token names, not by where it runs: the server sends
//! its certificate and its authority's, and the client takes the authority whose fingerprint it has for the
//! only one that there is.

use std::{error::Error, io, iter::successors, sync::Arc};

use access::{Credentials, SERVER_NAME};
use files::Digest;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
        SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
        version::TLS13,
    },
};

use crate::Connection;

/// The first byte of a TLS connection; one of HTTP/2 begins with a letter.
pub(crate) const FIRST_BYTE: u8 = 0x16;
/// The protocol inside, as both sides agree.
const HTTP2: &[u8] = b"h2";

/// Makes the server's side of the encryption.
///
/// # Errors
/// If the certificates or the key cannot be used; the text says why.
pub(crate) fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, String> {
    let certificates = credentials.certificates.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(credentials.key.clone());
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map(|config| config.with_no_client_auth())
        .and_then(|config| config.with_single_cert(certificates, key.into()));
    let mut config = config.map_err(|error| format!("its certificate cannot be used: {error}"))?;
    config.alpn_protocols = vec![HTTP2.into()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Encrypts a connection to a server whose authority has the fingerprint `authority`.
///
/// # Errors
/// [`Untrusted`], inside, if the other side is not that server; another error if the connection breaks.
pub(crate) async fn encrypted(
    connection: Box<dyn Connection>,
    authority: Digest,
) -> Result<Box<dyn Connection>, Box<dyn Error + Send + Sync>> {
    let provider = provider();
    let verifier = Pinned { authority, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.into()];
    let name = ServerName::try_from(SERVER_NAME)?;
    match TlsConnector::from(Arc::new(config)).connect(name, connection).await {
        Ok(encrypted) => Ok(Box::new(encrypted)),
        Err(error) => Err(match Untrusted::of(&error) {
            Some(untrusted) => untrusted.into(),
            None => error.into(),
        }),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Why another side of a connection is not the server of the token's run; trying again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error(
        "its certificate is not of the authority that the token names, so it is the server of another run"
    )]
    Authority,
    #[error("it does not encrypt, so it was started with --insecure or is not a server of this program")]
    Plain,
}

impl Untrusted {
    /// Tells what an error of the handshake says about the other side.
    fn of(error: &io::Error) -> Option<Untrusted> {
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(_) => Some(Untrusted::Authority),
            rustls::Error::InvalidMessage(_) => Some(Untrusted::Plain),
            _ => None,
        }
    }

    /// Finds an error of this kind among the causes of another.
    pub(crate) fn among(error: &(dyn Error + 'static)) -> Option<Untrusted> {
        successors(Some(error), |&cause| cause.source()).find_map(|cause| cause.downcast_ref().copied())
    }
}

/// A verifier that takes one authority for right, the one that it has the fingerprint of.
#[derive(Debug)]
struct Pinned {
    authority: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = others.iter().find(|certificate| Digest::of(certificate) == self.authority);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(server, &[], name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, server, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, server, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
