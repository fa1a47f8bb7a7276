//! The proxy on the way to a server: `proxy-url` of a kubeconfig, or the environment's, by the
//! rules of Go, which kubectl follows.

use std::net::IpAddr;

use http::Uri;

/// A variable of the environment. Tests have one of their own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The proxy for this server: none for a server of this host, and none that NO_PROXY excludes. What
/// a kubeconfig names is used for every server.
///
/// # Errors
/// A sentence that says what is wrong, without the address of the proxy: a password may stand in
/// it.
pub(crate) fn proxy_for(
    server: &Uri,
    chosen: Option<&str>,
    environment: Environment<'_>,
) -> Result<Option<Uri>, String> {
    if let Some(chosen) = chosen.map(str::trim).filter(|chosen| !chosen.is_empty()) {
        return parsed(chosen).map(Some).ok_or_else(|| wrong("proxy-url of the cluster"));
    }
    let is_https = server.scheme_str() != Some("http");
    let names =
        if is_https { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let Some((name, proxy)) = first(&names, environment) else { return Ok(None) };
    let host = server.host().unwrap_or_default();
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let (_, exceptions) = first(&["NO_PROXY", "no_proxy"], environment).unwrap_or_default();
    if is_of_this_host(&host) || is_excluded(&exceptions, &host, port) {
        return Ok(None);
    }
    parsed(&proxy).map(Some).ok_or_else(|| wrong(name))
}

fn wrong(which: &str) -> String {
    format!("{which} is not the URL of a proxy: http, https and socks5 are known")
}

fn first<'a>(names: &[&'a str], environment: Environment<'_>) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| {
        let value = environment(name)?.trim().to_owned();
        (!value.is_empty()).then_some((*name, value))
    })
}

/// `host:port` is a proxy that speaks HTTP. The client library knows `socks5h` as `socks5`: it lets
/// the proxy look names up.
fn parsed(proxy: &str) -> Option<Uri> {
    let text = match proxy.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => format!("http://{proxy}"),
    };
    let text = text.strip_prefix("socks5h:").map_or(text.clone(), |rest| format!("socks5:{rest}"));
    let uri: Uri = text.parse().ok()?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https" | "socks5"));
    (is_known && names_a_host(&uri)).then_some(uri)
}

/// Whether it has a host, and a port that is one or none.
pub(crate) fn names_a_host(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let after = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, after)| after);
    let port = after.strip_prefix(authority.host()).unwrap_or(":");
    !authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some())
}

/// Whether the proxy wants a password by SOCKS, which the client library does not send.
pub(crate) fn loses_password(proxy: &Uri) -> bool {
    let has_user = proxy.authority().is_some_and(|authority| authority.as_str().contains('@'));
    has_user && proxy.scheme_str() == Some("socks5")
}

