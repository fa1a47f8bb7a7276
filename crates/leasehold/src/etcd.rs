//! The lock in etcd.

use std::env;
use std::path::Path;

use async_trait::async_trait;
use leasehold_core::{Error, LockBackend, Token, printable, read_small_file};
pub use leasehold_etcd::*;
use percent_encoding::percent_decode_str;

use crate::lock_url::{LockUrl, for_one_lock, invalid};
use crate::opened::{Listed, Opened, StoreUrl};

const PARAMETERS: &[&str] =
    &["user", "password_env", "password_file", "ca", "cert", "key", "token_floor"];

/// The port of an endpoint that names none.
const PORT: u16 = 2379;

/// An `etcd:` or `etcds:` URL, parsed: `etcd://h1:2379,h2:2379/jobs/nightly`.
///
/// The hosts are members of one cluster; name all of them, so that one may fail. The path without
/// its first slash is the name of the election, as `etcdctl elect` takes it (`etcd://h//jobs` for a
/// name that begins with a slash). `etcds:` uses TLS.
///
/// | parameter | |
/// |---|---|
/// | `user` | log in as this user (or `etcd://user@host/…`) |
/// | `password_env` | the environment variable with its password |
/// | `password_file` | the file with its password; a newline at its end is ignored; read at every login |
/// | `ca` | PEM file: trust only what it signed (else what the system trusts) |
/// | `cert`, `key` | PEM files: show this certificate |
/// | `token_floor` | tokens up to this may have been used; nobody contends before the store's revision is above it |
#[derive(Clone, Debug)]
pub struct EtcdUrl {
    members: EtcdOptions,
    name: String,
    token_floor: Option<Token>,
}

impl TryFrom<&LockUrl> for EtcdUrl {
    type Error = Error;

    /// Reads the files and the variable that the parameters name. Fails with `Invalid` for an
    /// unknown parameter, no host, a file that cannot be read, or parameters that do not fit
    /// together.
    fn try_from(url: &LockUrl) -> Result<Self, Error> {
        url.allow_parameters(PARAMETERS)?;
        Ok(Self { members: members(url)?, name: url.name()?, token_floor: url.token_floor()? })
    }
}

impl EtcdUrl {
    /// Opens the lock. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: the name cannot be an election's, or an option is malformed.
    pub fn lock(self) -> Result<EtcdLock, Error> {
        let lock = self.members.build()?.lock(&self.name)?;
        match self.token_floor {
            Some(floor) => lock.token_floor(floor),
            None => Ok(lock),
        }
    }
}

#[async_trait]
impl StoreUrl for EtcdUrl {
    async fn open(self: Box<Self>) -> Result<Opened, Error> {
        Ok(Opened::new(self.lock()?))
    }

    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error> {
        for_one_lock("token_floor", self.token_floor.is_some())?;
        let mut found = Vec::new();
        for lock in self.members.build()?.elections(&self.name).await? {
            found.push(Listed { name: lock.name().to_owned(), observed: lock.read().await });
        }
        Ok(found)
    }
}

/// The members that the URL names, and how to reach them.
fn members(url: &LockUrl) -> Result<EtcdOptions, Error> {
    let authority = url.authority().unwrap_or_default();
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    // An '@' that was written as %40 is no end of a login: "u:password%40h" would be taken for a host and its port.
    if has_hidden_login(hosts) {
        return Err(invalid(
            "a host looks like a login: write user:password@host with a plain '@' before the host, and %40 for an '@' in the password itself"
                .to_owned(),
        ));
    }
    if login.is_some_and(|login| login.contains(['@', ','])) {
        return Err(invalid(
            "the login (user:password@) stands once, before the first host; in it write %40 for '@' and %2C for ','"
                .to_owned(),
        ));
    }
    let hosts: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
    if hosts.is_empty() {
        return Err(invalid("it names no host; write etcd://host:2379/jobs/nightly".to_owned()));
    }
    let mut options = Etcd::options(hosts.into_iter().map(with_port));
    if let Some((user, password)) = credentials(url, login)? {
        options = match url.parameter("password_file").map(str::to_owned) {
            // Read at every login: whoever rotates the password replaces the file.
            Some(file) => {
                options.user_with(user, move || from_file(&file).map_err(|e| e.to_string()))
            }
            None => options.user(user, password),
        };
    }
    with_tls(url, options)
}

/// Whether what stands in the place of hosts holds an escaped '@', which no host does.
fn has_hidden_login(hosts: &str) -> bool {
    percent_decode_str(hosts).any(|byte| byte == b'@')
}

fn with_port(host: &str) -> String {
    let has_port = match host.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => host.contains(':'),
    };
    if has_port { host.to_owned() } else { format!("{host}:{PORT}") }
}

/// Who logs in, and with what. A password is never repeated in a message.
fn credentials(url: &LockUrl, login: Option<&str>) -> Result<Option<(String, String)>, Error> {
    let decoded = |text: &str, what: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(Into::into).map_err(|_error| invalid(format!("the {what} is not UTF-8")))
    };
    let (in_url, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => {
            (Some(decoded(user, "user")?), Some(decoded(password, "password")?))
        }
        None => (None, None),
    };
    let password: Option<String> = password.filter(|password: &String| !password.is_empty());
    let user: Option<String> = match (in_url, url.parameter("user")) {
        (Some(_), Some(_)) => {
            return Err(invalid("the user is named twice: before the '@' and by user=".to_owned()));
        }
        (user, None) => user,
        (None, Some(user)) => Some(user.to_owned()),
    };
    let passwords = [
        password,
        url.parameter("password_env").map(from_environment).transpose()?,
        url.parameter("password_file").map(from_file).transpose()?,
    ];
    let mut passwords = passwords.into_iter().flatten();
    match (user, passwords.next(), passwords.next()) {
        (_, _, Some(_)) => Err(invalid("the password is given twice".to_owned())),
        (None, None, None) => Ok(None),
        (None, Some(_), None) => {
            Err(invalid("there is a password and no user: add user=NAME".to_owned()))
        }
        (Some(_), None, None) => Err(invalid(
            "there is a user and no password: add password_file=PATH or password_env=NAME"
                .to_owned(),
        )),
        (Some(user), Some(password), None) => Ok(Some((user, password))),
    }
}

