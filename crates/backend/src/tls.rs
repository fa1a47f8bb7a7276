//! Certificates and keys: whether they can be used, before anybody is asked, and what a server has
//! against them. The library that speaks TLS reports the one at every connection, as if the network
//! were at fault, and often loses the other.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::printable;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::aside::Aside;
use crate::failure::Failure;

pub use rustls;

/// How long a server may take to refuse.
const HEARING: Duration = Duration::from_secs(1);

/// The provider of cryptography of every store that makes connections itself: always this one,
/// whatever the process has as its default. A program that links two has none.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates that a connection trusts and shows, in PEM. `Debug` shows nothing of them.
#[derive(Clone, Default)]
pub struct TlsMaterial {
    /// The authority. Without it, what the system trusts.
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsMaterial")
    }
}

/// The files that the parameters `ca`, `cert` and `key` of a lock URL name.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    ca: Option<String>,
    identity: Option<(String, String)>,
}

impl TlsFiles {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// `Invalid`: only one of `cert` and `key` is given.
    pub fn new(ca: Option<&str>, cert: Option<&str>, key: Option<&str>) -> Result<Self, Failure> {
        if cert.is_some() != key.is_some() {
            return Err(Failure::invalid("cert and key go together: one of them is missing"));
        }
        let identity = cert.zip(key).map(|(cert, key)| (cert.to_owned(), key.to_owned()));
        Ok(Self { ca: ca.map(str::to_owned), identity })
    }

    /// What is in them. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: one cannot be read. `Unavailable`: one could not be read in time.
    pub async fn read(&self) -> Result<TlsMaterial, Failure> {
        let aside = Aside::default();
        let read = async |parameter: &str, path: &str| {
            aside.read(&format!("{parameter}={}", printable(path)), Path::new(path)).await
        };
        let mut material = TlsMaterial::default();
        if let Some(ca) = &self.ca {
            material.set_ca(read("ca", ca).await?);
        }
        if let Some((cert, key)) = &self.identity {
            material.set_identity(read("cert", cert).await?, read("key", key).await?);
        }
        Ok(material)
    }
}

impl TlsMaterial {
    /// Trust only what these certificates signed.
    pub fn set_ca(&mut self, pem: impl Into<Vec<u8>>) {
        self.ca = Some(pem.into());
    }

    /// Show this certificate, with this key.
    pub fn set_identity(&mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) {
        self.identity = Some((certificate.into(), key.into()));
    }

    /// The authority's certificates; `None`: what the system trusts.
    #[must_use]
    pub fn ca(&self) -> Option<&[u8]> {
        self.ca.as_deref()
    }

    /// The certificate and its key.
    #[must_use]
    pub fn identity(&self) -> Option<(&[u8], &[u8])> {
        self.identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()))
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// `Invalid`: names the parameter that is wrong, and why. Nothing of a file is repeated.
    pub fn check(&self) -> Result<(), Failure> {
        if let Some(ca) = &self.ca {
            check_roots(ca).map_err(|why| Failure::invalid(format!("ca: {why}")))?;
        }
        match &self.identity {
            Some((certificate, key)) => check_identity(certificate, key).map_err(Failure::invalid),
            None => Ok(()),
        }
    }

    /// For connections that speak one of these protocols. Without an authority it reads what the
    /// system trusts from files, so call it [aside](Aside).
    ///
    /// # Errors
    /// `Invalid`: as of [`check`](Self::check).
    pub fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, Failure> {
        let unusable = |error: Error| Failure::invalid(format!("cert: {error}"));
        let mut roots = RootCertStore::empty();
        let trusted = match &self.ca {
            Some(pem) => certificates(pem).map_err(|why| Failure::invalid(format!("ca: {why}")))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(trusted);
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match &self.identity {
            Some((certificate, key)) => {
                let chain = certificates(certificate)
                    .map_err(|why| Failure::invalid(format!("cert: {why}")))?;
                let key = private_key(key).map_err(Failure::invalid)?;
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// Why a server at `host:port` closes the connection, if its certificates or ours are the
    /// reason. A request would be lost with its answer: what is unread when a connection is closed
    /// takes along what the server said. So nothing is sent here.
    pub async fn refusal(
        &self,
        address: &str,
        protocols: &'static [&'static [u8]],
    ) -> Option<String> {
        let (host, _) = address.rsplit_once(':')?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
        let material = self.clone();
        let aside = Aside::new(HEARING);
        let config = aside
            .run("reading the system's certificates", move || material.config(protocols).ok())
            .await;
        let connector = TlsConnector::from(Arc::new(config.ok()??));
        let hearing = async {
            let plain = TcpStream::connect(address).await.ok()?;
            let mut stream = match connector.connect(name, plain).await {
                Ok(stream) => stream,
                Err(error) => return Some(error.to_string()),
            };
            stream.read(&mut [0]).await.err().map(|error| error.to_string())
        };
        timeout(HEARING, hearing).await.ok().flatten()
    }
}

/// Of an authority's certificates.
fn check_roots(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates(pem)?.into_iter().enumerate() {
        let number = at + 1;
        roots.add(certificate).map_err(|error| {
            format!("certificate number {number} in it cannot be used: {error}")
        })?;
    }
    Ok(())
}

/// Of a client's certificate and its key.
fn check_identity(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain = certificates(certificate).map_err(|why| format!("cert: {why}"))?;
    match CertifiedKey::from_der(chain, private_key(key)?, &provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(_)) => {
            Err("key: it does not belong to the certificate that cert names".to_owned())
        }
        Err(error @ Error::InvalidCertificate(_)) => Err(format!("cert: {error}")),
        Err(error) => Err(format!("key: {error}")),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_error| "key: there is no private key (PEM) in it".to_owned())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err("there is no certificate (PEM) in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("it is not a valid PEM file: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_used_is_said_before_anybody_is_asked() {
        let mut odd = TlsMaterial::default();
        assert_eq!(odd.check(), Ok(()));
        assert!(odd.config(&[b"h2"]).is_ok(), "with what the system trusts");
        odd.set_ca("s3cret");
        let failure = odd.check().unwrap_err();
        assert!(failure.text.contains("ca: there is no certificate"), "{failure}");
        assert!(odd.config(&[]).is_err() && !format!("{odd:?}{failure}").contains("s3cret"));
        let files = |ca, cert, key| TlsFiles::new(ca, cert, key);
        let missing = files(Some("/no/such/file"), None, None).unwrap().read().await.unwrap_err();
        assert!(missing.text.contains("cannot read ca=/no/such/file"), "{missing}");
        let lonely = files(None, Some("/dev/null"), None).unwrap_err();
        assert!(lonely.text.contains("go together"), "{lonely}");
        let empty =
            files(None, Some("/dev/null"), Some("/dev/null")).unwrap().read().await.unwrap();
        assert!(empty.check().unwrap_err().text.contains("cert: there is no certificate"));
    }
}
