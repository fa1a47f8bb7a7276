//! Where the API server is and who asks it: a kubeconfig, found and read by the rules of kubectl,
//! or the service account of the pod.

use std::path::{Path, PathBuf};

use http::{HeaderValue, Uri};
use kube::Config;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, Kubeconfig};
use leasehold_core::{host_name, printable, read_small_file};

use crate::plugin::{Plugin, bearer};
use crate::proxy::{Environment, loses_password, names_a_host, proxy_for};
use crate::redact;

/// Where the environment of a pod says that the API server is.
const IN_CLUSTER: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/// The ways to log in that kubectl had built in once.
const PROVIDERS: [&str; 4] = ["azure", "gcp", "oidc", "openstack"];

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A cluster, and how to log in to it.
pub(crate) struct Found {
    /// Without what is in `login`.
    pub(crate) config: Config,
    pub(crate) login: Login,
}

/// What a request says about who sends it. A client certificate is a part of the connection
/// instead.
#[derive(Clone)]
pub(crate) enum Login {
    Nothing,
    Header(HeaderValue),
    /// A file with a token, which somebody replaces from time to time.
    File(PathBuf),
    Plugin(std::sync::Arc<Plugin>),
}

/// What somebody chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
}

impl Choice {
    /// What the files and the environment say now. Reads files, so call it aside.
    pub(crate) fn found(&self) -> Result<Found, String> {
        found(self, &|name| std::env::var(name).ok())
    }
}

/// The name of the pod that this process runs in, if it does: that of its host (with
/// `hostNetwork`, the node's).
pub(crate) fn pod() -> Option<String> {
    std::env::var_os(IN_CLUSTER[0]).map(|_| host_name())
}

/// Looks where it must: what was chosen, else `KUBECONFIG`, else the pod's service account, else
/// `~/.kube/config`.
///
/// # Errors
/// A sentence that says what is wrong, without a word of what was read.
fn found(choice: &Choice, environment: Environment<'_>) -> Result<Found, String> {
    let is_pod = environment(IN_CLUSTER[0]).is_some_and(|host| !host.is_empty());
    let (kubeconfig, files) = match &choice.kubeconfig {
        Some(file) => (Some(read(file)?), vec![file.to_owned()]),
        None => {
            let files = listed(environment);
            (merged(&files)?, files)
        }
    };
    let chosen = choice.context.is_some();
    let kubeconfig = match kubeconfig {
        Some(kubeconfig) => kubeconfig,
        None if is_pod && !chosen => {
            if !files.is_empty() {
                tracing::warn!(
                    "KUBECONFIG names no file that exists: the pod's service account is used"
                );
            }
            return in_cluster(environment, Path::new(ACCOUNT));
        }
        None if files.is_empty() => {
            let home = environment("HOME").map(PathBuf::from).or_else(std::env::home_dir);
            let home = home.ok_or("there is no home directory to look for .kube/config in")?;
            read(&home.join(".kube/config"))?
        }
        None => return Err(format!("cannot read {}: no such file", names(&files))),
    };
    of_kubeconfig(kubeconfig, choice.context.as_deref(), environment)
}

/// The files of `KUBECONFIG`.
fn listed(environment: Environment<'_>) -> Vec<PathBuf> {
    let list = environment("KUBECONFIG").unwrap_or_default();
    std::env::split_paths(&list).filter(|file| !file.as_os_str().is_empty()).collect()
}

/// The first file to set something wins; those that are missing are left out.
fn merged(files: &[PathBuf]) -> Result<Option<Kubeconfig>, String> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files.iter().filter(|file| !is_missing(file)) {
        let next = read(file)?;
        merged = Some(match merged {
            None => next,
            Some(before) => before
                .merge(next)
                .map_err(|error| format!("{}: {}", names(files), redact::of_kubeconfig(&error)))?,
        });
    }
    Ok(merged)
}

fn is_missing(file: &Path) -> bool {
    matches!(file.try_exists(), Ok(false))
}

