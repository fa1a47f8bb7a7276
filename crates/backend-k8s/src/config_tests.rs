//! Where a configuration is found, and what is said of one that cannot be used.

use std::collections::HashMap;

use super::*;

/// In every place where a secret can stand.
const SECRET: &str = "s3cret";

const GOOD: &str = "\
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: u, namespace: mine}}
- {name: two, context: {cluster: c, user: v}}
clusters:
- {name: c, cluster: {server: 'https://127.0.0.1:1'}}
users:
- {name: u, user: {token: s3cret}}
- {name: v, user: {username: a, password: s3cret}}
";

struct Scene {
    directory: tempfile::TempDir,
    variables: HashMap<String, String>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = ("HOME".to_owned(), directory.path().display().to_string());
        Self { directory, variables: HashMap::from([home]) }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    fn set(&mut self, name: &str, value: impl std::fmt::Display) {
        self.variables.insert(name.to_owned(), value.to_string());
    }

    fn found(&self, choice: Choice) -> Result<Found, String> {
        found(&choice, &|name| self.variables.get(name).cloned())
    }

    /// Of a kubeconfig with this text.
    fn of(&self, text: &str) -> Result<Found, String> {
        let file = self.file("one/config", text);
        self.found(Choice { kubeconfig: Some(file), context: None })
    }
}

fn header(found: &Found) -> String {
    match &found.login {
        Login::Header(header) => header.to_str().unwrap().to_owned(),
        Login::File(file) => file_token(file).unwrap().to_str().unwrap().to_owned(),
        Login::Nothing | Login::Plugin(_) => String::new(),
    }
}

fn namespace(found: Result<Found, String>) -> String {
    found.unwrap().config.default_namespace
}

#[test]
fn a_kubeconfig_is_looked_for_where_kubectl_looks() {
    let mut scene = Scene::new();
    let why = scene.found(Choice::default()).err().unwrap();
    assert!(why.contains(".kube/config"), "{why}");
    scene.file(".kube/config", &GOOD.replace("mine", "home"));
    assert_eq!(namespace(scene.found(Choice::default())), "home");
    // Missing files of a list are left out, and the first to set something wins.
    let other =
        scene.file("other", &GOOD.replace("mine", "other").replace("name: one", "name: three"));
    let good = scene.file("good", GOOD);
    let list = |files: &[&Path]| std::env::join_paths(files).unwrap().into_string().unwrap();
    scene.set("KUBECONFIG", list(&["/missing".as_ref(), "".as_ref(), &good, &other]));
    assert_eq!(namespace(scene.found(Choice::default())), "mine");
    let third = Choice { context: Some("three".to_owned()), ..Choice::default() };
    assert_eq!(namespace(scene.found(third)), "other");
    scene.set("KUBECONFIG", "/missing:/gone");
    let why = scene.found(Choice::default()).err().unwrap();
    assert!(why.contains("/missing, /gone"), "{why}");
}

