//! What plugins answer, and what becomes of those that do not.

use leasehold_core::ErrorKind;

use super::*;

const SECRET: &str = "s3cret";

fn exec(script: &str) -> ExecConfig {
    ExecConfig {
        api_version: Some(VERSIONS[0].to_owned()),
        command: Some("sh".to_owned()),
        args: Some(vec![
            "-c".to_owned(),
            script.to_owned(),
            format!("--oidc-client-secret={SECRET}"),
        ]),
        ..ExecConfig::default()
    }
}

fn plugin(script: &str) -> Plugin {
    Plugin::of(&exec(script)).unwrap()
}

fn answer(status: &str) -> String {
    format!(
        "echo '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"{}\",\"status\":{status}}}'",
        VERSIONS[0]
    )
}

async fn failure(script: &str) -> (ErrorKind, String) {
    let plugin = plugin(script);
    let Err(failure) = plugin.run().await else { panic!("{script}: it gave credentials") };
    let kind = failure.kind();
    assert!(!format!("{failure:?}{plugin:?}{plugin}").contains(SECRET), "{failure:?}");
    (kind, failure.during("read the lock").to_string())
}

#[tokio::test]
async fn a_plugin_gives_a_token_or_a_certificate() {
    let token =
        plugin(&answer("{\"token\":\"abc\\n\",\"expirationTimestamp\":\"2036-01-01T00:00:00Z\"}"));
    let got = token.run().await.unwrap();
    assert_eq!(got.header.unwrap(), "Bearer abc");
    assert_eq!(got.expires.unwrap().to_string(), "2036-01-01T00:00:00Z");
    let both = answer("{\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\"}");
    let got = plugin(&both).run().await.unwrap();
    assert_eq!(got.identity, Some(("C".to_owned(), "K".to_owned())));
    // As kubectl reads it, too.
    let yaml = format!(
        "printf 'kind: ExecCredential\\napiVersion: {}\\nstatus:\\n  token: abc\\n'",
        VERSIONS[0]
    );
    assert_eq!(plugin(&yaml).run().await.unwrap().header.unwrap(), "Bearer abc");
    // Its background processes do not matter, even if they hold its output open.
    let agent = format!("sleep 20 & {}", answer("{\"token\":\"abc\"}"));
    let began = std::time::Instant::now();
    assert!(plugin(&agent).run().await.is_ok());
    assert!(began.elapsed() < DEADLINE / 2, "it waited for what the plugin left behind");
}

