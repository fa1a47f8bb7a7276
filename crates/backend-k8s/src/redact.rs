//! The one place where errors of the client library become text. Those that quote what they could
//! not read may quote a secret: of them the place is kept, the words are dropped.

use kube::client::RustlsTlsError;
use kube::config::{KubeconfigError, LoadDataError};
use leasehold_backend::{chain, said_once};

/// What is wrong with a kubeconfig, without a word of it.
pub(crate) fn of_kubeconfig(error: &KubeconfigError) -> String {
    use KubeconfigError as Is;
    match error {
        Is::CurrentContextNotSet => "it sets no current-context: name one by context=".to_owned(),
        Is::LoadContext(name) => format!("it has no context {name:?}"),
        Is::LoadClusterOfContext(name) => {
            format!("it has no cluster {name:?}, which its context names")
        }
        Is::FindPath => "there is no home directory to look for .kube/config in".to_owned(),
        Is::ReadConfig(error, file) => format!("cannot read {}: {error}", file.display()),
        Is::Parse(error) => match error.location() {
            Some(at) => {
                format!("it is not a kubeconfig, by line {}, column {}", at.line(), at.column())
            }
            None => "it is not a kubeconfig".to_owned(),
        },
        Is::KindMismatch | Is::ApiVersionMismatch => {
            "its files are of different kinds or versions".to_owned()
        }
        Is::MissingClusterUrl => "its cluster has no server".to_owned(),
        Is::ParseClusterUrl(_) => "the server of its cluster is not a valid URL".to_owned(),
        Is::LoadCertificateAuthority(error) => of_data("certificate-authority", error),
        Is::LoadClientCertificate(error) => of_data("client-certificate", error),
        Is::LoadClientKey(error) => of_data("client-key", error),
        Is::ParseCertificates(_) => "its certificate-authority is not PEM".to_owned(),
        _ => "it cannot be used".to_owned(),
    }
}

fn of_data(field: &str, error: &LoadDataError) -> String {
    match error {
        LoadDataError::DecodeBase64(_) => format!("its {field}-data is not base64"),
        LoadDataError::ReadFile(error, file) => {
            format!("cannot read its {field} {}: {error}", file.display())
        }
        LoadDataError::NoBase64DataOrFile => {
            "its user has only one of client-certificate and client-key".to_owned()
        }
    }
}

/// Why no client can be made of a configuration.
pub(crate) fn of_client(error: &kube::Error) -> String {
    use RustlsTlsError as Is;
    let text = match error {
        kube::Error::InferKubeconfig(error) => return of_kubeconfig(error),
        kube::Error::RustlsTls(error) => match error {
            Is::InvalidIdentityPem(_) => "the client's certificate or key is not PEM",
            Is::MissingPrivateKey => "the client's key is not a PKCS8 or PKCS1 key in PEM",
            Is::MissingCertificate => "the client's certificate holds none",
            Is::InvalidPrivateKey(_) | Is::UnknownPrivateKeyFormat => {
                "the client's key cannot be used"
            }
            Is::AddRootCertificate(_) | Is::NoValidNativeRootCA(_) => {
                "no certificate of the certificate-authority can be used"
            }
            Is::InvalidServerName(_) => "tls-server-name is not a valid name of a server",
        },
        kube::Error::HttpError(_) => {
            "a user, group or other field to impersonate is not a valid header"
        }
        _ => "the configuration cannot be used",
    };
    text.to_owned()
}

/// What an error of the connection says, and its sources, once each; the innermost last. None of
/// them quotes a request or an answer.
pub(crate) fn of_way(error: &kube::Error) -> Vec<String> {
    said_once(chain(Some(error)).map(|error| match error.downcast_ref::<serde_json::Error>() {
        Some(error) => of_json(error),
        None => error.to_string(),
    }))
}

/// Where something stopped being JSON, without a word of it.
pub(crate) fn of_json(error: &serde_json::Error) -> String {
    format!("not the JSON that was expected, by line {}, column {}", error.line(), error.column())
}