#[test]
fn kubeconfig_wins_over_the_pod_and_the_pod_over_home() {
    let mut scene = Scene::new();
    scene.file(".kube/config", GOOD);
    scene.set("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    scene.set("KUBERNETES_SERVICE_PORT", "443");
    let why = scene.found(Choice::default()).err().unwrap();
    assert!(why.contains("automountServiceAccountToken"), "{why}");
    let good = scene.file("good", GOOD);
    scene.set("KUBECONFIG", good.display());
    assert_eq!(namespace(scene.found(Choice::default())), "mine");
    scene.set("KUBECONFIG", "/missing");
    let why = scene.found(Choice::default()).err().unwrap();
    assert!(why.contains("automountServiceAccountToken"), "{why}");
}

#[test]
fn a_pod_has_a_service_account() {
    let mut scene = Scene::new();
    scene.file("account/token", "abc\n");
    scene.file("account/namespace", "jobs\n");
    let account = scene.directory.path().join("account");
    for (host, port, server) in [
        ("10.0.0.1", "443", "https://10.0.0.1:443/"),
        ("fd00::1", "6443", "https://[fd00::1]:6443/"),
        ("[fd00::1]", "6443", "https://[fd00::1]:6443/"),
        ("kubernetes.default", "443", "https://kubernetes.default:443/"),
    ] {
        scene.set("KUBERNETES_SERVICE_HOST", host);
        scene.set("KUBERNETES_SERVICE_PORT", port);
        let found = in_cluster(&|name| scene.variables.get(name).cloned(), &account).unwrap();
        assert_eq!(found.config.cluster_url.to_string(), server);
        assert_eq!(found.config.default_namespace, "jobs");
        assert_eq!(header(&found), "Bearer abc");
    }
    // Files without an end, where others may mount what they like.
    for name in ["namespace", "ca.crt"] {
        let file = account.join(name);
        let _ = std::fs::remove_file(&file);
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    }
    let found = in_cluster(&|name| scene.variables.get(name).cloned(), &account).unwrap();
    assert_eq!(found.config.default_namespace, "default");
    scene.set("KUBERNETES_SERVICE_PORT", "tcp://x");
    let why = in_cluster(&|name| scene.variables.get(name).cloned(), &account).err().unwrap();
    assert!(why.contains("KUBERNETES_SERVICE_PORT"), "{why}");
}

#[test]
fn tokens_are_trimmed() {
    let scene = Scene::new();
    scene.file("one/token", "abc\n\n");
    for user in ["token: \"abc\\n\"", "token: |\n      abc\n", "tokenFile: token", "token: ' abc '"]
    {
        let text = GOOD
            .replace("{name: u, user: {token: s3cret}}", &format!("name: u\n  user:\n    {user}"));
        assert_eq!(header(&scene.of(&text).unwrap()), "Bearer abc", "{user}");
    }
    // A file goes before a token, as in kubectl, unless it cannot be read.
    let both =
        |file: &str| GOOD.replace("token: s3cret", &format!("token: def, tokenFile: {file}"));
    assert_eq!(header(&scene.of(&both("token")).unwrap()), "Bearer abc");
    assert_eq!(header(&scene.of(&both("gone")).unwrap()), "Bearer def");
}

#[test]
fn servers_are_understood_as_kubectl_understands_them() {
    let scene = Scene::new();
    for (server, expected) in [
        ("https://[::1]:6443", "https://[::1]:6443/"),
        ("https://api/k8s/clusters/c-1", "https://api/k8s/clusters/c-1"),
        (" https://api ", "https://api/"),
        ("HTTPS://api", "https://api/"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("https://a:s3cret@api:6443", "https://api:6443/"),
        ("https://a:s3%40cret@api", "https://api/"),
    ] {
        let text = GOOD.replace("https://127.0.0.1:1", server).replace("token: s3cret", "as: b");
        let found = scene.of(&text).unwrap();
        assert_eq!(found.config.cluster_url.to_string(), expected);
        assert_eq!(found.config.auth_info.username.is_some(), server.contains('@'), "{server}");
    }
    for server in [
        "https://::1:6443",
        "ftp://api",
        "https://",
        "https://a:s3cret@",
        "https://api:s3cret",
        "https://s3cret api",
        "",
    ] {
        let why = scene.of(&GOOD.replace("https://127.0.0.1:1", server)).err().unwrap();
        assert!(why.contains("server") && !why.contains(SECRET), "{server}: {why}");
    }
    let insecure =
        GOOD.replace("'https://127.0.0.1:1'", "'api:6443', insecure-skip-tls-verify: true");
    assert_eq!(scene.of(&insecure).unwrap().config.cluster_url.to_string(), "https://api:6443/");
}

#[test]
fn a_proxy_of_the_environment_makes_nothing_unusable() {
    let mut scene = Scene::new();
    scene.set("HTTPS_PROXY", "http://u:s3cret@proxy:3128");
    scene.set("NO_PROXY", "a,,b, ");
    assert!(scene.of(GOOD).unwrap().config.proxy_url.is_none(), "this host");
    let far = GOOD.replace("https://127.0.0.1:1", "https://api");
    let found = scene.of(&far).unwrap();
    assert_eq!(found.config.proxy_url.unwrap().host(), Some("proxy"));
    scene.set("NO_PROXY", "api");
    assert!(scene.of(&far).unwrap().config.proxy_url.is_none());
    let own = far.replace("https://api'", "https://api', proxy-url: 'http://own:1'");
    assert_eq!(scene.of(&own).unwrap().config.proxy_url.unwrap().host(), Some("own"));
}

#[test]
fn what_cannot_be_used_is_named_without_a_word_of_it() {
    let scene = Scene::new();
    let user = |user: &str| GOOD.replace("token: s3cret", user);
    let cluster =
        |more: &str| GOOD.replace("'https://127.0.0.1:1'", &format!("'https://api', {more}"));
    let torn = &GOOD[..GOOD.find(SECRET).unwrap() + 3];
    for (text, says) in [
        // No YAML, and YAML that is something else.
        (format!("{GOOD}\ns3cret: [s3cret\n"), "line "),
        (format!("{GOOD}\n\t- s3cret"), "line "),
        (GOOD.replace("users:", "users: s3cret\nx:"), "line "),
        (user("token: [s3cret]"), "line "),
        (user("token: {s3cret: s3cret}"), "line "),
        (user("exec: s3cret"), "line "),
        (user("exec: {args: s3cret}"), "line "),
        (user("auth-provider: [s3cret]"), "line "),
        (user("impersonate-s3cret: !!s3cret [s3cret"), "line "),
        (format!("*s3cret\n{GOOD}"), "line "),
        (torn.to_owned(), "line "),
        // What is in it.
        (user("token: \"s3cret\\u0001\""), "the token of its user"),
        (user("tokenFile: /no/such/file, token: ''"), ""),
        (user("exec: {command: s3cret, apiVersion: s3cret}"), "apiVersion"),
        (user("auth-provider: {name: azure, config: {access-token: s3cret}}"), "azure"),
        (user("auth-provider: {name: s3cret, config: {}}"), "auth-provider of its user cannot"),
        (user("auth-provider: {name: oidc, config: {id-token: \"s3cret\\u0001\"}}"), "id-token"),
        (
            cluster("certificate-authority-data: s3cret!"),
            "certificate-authority-data is not base64",
        ),
        (cluster("certificate-authority-data: czNjcmV0"), "certificate-authority"),
        (cluster("certificate-authority: /no/such/file"), "/no/such/file"),
        (cluster("proxy-url: 's3cret://u:s3cret@h'"), "proxy-url"),
        (GOOD.replace("current-context: one", "current-context: gone"), "no context \"gone\""),
        (GOOD.replace("cluster: c,", "cluster: gone,"), "no cluster \"gone\""),
        (GOOD.replace("current-context: one", ""), "current-context"),
    ] {
        let Err(why) = scene.of(&text) else {
            assert_eq!(says, "", "it can be used: {text}");
            continue;
        };
        assert!(why.contains(says), "{text}\n{why}");
        assert!(!why.contains(SECRET) && !why.contains("s3c"), "{text}\n{why}");
    }
}

#[tokio::test]
async fn what_no_client_can_be_made_of_is_named_without_a_word_of_it() {
    let scene = Scene::new();
    let pem = |kind: &str, body: &str| {
        let text = format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
        scene.file(&format!("{}.pem", kind.len() + body.len()), &text).display().to_string()
    };
    let (bad, odd) = (pem("CERTIFICATE", "czNjcmV0"), pem("s3cret", "s3cret s3cret"));
    for (user, says) in [
        ("client-key-data: s3cret!, client-certificate-data: s3cret!".to_owned(), "not base64"),
        ("client-key-data: czNjcmV0".to_owned(), "client-certificate"),
        ("client-key-data: czNjcmV0, client-certificate-data: czNjcmV0".to_owned(), "the client's"),
        (format!("client-key: {odd}, client-certificate: {bad}"), "client"),
        (
            "client-key: /no/such/file, client-certificate: /no/such/file".to_owned(),
            "/no/such/file",
        ),
        ("as: \"s3cret\\u0001\"".to_owned(), "impersonate"),
    ] {
        let found = scene.of(&GOOD.replace("token: s3cret", &user)).unwrap();
        let error = kube::Client::try_from(found.config).err().expect("no client can be made");
        let why = redact::of_client(&error);
        assert!(why.contains(says) && !why.contains(SECRET), "{user}: {why}");
    }
}

proptest::proptest! {
    #[test]
    fn no_kubeconfig_makes_it_panic_or_be_quoted(
        before in "[a-z:{}\\[\\], \n\"'|&*!#-]{0,40}", cut in 0..GOOD.len()
    ) {
        let text = format!("{}{before}s3cret{}", &GOOD[..cut], &GOOD[cut..]);
        if let Err(error) = Kubeconfig::from_yaml(&text) {
            let why = redact::of_kubeconfig(&error);
            proptest::prop_assert!(!why.contains(SECRET), "{}", why);
        }
    }
}