#[tokio::test]
async fn what_a_plugin_leaves_behind_ends_with_it_and_a_session_of_its_own_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (left, own) = (path("left"), path("own"));
    let script = format!(
        "sleep 1000 >/dev/null & echo $! >{left}; setsid sh -c 'echo $$ >{own}; exec sleep 30' \
         >/dev/null & while ! test -s {own}; do sleep 0.01; done; {}",
        answer("{\"token\":\"abc\"}")
    );
    assert!(plugin(&script).run().await.is_ok());
    let lives = |path: &str| {
        let pid = std::fs::read_to_string(path).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let began = std::time::Instant::now();
    while lives(&left) {
        assert!(began.elapsed() < DEADLINE, "what the plugin left behind lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // As an agent that is meant to stay does it.
    assert!(lives(&own));
    let pid = std::fs::read_to_string(&own).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_plugin_is_told_what_kubectl_tells() {
    let mut exec = exec(
        "test \"$REGION\" = one && echo \"$KUBERNETES_EXEC_INFO\" | sed \
         's/\"spec\":.*/\"status\":{\"token\":\"abc\"}}/'",
    );
    exec.env = Some(vec![
        [("name".to_owned(), "REGION".to_owned()), ("value".to_owned(), "one".to_owned())].into(),
    ]);
    let plugin = Plugin::of(&exec).unwrap();
    assert!(plugin.run().await.is_ok());
    exec.provide_cluster_info = true;
    exec.cluster = Some(kube::config::ExecAuthCluster {
        server: Some("https://api".to_owned()),
        certificate_authority_data: Some(b"CA".to_vec()),
        ..Default::default()
    });
    let plugin = Plugin::of(&exec).unwrap();
    let (_, info) = plugin.variables.last().unwrap();
    let info: Value = serde_json::from_str(info).unwrap();
    assert_eq!(info["spec"]["cluster"]["server"], "https://api");
    assert_eq!(info["spec"]["cluster"]["certificate-authority-data"], "Q0E=");
    assert_eq!(info["spec"]["interactive"], false);
}

#[tokio::test]
async fn what_fails_is_named_and_nothing_that_it_printed() {
    let endless = "yes s3cret";
    let wrong = answer("{\"token\":\"s3cret\"}").replace("v1\"", "v1beta1\"");
    let odd = answer("{\"token\":\"s3cret\\u0001\"}");
    let never = answer("{\"token\":\"s3cret\",\"expirationTimestamp\":\"s3cret\"}");
    for (script, says) in [
        ("echo s3cret; echo s3cret >&2; exit 3", "failed (exit status: 3)"),
        ("echo s3cret; kill -9 $$", "signal: 9"),
        ("echo s3cret", "answered with something else"),
        ("printf 's3cret: [s3cret'", "answered with something else"),
        ("echo '{\"status\": {\"token\": \"s3cret\"'", "answered with something else"),
        ("printf '\\377s3cret'", "answered with something else"),
        ("true", "answered with something else"),
        (endless, "more than a megabyte"),
        (&wrong, "did not answer with an ExecCredential"),
        (&odd, "what no header can hold"),
        (&never, "not a time"),
        (&answer("{\"clientKeyData\":\"s3cret\"}"), "neither a token nor a certificate"),
        (&answer("null"), "neither a token nor a certificate"),
    ] {
        let (kind, text) = failure(script).await;
        assert_eq!(kind, ErrorKind::Denied, "{script}");
        assert!(text.contains(says) && text.contains("(sh)"), "{script}: {text}");
    }
    let missing = ExecConfig { command: Some("/no/such/s3cret/tool".to_owned()), ..exec("") };
    let failure = Plugin::of(&missing).unwrap().run().await.err().unwrap();
    assert_eq!(failure.kind(), ErrorKind::Invalid);
    let text = failure.during("read the lock").to_string();
    assert!(text.contains("(tool) cannot be started"), "{text}");
}

#[test]
fn what_cannot_be_run_is_refused_at_once() {
    let none = ExecConfig { command: None, ..exec("") };
    let old = "client.authentication.k8s.io/v1alpha1".to_owned();
    let old = ExecConfig { api_version: Some(old), ..exec("") };
    let asks = ExecConfig { interactive_mode: Some(ExecInteractiveMode::Always), ..exec("") };
    let nul = exec("a\0s3cret");
    let mut odd = exec("");
    odd.env = Some(vec![
        [("name".to_owned(), "A=B".to_owned()), ("value".to_owned(), SECRET.to_owned())].into(),
    ]);
    for (exec, says) in [
        (none, "no command"),
        (old, "apiVersion"),
        (asks, "interactiveMode"),
        (nul, "argument"),
        (odd, "variable"),
    ] {
        let why = Plugin::of(&exec).err().unwrap();
        assert!(why.contains(says) && !why.contains(SECRET), "{why}");
    }
}

/// Whether a process of this number is there, and not merely waited for.
fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_at_its_deadline_with_what_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    for end in ["wait", "exec 1>&-; wait", "trap '' TERM INT; while :; do sleep 1; done"] {
        let script = format!("sleep 61 & echo $! > {0}; echo $$ >> {0}; {end}", file.display());
        let plugin = plugin(&script);
        let deadline = Duration::from_secs(1);
        let began = std::time::Instant::now();
        let failure = plugin.run_within(deadline).await.err().unwrap();
        assert!(began.elapsed() < deadline * 10, "{end}");
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        let text = failure.during("read the lock").to_string();
        assert!(text.contains("(sh) did not answer within 1s and was killed"), "{text}");
        let pids = std::fs::read_to_string(&file).unwrap();
        assert_eq!(pids.lines().count(), 2);
        while pids.lines().any(is_alive) {
            assert!(began.elapsed() < deadline * 20, "{end}: it lives");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
