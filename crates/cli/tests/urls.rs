//! URLs as people and attackers write them: what may be a password is in no error and in no
//! `Debug`.

#![allow(clippy::unwrap_used, reason = "a test")]

use leasehold::TimingSettings;
use leasehold::url::LockUrl;
use proptest::prelude::*;

const SECRET: &str = "S3CRET";

/// What each of our own ways says of a URL.
fn said(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut text = String::new();
    match LockUrl::parse(url) {
        Ok(parsed) => text.push_str(&format!("{parsed:?} {parsed:#?}")),
        Err(error) => text.push_str(&format!("{error} {error:?}")),
    }
    match runtime.block_on(leasehold::connect(url)) {
        Ok(lock) => text.push_str(&format!("{lock:?} {}", lock.name())),
        Err(error) => text.push_str(&format!("{error} {error:?}")),
    }
    if let Err(error) = runtime.block_on(leasehold::doctor::list(url)) {
        text.push_str(&format!("{error} {error:?}"));
    }
    let explained =
        runtime.block_on(leasehold::timing::explain(Some(url), TimingSettings::default()));
    text.push_str(&format!("{explained:?} {}", LockUrl::shown(url)));
    text
}

#[test]
fn the_corpus_repeats_no_secret() {
    let urls = include_str!("corpus/urls.txt");
    assert!(urls.lines().count() > 40);
    for url in urls.lines() {
        let said = said(url);
        assert!(!said.contains(SECRET), "{url}: {said}");
    }
}

proptest! {
    #[test]
    fn anything_is_a_url_or_an_error(text: String) {
        let _ = LockUrl::parse(&text).map(|url| format!("{url:?}"));
        let _ = LockUrl::shows_password(&text);
        let _ = LockUrl::shown(&text).len();
    }

    #[test]
    fn a_login_is_not_repeated(
        scheme in "(etcd|etcds|redis|k8s|s3|zk|http)",
        user in "[a-z%]{0,4}",
        before in "[ -~]{0,6}",
        after in "[ -~]{0,6}",
        host in r"(h|h:1|\[::1\]:2|a,b:2|)",
        path in r"(|/|/x|/x/y|/x\?ca=y|\?x=1)",
    ) {
        let url = format!("{scheme}://{user}:{before}{SECRET}{after}@{host}{path}");
        let said = said(&url);
        prop_assert!(!said.contains(SECRET), "{url}: {said}");
        prop_assert!(LockUrl::shows_password(&url), "{url}");
        let url = format!("{scheme}://{user}:{SECRET}%40{host}{path}");
        let parsed = LockUrl::parse(&url).map_err(|error| error.to_string());
        let text = format!("{parsed:?} {}", LockUrl::shown(&url));
        prop_assert!(!text.contains(SECRET) && LockUrl::shows_password(&url), "{url}: {text}");
    }

    #[test]
    fn what_holds_no_login_is_shown(
        host in "[a-z]{1,9}",
        port in 1..=65_535_u32,
        name in "[a-z/._-]{1,20}",
    ) {
        for url in [
            format!("etcd://{host}:{port}/{name}"),
            format!("file:/{name}:{host}@{port}"),
            format!("k8s://{host}/{name}"),
        ] {
            prop_assert!(!LockUrl::shows_password(&url), "{url}");
        }
    }
}
