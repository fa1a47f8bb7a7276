//! Whether certificates and a key can be used, before anybody is asked. The library that speaks TLS says it too, but at
//! every connection, and as if the network were at fault.

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

/// Of an authority's certificates.
pub(crate) fn check_roots(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates(pem)?.into_iter().enumerate() {
        let number = at + 1;
        roots.add(certificate).map_err(|error| {
            format!("certificate number {number} in it cannot be used: {error}")
        })?;
    }
    Ok(())
}

/// Of a client's certificate and its key: the parameter that is wrong, and why. Nothing of either is repeated.
pub(crate) fn check_identity(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain = certificates(certificate).map_err(|why| format!("cert: {why}"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_error| "key: there is no private key (PEM) in it".to_owned())?;
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(_)) => {
            Err("key: it does not belong to the certificate that cert names".to_owned())
        }
        Err(error @ Error::InvalidCertificate(_)) => Err(format!("cert: {error}")),
        Err(error) => Err(format!("key: {error}")),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err("there is no certificate (PEM) in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("it is no PEM file: {error}")),
    }
}