fn is_of_this_host(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// What NO_PROXY excludes: `*`, `10.0.0.0/8`, `10.0.0.1`, `host`, `.domain`, each but the first two
/// with a port or without.
fn is_excluded(exceptions: &str, host: &str, port: u16) -> bool {
    exceptions.split(',').any(|exception| {
        let exception = exception.trim().to_ascii_lowercase();
        exception == "*" || (!exception.is_empty() && matches(&exception, host, port))
    })
}

fn matches(exception: &str, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    if let Some((network, bits)) = exception.split_once('/') {
        let (network, bits) = (network.parse().ok(), bits.parse().ok());
        return match (address, network, bits) {
            (Some(address), Some(network), Some(bits)) => is_within(address, network, bits),
            _ => false,
        };
    }
    let (name, of_port) = with_port(exception);
    if of_port.is_some_and(|text| text.parse() != Ok(port)) || name.is_empty() {
        return false;
    }
    if let Ok(excluded) = name.parse::<IpAddr>() {
        return address.is_some_and(|address| address.to_canonical() == excluded.to_canonical());
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let domain = name.trim_start_matches('.');
    let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    is_below || (!name.starts_with('.') && host == domain)
}

/// `host:port`, `[address]:port`, or either without a port.
fn with_port(exception: &str) -> (&str, Option<&str>) {
    if let Some(rest) = exception.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').unwrap_or((rest, ""));
        return (address, rest.strip_prefix(':'));
    }
    match exception.rsplit_once(':') {
        // An address with colons of its own has no port.
        Some((name, port)) if !name.contains(':') => (name, Some(port)),
        _ => (exception, None),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let within = |address: u128, network: u128, of: u32| {
        bits <= of && (bits == 0 || (address ^ network) >> (of - bits) == 0)
    };
    match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            within(u32::from(address).into(), u32::from(network).into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => within(address.into(), network.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://user:s3cret@proxy:3128";

    fn chosen(server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = proxy_for(&server.parse().unwrap(), None, &environment).unwrap();
        proxy.map(|proxy| proxy.to_string())
    }

    fn is_used(server: &str, exceptions: &str) -> bool {
        chosen(server, &[("HTTPS_PROXY", PROXY), ("NO_PROXY", exceptions)]).is_some()
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let https = ("HTTPS_PROXY", "http://one:1");
        let http = ("http_proxy", "two:2");
        assert_eq!(chosen("https://api", &[https, http]).as_deref(), Some("http://one:1/"));
        assert_eq!(chosen("http://api", &[https, http]).as_deref(), Some("http://two:2/"));
        assert_eq!(chosen("https://api", &[http]), None);
        assert_eq!(chosen("https://api", &[("HTTPS_PROXY", " "), ("NO_PROXY", "x")]), None);
        let both = [("https_proxy", "small:1"), https];
        assert_eq!(chosen("https://api", &both).as_deref(), Some("http://one:1/"));
        let socks = [("HTTPS_PROXY", "SOCKS5h://p:1")];
        assert_eq!(chosen("https://api", &socks).as_deref(), Some("socks5://p:1/"));
    }

    #[test]
    fn a_server_of_this_host_has_none() {
        for server in ["https://localhost:6443", "https://127.0.0.9", "https://[::1]:6443"] {
            assert!(!is_used(server, ""), "{server}");
        }
        assert!(is_used("https://localhost.example:6443", ""));
    }

    #[test]
    fn no_proxy_excludes_as_in_go() {
        for (server, exceptions, expected) in [
            ("https://10.1.2.3:6443", "*", false),
            ("https://10.1.2.3:6443", "10.0.0.0/8", false),
            ("https://11.1.2.3:6443", "10.0.0.0/8", true),
            ("https://11.1.2.3:6443", "0.0.0.0/0", false),
            ("https://10.1.2.3:6443", "10.1.2.3", false),
            ("https://10.1.2.3:6443", "10.1.2.3:6443", false),
            ("https://10.1.2.3:6443", "10.1.2.3:443", true),
            ("https://10.1.2.3", "10.1.2.3:443", false),
            ("https://[fd00::1]:6443", "fd00::/8", false),
            ("https://[fd00::1]:6443", "fe00::/8", true),
            ("https://[fd00::1]:6443", "fd00::1", false),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", false),
            ("https://[fd00::1]:6443", "[fd00::1]:1", true),
            ("https://api.corp.example", "corp.example", false),
            ("https://api.corp.example", ".corp.example", false),
            ("https://api.corp.example", "*.corp.example", false),
            ("https://corp.example", ".corp.example", true),
            ("https://corp.example", "*.corp.example", true),
            ("https://corp.example", "corp.example", false),
            ("https://CORP.example", " Corp.Example ", false),
            ("https://notcorp.example", "corp.example", true),
            ("https://api.corp.example:6443", "corp.example:6443", false),
            ("https://api.corp.example:6443", "corp.example:443", true),
            ("https://api", "other,, api ,", false),
            ("https://api", "10.0.0.0/8,10.0.0.0/99,x/y,:80,[,/", true),
        ] {
            assert_eq!(is_used(server, exceptions), expected, "{server} and NO_PROXY={exceptions}");
        }
    }

    #[test]
    fn a_kubeconfigs_proxy_is_used_for_every_server_and_never_repeated() {
        let nothing = |name: &str| (name == "NO_PROXY").then(|| "*".to_owned());
        let server = "https://127.0.0.1".parse().unwrap();
        assert!(proxy_for(&server, Some(PROXY), &nothing).unwrap().is_some());
        for wrong in ["ftp://u:s3cret@h", "http://", "http://u:s3cret@h:port", "http://s3cret h"] {
            let why = proxy_for(&server, Some(wrong), &nothing).unwrap_err();
            assert!(why.contains("proxy-url") && !why.contains("s3cret"), "{why}");
            let environment = |name: &str| (name == "HTTPS_PROXY").then(|| wrong.to_owned());
            let far = "https://api".parse().unwrap();
            let why = proxy_for(&far, None, &environment).unwrap_err();
            assert!(why.contains("HTTPS_PROXY") && !why.contains("s3cret"), "{why}");
        }
        assert!(loses_password(&"socks5://u:p@h:1".parse().unwrap()));
        assert!(!loses_password(&"socks5://h:1".parse().unwrap()));
        assert!(!loses_password(&"http://u:p@h:1".parse().unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn no_exception_makes_it_panic(exceptions: String, host in "[a-z0-9.:]{0,20}", port: u16) {
            let _ = is_excluded(&exceptions, &host, port);
        }
    }
}
