//! Certificates and keys: whether they can be used, before anybody is asked, and what a server has against them. The
//! library that speaks TLS tells the one at every connection, as if the network were at fault, and often loses the other.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a server may take to refuse.
const HEARING: Duration = Duration::from_secs(1);

/// What a connection shows, and whom it trusts.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// Without it: what the system trusts.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// Whether it can be used: the parameter that is wrong, and why. Nothing of a file is repeated.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(ca) = &self.ca {
            check_roots(ca).map_err(|why| format!("ca: {why}"))?;
        }
        match &self.identity {
            Some((certificate, key)) => check_identity(certificate, key),
            None => Ok(()),
        }
    }

    /// Why a server closes the connection, if its certificates or ours are the reason. A request would be lost with its
    /// answer: what is unread when a connection is closed takes along what the server said. So nothing is sent here.
    pub(crate) async fn refusal(&self, member: &str) -> Option<String> {
        let (host, _) = member.strip_prefix("https://")?.rsplit_once(':')?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
        let connector = TlsConnector::from(Arc::new(self.config()?));
        let hearing = async {
            let address = member.strip_prefix("https://")?;
            let plain = TcpStream::connect(address).await.ok()?;
            let mut stream = match connector.connect(name, plain).await {
                Ok(stream) => stream,
                Err(error) => return Some(error.to_string()),
            };
            stream.read(&mut [0]).await.err().map(|error| error.to_string())
        };
        timeout(HEARING, hearing).await.ok().flatten()
    }

    fn config(&self) -> Option<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let trusted = match &self.ca {
            Some(pem) => certificates(pem).ok()?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(trusted);
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder =
            builder.with_safe_default_protocol_versions().ok()?.with_root_certificates(roots);
        let mut config = match &self.identity {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).ok()?;
                builder.with_client_auth_cert(certificates(certificate).ok()?, key).ok()?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(config)
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
