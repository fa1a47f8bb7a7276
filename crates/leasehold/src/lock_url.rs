//! Lock URLs: `scheme:path?parameter=value`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;

use leasehold_core::{Error, ErrorKind, redacted};
use percent_encoding::percent_decode_str;

/// The longest name that every store takes, in bytes: that of an object in Kubernetes.
const LONGEST_NAME: usize = 253;

/// A parsed lock URL. Its parts are percent-decoded; `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct LockUrl {
    scheme: String,
    authority: Option<String>,
    path: Vec<u8>,
    parameters: Vec<(String, String)>,
}

impl LockUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// `Invalid`, with what is wrong and where. Never repeats a password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        if url.trim() != url || url.contains(char::is_control) {
            return Err(invalid(
                "it begins or ends with white space, or has a control character in it, such as a \
                 newline; in a name write %20 for a space and %0A for a newline"
                    .to_owned(),
            ));
        }
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(invalid(
                "it has no scheme; a lock URL looks like file:/var/lock/jobs.lock".to_owned(),
            ));
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(valid) {
            // Not repeated: it may be anything, and a part of a password.
            return Err(invalid(
                "what precedes the ':' is not a URL scheme; a lock URL looks like \
                 file:/var/lock/jobs.lock"
                    .to_owned(),
            ));
        }
        if rest.contains('#') {
            return Err(invalid(
                "'#' is not allowed in a lock URL; write %23 for one in a name".into(),
            ));
        }
        check_credentials(scheme, rest)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let slash = rest.find('/').unwrap_or(rest.len());
                (Some(rest[..slash].to_owned()), &rest[slash..])
            }
            None => (None, rest),
        };
        let path = decode("the path", path)?;
        let parameters = query.map_or(Ok(Vec::new()), parse_query)?;
        Ok(Self { scheme: scheme.to_ascii_lowercase(), authority, path, parameters })
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether the text of a URL carries a password, or may: before the `@`, in whatever encoding,
    /// where no `@` shows its end, or as a parameter such as `password`. On a command line
    /// everybody on the machine can read it.
    #[must_use]
    pub fn shows_password(url: &str) -> bool {
        let Some((scheme, rest)) = url.trim().split_once(':') else { return false };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A reserved character in a password may have ended the place too early.
        let in_query = query.split(['&', '?', '#', ';']).any(names_secret);
        let in_place = may_hold_login(rest.trim_start_matches('/'), place)
            // Without the slashes what precedes the '@' is no user alone: `u:password@h`.
            || !rest.starts_with("//") && place.contains('@');
        in_query || !is_local(scheme) && in_place
    }

    /// The text of a URL as it may be shown: with nothing behind the scheme, if it shows a
    /// password.
    #[must_use]
    pub fn shown(url: &str) -> Cow<'_, str> {
        if !Self::shows_password(url) {
            return redacted(url);
        }
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let known = scheme.len() < 20
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
        Cow::Owned(if known { format!("{scheme}://…") } else { "…".to_owned() })
    }

    /// The URL of a lock next to the one that `url` names: its path goes on with a dot and `name`,
    /// which is escaped. A name that gets too long for some store is cut first.
    #[must_use]
    pub fn beside(url: &str, name: &str) -> String {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (url, String::new()),
        };
        let name = Self::escape(name);
        let room = LONGEST_NAME.saturating_sub(name.len() + 1);
        // A path without a slash begins after the scheme.
        let (before, last) = path.split_at(path.rfind(['/', ':']).map_or(0, |at| at + 1));
        if last.len() > room && last.is_ascii() && !last.contains('%') {
            let kept = last[..room].trim_end_matches(['.', '-']);
            return format!("{before}{kept}.{name}{query}");
        }
        format!("{path}.{name}{query}")
    }

    /// A name as part of a URL's path.
    #[must_use]
    pub fn escape(name: &str) -> String {
        let escaped = |byte: u8| {
            let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        };
        name.bytes().map(escaped).collect()
    }

    /// The path, percent-decoded.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(os_string(&self.path))
    }

    /// The path as a name, without the slash that it begins with, for stores whose names are text.
    ///
    /// # Errors
    /// `Invalid`: it is not UTF-8.
    pub fn name(&self) -> Result<String, Error> {
        let path = std::str::from_utf8(&self.path);
        let path = path.map_err(|_not_text| invalid("the name is not UTF-8".to_owned()))?;
        Ok(path.strip_prefix('/').unwrap_or(path).to_owned())
    }

    /// The part between `//` and the path, still encoded; `None` without `//`.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Checks that every parameter is known and given once.
    ///
    /// # Errors
    /// `Invalid`: names the parameter, and those that exist.
    pub fn allow_parameters(&self, known: &[&str]) -> Result<(), Error> {
        for (at, (name, _)) in self.parameters.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(invalid(format!(
                    "unknown parameter {name:?} for {}: URLs; known: {known}",
                    self.scheme
                )));
            }
            if self.parameters[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(invalid(format!("the parameter {name:?} is given twice")));
            }
        }
        Ok(())
    }

    /// A parameter's value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The parameter `token_floor`: tokens are minted above it.
    ///
    /// # Errors
    /// `Invalid`: not a whole number.
    pub fn token_floor(&self) -> Result<Option<u64>, Error> {
        let Some(value) = self.parameter("token_floor") else { return Ok(None) };
        // It may be a secret that was put in the wrong place.
        value.parse().map(Some).map_err(|_error| {
            invalid("token_floor is not a whole number of at most 2^63 - 2".to_owned())
        })
    }
}

