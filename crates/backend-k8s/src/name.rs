//! Where a lock's object is.

use std::fmt;

/// The longest name of an object, and of a namespace.
const MAX: (usize, usize) = (253, 63);

/// A namespace and a name that the API server accepts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Place {
    /// Checks both.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn new(namespace: &str, name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("it names no object; write k8s://namespace/name".to_owned());
        }
        if name.len() > MAX.0 || !name.split('.').all(is_label) {
            return Err(format!(
                "{name:?} is no name of an object: at most {} characters, small letters, digits, \
                 '-' and '.', beginning and ending with a letter or digit",
                MAX.0
            ));
        }
        if namespace.len() > MAX.1 || !is_label(namespace) {
            return Err(format!(
                "{namespace:?} is no namespace: at most {} characters, small letters, digits and \
                 '-', beginning and ending with a letter or digit",
                MAX.1
            ));
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
        && [text.as_bytes()[0], text.as_bytes()[text.len() - 1]].into_iter().all(plain)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_api_server_accepts() {
        for (namespace, name) in [("a", "a"), ("kube-system", "kube-scheduler"), ("n1", "a.b-c.9")]
        {
            assert!(Place::new(namespace, name).is_ok(), "{namespace}/{name}");
        }
        let (long, longer) = ("a".repeat(64), "a".repeat(254));
        for (namespace, name, says) in [
            ("a", "", "names no object"),
            ("a", "B", "no name of an object"),
            ("a", "a/b", "no name of an object"),
            ("a", "-a", "no name of an object"),
            ("a", "a..b", "no name of an object"),
            ("a", "a_b", "no name of an object"),
            ("a", longer.as_str(), "no name of an object"),
            ("", "a", "no namespace"),
            ("a.b", "a", "no namespace"),
            (long.as_str(), "a", "no namespace"),
        ] {
            let error = Place::new(namespace, name).unwrap_err();
            assert!(error.contains(says), "{namespace}/{name}: {error}");
        }
    }
}
