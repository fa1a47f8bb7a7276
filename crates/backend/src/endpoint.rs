//! The place of a server.

use std::net::Ipv6Addr;

/// Checks that this is `host:port` of a server: a name or an address, one of IPv6 in `[` and `]`,
/// and a port from 1 to 65535.
///
/// # Errors
/// What is wrong, as a clause. It does not repeat the text, which may be a secret in the wrong
/// place.
pub fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let parts = endpoint.rsplit_once(':').filter(|_| !endpoint.ends_with(']'));
    let (host, port) = parts.ok_or("it has no port")?;
    if host.starts_with('[') && !host.ends_with(']') {
        return Err("no ']' closes its '['");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    };
    if !is_host {
        return Err(
            "its host is neither a name nor an address, and one of IPv6 belongs in [ and ]",
        );
    }
    match port.parse::<u16>() {
        // "+1" is a number, too.
        Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
        _ => Err("its port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_host_and_port() {
        for good in ["h:2379", "10.0.0.1:1", "[::1]:2379", "a-b.c_d:65535"] {
            assert_eq!(check_endpoint(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("h", "no port"),
            ("[::1]", "no port"),
            ("[::1:6379", "no ']' closes"),
            ("::1:6379", "belongs in [ and ]"),
            (":1", "neither a name"),
            ("u:p@h:1", "neither a name"),
            ("h:0", "not a number from 1"),
            ("h:+1", "not a number from 1"),
            ("h:65536", "not a number from 1"),
        ] {
            assert!(check_endpoint(bad).unwrap_err().contains(says), "{bad}");
        }
    }
}