fn from_environment(name: &str) -> Result<String, Error> {
    // The name itself may be the password, put there by mistake.
    env::var(name).map_err(|_error| {
        invalid("password_env names a variable that is not there, or is not UTF-8".to_owned())
    })
}

fn from_file(path: &str) -> Result<String, Error> {
    let bytes = read_small_file(Path::new(path)).map_err(|error| {
        invalid(format!("cannot read the file that password_file names: {error}"))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_error| invalid("the file that password_file names is not UTF-8".to_owned()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn with_tls(url: &LockUrl, mut options: EtcdOptions) -> Result<EtcdOptions, Error> {
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| url.parameter(name));
    if url.scheme() != "etcds" {
        return match [ca, cert, key].iter().flatten().next() {
            Some(_) => Err(invalid("ca, cert and key are for TLS: write etcds://".to_owned())),
            None => Ok(options),
        };
    }
    options = options.tls();
    if let Some(ca) = ca {
        options = options.ca(read("ca", ca)?);
    }
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(options.identity(read("cert", cert)?, read("key", key)?)),
        (None, None) => Ok(options),
        _ => Err(invalid("cert and key go together: one of them is missing".to_owned())),
    }
}

fn read(parameter: &str, path: &str) -> Result<Vec<u8>, Error> {
    read_small_file(Path::new(path))
        .map_err(|error| invalid(format!("cannot read {parameter}={}: {error}", printable(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str) -> Result<EtcdLock, Error> {
        EtcdUrl::try_from(&LockUrl::parse(url)?)?.lock()
    }

    #[test]
    fn a_url_names_members_and_an_election() {
        for (url, name) in [
            ("etcd://h1,h2:1/jobs/nightly", "etcd://h1:2379,h2:1/jobs/nightly"),
            ("etcd://[::1]/a", "etcd://[::1]:2379/a"),
            ("etcd://h//a?token_floor=7", "etcd://h:2379//a"),
            ("etcd://h/a%2Fb%20c", "etcd://h:2379/a/b c"),
        ] {
            assert_eq!(opened(url).unwrap().name(), name);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, says) in [
            ("etcd:jobs", "names no host"),
            ("etcd://h", "names no election"),
            ("etcd://h/registry/x", "Kubernetes"),
            ("etcd://h/a?ttl=3", "unknown parameter \"ttl\""),
            ("etcd://h/a?password=x", "unknown parameter \"password\""),
            ("etcd://h/a?ca=/x", "etcds://"),
            ("etcds://h/a?ca=/no/such/file", "/no/such/file"),
            ("etcds://h/a?cert=/dev/null", "go together"),
            ("etcd://u@h/a", "no password"),
            ("etcd://u@h/a?password_env=s3cret", "password_env names a variable that is not there"),
            ("etcd://u@h/a?password_file=s3cret", "that password_file names: No such file"),
            ("etcd://a:1,u:s3cret@h:1/x", "stands once, before the first host"),
            ("etcd://u:s3cret@a:1,u:s3cret@b:2/x", "stands once, before the first host"),
            ("etcds://h/a?ca=/dev/null", "ca: there is no certificate"),
            ("etcds://h/a?cert=/dev/null&key=/dev/null", "cert: there is no certificate"),
            ("etcd://h/a?password_file=/dev/null", "no user"),
            ("etcd://u:p@h/a?user=v", "twice"),
            ("etcd://u:p@h/a?password_file=/dev/null", "given twice"),
            ("etcd://h/a?token_floor=x", "token_floor"),
            ("etcd://h:0/a", "host:port"),
            (
                "etcd://[::1/x",
                "cannot open the lock: endpoint 1 is not a valid endpoint: no ']' closes",
            ),
            ("etcd://h,[::1:2379/x", "endpoint 2 is not a valid endpoint"),
            ("etcd://u:s3cret%40h/x", "is not HOST or HOST:PORT"),
            ("etcds://u:s3cret%40h:2379/x", "is not HOST or HOST:PORT"),
            ("etcd://h1,u:s3cret%40h/x", "is not HOST or HOST:PORT"),
            ("etcd://u:s3cret/x", "is not HOST or HOST:PORT"),
            ("etcd://s3cret%2Fh:1/x", "is not HOST or HOST:PORT"),
            ("etcd://u:s3cret,h:1/x", "is not HOST or HOST:PORT"),
        ] {
            let error = opened(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{url}: {error}");
            let debug = format!("{:?}", opened(url).unwrap_err());
            assert!(!debug.contains("s3cret"), "{url}: {debug}");
        }
    }

    #[test]
    fn a_password_is_read_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let url = format!("etcd://me@h/a?password_file={}", file.display());
        let lock = opened(&url).unwrap();
        assert!(!format!("{lock:?}{}", lock.name()).contains("s3cret"));
        let parsed = LockUrl::parse(&url).unwrap();
        assert_eq!(
            credentials(&parsed, Some("me")).unwrap(),
            Some(("me".to_owned(), "s3cret".to_owned()))
        );
        let lock = opened("etcd://me:s3%40cret@h/a").unwrap();
        assert!(!format!("{lock:?}{}", lock.name()).contains("s3"));
    }
}