fn read(file: &Path) -> Result<Kubeconfig, String> {
    // The client library reads it once more, to whatever end it has.
    read_small_file(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Kubeconfig::read_from(file).map_err(|error| {
        let text = redact::of_kubeconfig(&error);
        let name = file.display().to_string();
        if text.contains(&name) { text } else { format!("{name}: {text}") }
    })
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    printable(&names.join(", ")).to_string()
}

/// What a context of a kubeconfig says.
fn of_kubeconfig(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
    environment: Environment<'_>,
) -> Result<Found, String> {
    let name = context.map(str::to_owned).or(kubeconfig.current_context);
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or("it sets no current-context: name one by context=")?;
    let context = kubeconfig.contexts.into_iter().find(|context| context.name == name);
    let context = context.and_then(|named| named.context);
    let context = context.ok_or_else(|| format!("it has no context {name:?}"))?;
    let cluster = kubeconfig.clusters.into_iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster);
    let cluster = cluster.ok_or_else(|| {
        format!("it has no cluster {:?}, which its context names", context.cluster)
    })?;
    let user =
        kubeconfig.auth_infos.into_iter().find(|named| Some(&named.name) == context.user.as_ref());
    let mut user = user.and_then(|named| named.auth_info).unwrap_or_default();
    let known =
        ExecAuthCluster::try_from(&cluster).map_err(|error| redact::of_kubeconfig(&error))?;
    let (server, basic) = server(&cluster, &user)?;
    let mut config = Config::new(server);
    if let Some((name, password)) = basic {
        user.username = user.username.or(Some(name));
        user.password = user.password.or(Some(password.into()));
    }
    let namespace = context.namespace.filter(|namespace| !namespace.is_empty());
    config.default_namespace = namespace.unwrap_or_else(|| "default".to_owned());
    config.root_cert = known.certificate_authority_data.as_deref().map(certificates).transpose()?;
    if cluster.certificate_authority_data.is_none() {
        // Whoever rotates it replaces the file.
        config.root_cert_file = cluster.certificate_authority.clone().map(PathBuf::from);
    }
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name.clone();
    config.proxy_url = proxy_for(&config.cluster_url, cluster.proxy_url.as_deref(), environment)?;
    if config.proxy_url.as_ref().is_some_and(loses_password) {
        tracing::warn!("the user and password of a socks5 proxy are not sent to it");
    }
    for (field, path) in [
        ("certificate-authority", &cluster.certificate_authority),
        ("client-certificate", &user.client_certificate),
        ("client-key", &user.client_key),
    ] {
        path.as_deref().map_or(Ok(()), |path| can_be_read(field, path))?;
    }
    let login = login(&mut user, known)?;
    config.auth_info = user;
    Ok(Found { config, login })
}

/// The client library reads the file that this field names, to whatever end it has.
fn can_be_read(field: &str, path: &str) -> Result<(), String> {
    // Pasted where a path belongs: not repeated.
    if path.contains("-----BEGIN") || path.contains('\n') {
        return Err(format!(
            "its {field} is not the path of a file but what such a file holds: that belongs in \
             {field}-data, as base64"
        ));
    }
    use std::io::ErrorKind::{FileTooLarge, InvalidInput};
    match read_small_file(Path::new(path)) {
        Err(error) if matches!(error.kind(), FileTooLarge | InvalidInput) => {
            Err(format!("cannot read its {field} {}: {error}", printable(path)))
        }
        // Anything else is said when the client is made.
        _ => Ok(()),
    }
}

/// The URL, and the user and password in it. Without a scheme it is as secure as the rest lets
/// expect.
fn server(cluster: &Cluster, user: &AuthInfo) -> Result<(Uri, Option<(String, String)>), String> {
    let wrong = || "the server of its cluster is not a valid URL".to_owned();
    let text = cluster.server.as_deref().unwrap_or_default().trim();
    if text.is_empty() {
        return Err("its cluster has no server".to_owned());
    }
    let is_tls = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true)
        || user.client_certificate.is_some()
        || user.client_certificate_data.is_some();
    let (scheme, rest) =
        text.split_once("://").unwrap_or((if is_tls { "https" } else { "http" }, text));
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    let scheme = scheme.to_ascii_lowercase();
    let uri: Uri = format!("{scheme}://{host}{path}").parse().map_err(|_invalid| wrong())?;
    if !matches!(scheme.as_str(), "http" | "https") || !names_a_host(&uri) {
        return Err(wrong());
    }
    let login = login.map(|login| {
        let (name, password) = login.split_once(':').unwrap_or((login, ""));
        (decoded(name), decoded(password))
    });
    Ok((uri, login))
}

/// `%40` is `@`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found = pem::parse_many(bytes)
        .map_err(|_may_be_anything| "its certificate-authority is not PEM")?;
    let found = found.into_iter().filter(|found| found.tag() == "CERTIFICATE");
    let found: Vec<Vec<u8>> = found.map(pem::Pem::into_contents).collect();
    if found.is_empty() {
        return Err("its certificate-authority holds no certificate".to_owned());
    }
    Ok(found)
}