impl std::fmt::Debug for LockUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:…", self.scheme)
    }
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

/// Names of files are text here.
#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

pub(crate) fn invalid(why: String) -> Error {
    Error::new(ErrorKind::Invalid, "use the lock URL", why)
}

/// A parameter that has no meaning where locks are listed.
#[allow(dead_code, reason = "a build without any store that can be listed does not call it")]
pub(crate) fn for_one_lock(parameter: &str, is_given: bool) -> Result<(), Error> {
    if is_given {
        return Err(invalid(format!(
            "the parameter {parameter:?} is for one lock: leave it out to list"
        )));
    }
    Ok(())
}

/// Schemes whose URLs name no host: there an `@` is a character like others.
fn is_local(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("file") || scheme.eq_ignore_ascii_case("mem")
}

/// Whether this parameter (`name=value`) holds a secret, by its name.
fn names_secret(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let name = percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    let references = ["password_env", "password_file", "token_floor"];
    let is_reference = references.contains(&name.strip_prefix("sentinel_").unwrap_or(&name));
    let words = ["pass", "pwd", "secret", "token", "credential", "apikey", "api_key", "auth"];
    !value.is_empty() && !is_reference && words.iter().any(|word| name.contains(word))
}

/// Whether a login with a password, or the beginning of one, is a part of `rest`, of which the part
/// before the query is `place`.
fn may_hold_login(rest: &str, place: &str) -> bool {
    let place = place.trim_start_matches('/');
    let authority = &place[..place.find('/').unwrap_or(place.len())];
    let after = &rest[authority.len()..];
    if !are_hosts(authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts)) {
        return true;
    }
    // An empty password with another '@' behind it was cut short by a reserved character.
    let has_password = |login: &str| {
        let login = percent_decode_str(login).decode_utf8_lossy().into_owned();
        login
            .split_once(':')
            .is_some_and(|(_, password)| !password.is_empty() || after.contains('@'))
    };
    match authority.rsplit_once('@') {
        Some((login, _)) => has_password(login),
        None => is_cut_short(authority, after),
    }
}

