//! What the URLs of networked stores share: hosts, the login before them, and files for TLS.

use leasehold_backend::tls::TlsFiles;
use leasehold_backend::{Login, LoginParts};
use leasehold_core::Error;
use percent_encoding::percent_decode_str;

use crate::lock_url::{LockUrl, invalid};

/// What is being done when a URL is taken apart, for errors.
pub(crate) const USE: &str = "use the lock URL";

/// The part of a URL that names hosts: `user:password@h1,h2:2379`.
#[derive(Default)]
pub(crate) struct Authority<'a> {
    login: Option<&'a str>,
    /// Each with a port.
    pub(crate) hosts: Vec<String>,
}

impl<'a> Authority<'a> {
    /// `form` is how such a URL is written; `port` is that of a host that names none.
    ///
    /// # Errors
    /// `Invalid`: it names no host, or what looks like a login stands where none belongs.
    pub(crate) fn of(url: &'a LockUrl, form: &str, port: u16) -> Result<Self, Error> {
        let authority = url.authority().unwrap_or_default();
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        // An '@' that was written as %40 is no end of a login: "u:password%40h" would be taken for
        // a host and its port.
        if percent_decode_str(hosts).any(|byte| byte == b'@') {
            return Err(invalid(
                "a host looks like a login: write user:password@host with a plain '@' before the \
                 host, and %40 for an '@' in the password itself"
                    .to_owned(),
            ));
        }
        if login.is_some_and(|login| login.contains(['@', ','])) {
            return Err(invalid(
                "the login (user:password@) stands once, before the first host; in it write %40 \
                 for '@' and %2C for ','"
                    .to_owned(),
            ));
        }
        let hosts: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
        if hosts.is_empty() {
            return Err(invalid(format!("it names no host; write {form}")));
        }
        Ok(Self { login, hosts: hosts.into_iter().map(|host| with_port(host, port)).collect() })
    }

    /// Who logs in, and with what. A password is never repeated in a message. With a `default_user`
    /// a password alone is that user's.
    ///
    /// # Errors
    /// `Invalid`: a part is given twice, is missing or is not UTF-8.
    pub(crate) fn login(
        &self,
        url: &LockUrl,
        default_user: Option<&str>,
    ) -> Result<Option<Login>, Error> {
        let decoded = |text: &str, what: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).map_err(|_error| invalid(format!("the {what} is not UTF-8")))
        };
        let (user, password) = match self.login {
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let is_default = user.is_empty() && default_user.is_some();
                let user = Some(decoded(user, "user")?).filter(|_| !is_default);
                (user, Some(decoded(password, "password")?))
            }
            None => (None, None),
        };
        let parts = LoginParts {
            user_before_host: user.as_deref(),
            password_before_host: password.as_deref(),
            user: url.parameter("user"),
            password_env: url.parameter("password_env"),
            password_file: url.parameter("password_file"),
            default_user,
        };
        Login::of_url(parts).map_err(|failure| failure.during(USE))
    }
}

fn with_port(host: &str, port: u16) -> String {
    let has_port = match host.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => host.contains(':'),
    };
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

/// The files for TLS; `None` without TLS, where `cure` ends the sentence "ca, cert and key are for
/// TLS".
///
/// # Errors
/// `Invalid`: files without TLS, or a certificate without its key.
pub(crate) fn tls(url: &LockUrl, is_secure: bool, cure: &str) -> Result<Option<TlsFiles>, Error> {
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| url.parameter(name));
    if is_secure {
        let files = TlsFiles::new(ca, cert, key).map_err(|failure| failure.during(USE))?;
        return Ok(Some(files));
    }
    match ca.or(cert).or(key) {
        Some(_) => Err(invalid(format!("ca, cert and key are for TLS{cure}"))),
        None => Ok(None),
    }
}