/// Takes out of a user what is sent as a header, so that the client library neither runs nor reads
/// anything itself. A file goes before a token, and both before a password and a plugin, as in
/// kubectl.
fn login(user: &mut AuthInfo, cluster: ExecAuthCluster) -> Result<Login, String> {
    let (token, file) = (user.token.take(), user.token_file.take());
    let (exec, provider) = (user.exec.take(), user.auth_provider.take());
    let mut text = None;
    if let Some(token) = token {
        // Its own type shows it to nobody else.
        let shown = AuthInfo { token: Some(token), ..AuthInfo::default() };
        let shown = serde_json::to_value(&shown).unwrap_or_default();
        text = shown["token"].as_str().map(|text| text.trim().to_owned());
    }
    let text = text.filter(|text| !text.is_empty());
    let file = file.filter(|file| !file.is_empty()).map(PathBuf::from);
    let is_basic = user.username.as_ref().is_some_and(|name| !name.is_empty());
    if text.is_some() || file.is_some() {
        (user.username, user.password) = (None, None);
    }
    match (file, text) {
        (Some(file), None) => Ok(Login::File(file)),
        (Some(file), Some(_)) if file_token(&file).is_ok() => Ok(Login::File(file)),
        (_, Some(text)) => {
            bearer(&text).map(Login::Header).map_err(|why| format!("the token of its user {why}"))
        }
        (None, None) if is_basic => Ok(Login::Nothing),
        (None, None) => match (exec, provider) {
            (Some(mut exec), _) => {
                exec.cluster = Some(cluster);
                Ok(Login::Plugin(Plugin::of(&exec)?.into()))
            }
            (None, Some(provider)) => match provider.config.get("id-token") {
                Some(token) if provider.name == "oidc" => bearer(token)
                    .map(Login::Header)
                    .map_err(|why| format!("the id-token of its user {why}")),
                _ => {
                    // Any other name may be a secret that was put in the wrong place.
                    let known = PROVIDERS.into_iter().find(|known| *known == provider.name);
                    let shown = known.map(|name| format!(" ({name})")).unwrap_or_default();
                    Err(format!(
                        "the auth-provider of its user{shown} cannot be used: use a credential \
                         plugin (exec)"
                    ))
                }
            },
            (None, None) => Ok(Login::Nothing),
        },
    }
}

/// What a file with a token says now.
///
/// # Errors
/// A sentence without a word of it.
pub(crate) fn file_token(file: &Path) -> Result<HeaderValue, String> {
    let text = read_small_file(file)
        .and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other))
        .map_err(|error| format!("cannot read the token of {}: {error}", file.display()))?;
    if text.trim().is_empty() {
        return Err(format!("there is no token in {}", file.display()));
    }
    bearer(&text).map_err(|why| format!("the token of {} {why}", file.display()))
}

/// The service account of this pod.
fn in_cluster(environment: Environment<'_>, account: &Path) -> Result<Found, String> {
    let [host, port] = IN_CLUSTER.map(|name| environment(name).unwrap_or_default());
    let wrong =
        || format!("{} and {} do not say where the API server is", IN_CLUSTER[0], IN_CLUSTER[1]);
    let port: u16 = port.trim().parse().map_err(|_not_a_port| wrong())?;
    let host = host.trim().trim_matches(['[', ']']);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let server: Uri = format!("https://{host}:{port}").parse().map_err(|_invalid| wrong())?;
    let token = account.join("token");
    if is_missing(&token) {
        return Err(format!(
            "{} is set, and this pod has no token of a service account ({}): let \
             automountServiceAccountToken be true for the pod and its service account, or name a \
             kubeconfig",
            IN_CLUSTER[0],
            token.display()
        ));
    }
    let mut config = Config::new(server);
    let namespace = read_small_file(&account.join("namespace")).ok();
    let namespace = namespace.and_then(|bytes| String::from_utf8(bytes).ok());
    let namespace = namespace.or_else(|| environment("POD_NAMESPACE"));
    let namespace = namespace.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    config.default_namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let authority = account.join("ca.crt");
    match read_small_file(&authority) {
        Ok(bytes) => {
            config.root_cert = Some(
                certificates(&bytes).map_err(|why| format!("{}: {why}", authority.display()))?,
            );
            config.root_cert_file = Some(authority);
        }
        Err(error) => {
            tracing::warn!(%error, "the pod has no ca.crt: the system's certificates are trusted");
        }
    }
    Ok(Found { config, login: Login::File(token) })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