/// Whether these are hosts, or a namespace or a bucket: nothing of a login is among them. Not
/// whether they exist.
fn are_hosts(hosts: &str) -> bool {
    hosts.split(',').all(|host| {
        let (name, port) = match host.strip_prefix('[') {
            Some(host) => host.split_once(']').unwrap_or((host, "")),
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let in_name = |byte: u8| match host.starts_with('[') {
            true => byte.is_ascii_hexdigit() || b":.".contains(&byte),
            false => byte.is_ascii_alphanumeric() || b"-._".contains(&byte),
        };
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        name.bytes().all(in_name)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
    })
}

/// A password with a reserved character in it would be taken for a host, a path or a parameter, and
/// be repeated by the message that refuses it, or by one of a client library.
fn check_credentials(scheme: &str, rest: &str) -> Result<(), Error> {
    let Some(rest) = rest.strip_prefix("//").filter(|_| !is_local(scheme)) else { return Ok(()) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let path = after.split('?').next().unwrap_or_default();
    if is_cut_short(authority, after) || path.contains('@') {
        return Err(invalid(
            "there is an '@' behind the host; in a user or password write %2F for '/', %3F for \
             '?' and %40 for '@', and %40 for one in a name"
                .to_owned(),
        ));
    }
    if !are_hosts(hosts) {
        return Err(invalid(
            "what stands where a host belongs is not HOST or HOST:PORT. A login is written \
             before the host and ends with '@' (user:password@host); inside it write %40 for \
             '@', %3A for ':' and %2F for '/'"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A reserved character in a password ends what looks like the host too early.
fn is_cut_short(authority: &str, after: &str) -> bool {
    authority.contains([':', '@']) && after.contains('@')
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, Error> {
    query
        .split('&')
        .enumerate()
        .map(|(at, pair)| {
            let Some((name, value)) = pair.split_once('=') else {
                let at = at + 1;
                return Err(invalid(format!("parameter number {at} has no value (name=value)")));
            };
            Ok((decode_text("a parameter", name)?, decode_text("a parameter's value", value)?))
        })
        .collect()
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, Error> {
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let hex =
            bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            return Err(invalid(format!(
                "{what} has a '%' without two hexadecimal digits; write %25 for a plain one"
            )));
        }
    }
    Ok(percent_decode_str(text).collect())
}

fn decode_text(what: &str, text: &str) -> Result<String, Error> {
    String::from_utf8(decode(what, text)?)
        .map_err(|error| invalid(format!("{what} is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_paths_apart() {
        for (url, path) in [
            ("file:/tmp/a.lock", "/tmp/a.lock"),
            ("file:a.lock", "a.lock"),
            ("file:///tmp/a.lock", "/tmp/a.lock"),
            ("FILE:/tmp/a%20b%3f%23", "/tmp/a b?#"),
            ("file:/tmp/ü.lock", "/tmp/ü.lock"),
        ] {
            let parsed = LockUrl::parse(url).unwrap();
            assert_eq!((parsed.scheme(), parsed.path()), ("file", PathBuf::from(path)), "{url}");
        }
    }

    #[test]
    fn a_long_name_beside_a_lock_leaves_the_scheme() {
        for (url, before) in [("file:jobs", "file:"), ("file:/a/jobs", "file:/a/")] {
            let beside = LockUrl::beside(url, &"x".repeat(LONGEST_NAME));
            assert!(beside.starts_with(&format!("{before}.x")), "{url}: {beside}");
        }
        assert_eq!(LockUrl::beside("file:jobs?a=b", "x"), "file:jobs.x?a=b");
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, says) in [
            ("/tmp/a.lock", "no scheme"),
            ("", "no scheme"),
            ("fi le:/tmp/a", "not a URL scheme"),
            (":x", "not a URL scheme"),
            ("file:/tmp/a#b", "%23"),
            ("file:/tmp/%zz", "%25"),
            ("file:/tmp/a?x", "no value"),
            ("file:/tmp/a?x=%ff", "not UTF-8"),
        ] {
            let error = LockUrl::parse(url).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        let url = LockUrl::parse("file:/a?token_floor=7&tokn=1").unwrap();
        let error = url.allow_parameters(&["token_floor"]).unwrap_err().to_string();
        assert!(error.contains("\"tokn\"") && error.contains("known: token_floor"), "{error}");
        assert_eq!(url.token_floor().unwrap(), Some(7));
        let twice = LockUrl::parse("file:/a?token_floor=7&token_floor=8").unwrap();
        assert!(twice.allow_parameters(&["token_floor"]).is_err());
        let word = LockUrl::parse("file:/a?token_floor=seven").unwrap();
        let error = word.token_floor().unwrap_err().to_string();
        assert!(error.contains("token_floor") && !error.contains("seven"), "{error}");
    }

    #[test]
    fn a_password_is_noticed_and_never_shown() {
        let url = LockUrl::parse("redis://me:secret@host:6379/a").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
        for shown in
            ["redis://me:secret@h/a", "redis://:s@h", "x://h/k?a=b&password=s", "x://u:s?t@h"]
        {
            assert!(LockUrl::shows_password(shown), "{shown}");
        }
        for plain in
            ["redis://host:6379/a", "redis://me@host:6379/a", "file:/a:b@c", "file:///a:b@c"]
        {
            assert!(!LockUrl::shows_password(plain), "{plain}");
        }
        for url in ["redis://u:sec?ret@h/x", "redis://u:sec/ret=1@h", "redis//u:x", "u=secret@h"] {
            let error = LockUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("ret") && !error.contains("u:x"), "{error}");
        }
    }
}
