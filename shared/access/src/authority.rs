//! The certificate authority of a run, and the one certificate that it signs.
//!
//! The authority's key is not kept: nobody can sign a second certificate that the tokens' bearers would take
//! for the server's. Whoever needs one makes a new folder, with new tokens.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Name in every server's certificate. Machines' names and addresses are not in it: a server is known by its
/// authority, wherever it runs.
pub const SERVER_NAME: &str = "downpour";

/// Certificates and key that were made for a run, each in the form PEM.
pub(crate) struct Made {
    /// The server's certificate, then its authority's.
    pub(crate) certificates: String,
    /// The private key of the server's certificate.
    pub(crate) key: String,
    /// The authority's certificate in the form DER, of which tokens have the fingerprint.
    pub(crate) authority: Vec<u8>,
}

/// Makes the authority of the run called `run`, and the certificate of its server.
pub(crate) fn make(run: &str) -> Result<Made, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, format!("authority of run {run}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut params = CertificateParams::new([SERVER_NAME.to_string()])?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, run);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let server = params.signed_by(&key, &authority)?;
    Ok(Made {
        certificates: format!("{}{}", server.pem(), authority.pem()),
        key: key.serialize_pem(),
        authority: authority.der().to_vec(),
    })
}
