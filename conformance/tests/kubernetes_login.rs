//! The command with kubeconfigs that people have: a plugin that hangs, a proxy on the way, a list
//! of files.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{Running, leasehold, output};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::kubernetes::{Kubernetes, Options};
use rustix::process::{Pid, Signal, kill_process};

/// Far below the plugin's own minutes, on a slow machine.
const SOON: Duration = Duration::from_secs(15);

/// A kubeconfig whose plugin sleeps for this many seconds: a number that names it among all
/// processes.
fn hangs(directory: &Path, seconds: u32) -> String {
    let file = directory.join(format!("{seconds}"));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: \
         {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: \
         'https://127.0.0.1:1'}}}}]\nusers: [{{name: u, user: {{exec: {{apiVersion: \
         client.authentication.k8s.io/v1, interactiveMode: Never, command: sleep, args: \
         ['{seconds}']}}}}}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    format!("k8s://default/x?kubeconfig={}", file.display())
}

fn is_running(seconds: u32) -> bool {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        words == wanted.as_bytes()
    })
}

fn ended(words: &[&str]) -> (Output, Duration) {
    let began = Instant::now();
    let output = output(&mut leasehold(words));
    println!("{words:?}: {output:?}");
    (output, began.elapsed())
}

#[test]
fn a_plugin_that_hangs_hangs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two, three] = [7_211, 7_212, 7_213];
    let url = hangs(directory.path(), one);
    let (output, took) = ended(&["status", "--lock", &url, "--request-timeout", "1s"]);
    assert!(took < SOON && output.status.code() == Some(69), "{took:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("plugin") && errors.contains("sleep"), "{errors}");
    let url = hangs(directory.path(), two);
    let (output, took) = ended(&["run", "--lock", &url, "--timeout", "2s", "--", "true"]);
    assert!(took < SOON && !output.status.success(), "{took:?}");
    let url = hangs(directory.path(), three);
    let mut run = leasehold(&["run", "--lock", &url, "--", "true"]);
    let mut run = Running(run.stderr(Stdio::null()).spawn().unwrap());
    let began = Instant::now();
    while !is_running(three) {
        assert!(began.elapsed() < SOON, "the plugin is not run");
        std::thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    kill_process(Pid::from_child(&run.0), Signal::TERM).unwrap();
    run.0.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "deaf for {:?}", began.elapsed());
    let began = Instant::now();
    while [one, two, three].into_iter().any(is_running) {
        assert!(began.elapsed() < SOON, "a plugin is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A proxy that speaks CONNECT, and how many connections it made.
fn proxy() -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let made = Arc::new(AtomicU32::new(0));
    let counted = made.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let counted = counted.clone();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                // u:s3@ret
                let knows =
                    request.to_lowercase().contains("proxy-authorization: basic dtpzm0byzxq=");
                let target = request.split(' ').nth(1).unwrap_or_default();
                if !request.starts_with("CONNECT ") || !knows {
                    let _ = client.write_all(b"HTTP/1.1 407 No\r\n\r\n");
                    return;
                }
                let server = TcpStream::connect(target).unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let mut server = server;
                let _ = std::io::copy(&mut client, &mut server);
            });
        }
    });
    (address, made)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_and_lists_of_kubeconfigs_are_used_as_kubectl_uses_them() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let url = cluster.url(&cluster.endpoints(), "x");
    let (_, kubeconfig) = url.split_once("kubeconfig=").unwrap();
    // A proxy for the environment's taste, which this host is not for.
    let status = |url: &str, variables: &[(&str, &str)]| {
        let mut status = leasehold(&["status", "--lock", url]);
        let output = output(status.envs(variables.iter().copied()));
        println!("{output:?}");
        output.status.code()
    };
    let nobody = Some(75);
    let far = [("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "a,,b,")];
    assert_eq!(status(&url, &far), nobody);
    let list = format!("/missing::{kubeconfig}:/gone");
    assert_eq!(status("k8s://default/x", &[("KUBECONFIG", &list)]), nobody);
    let pod = [
        ("KUBECONFIG", list.as_str()),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "1"),
    ];
    assert_eq!(status("k8s://default/x", &pod), nobody);
    let (address, made) = proxy();
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    for (login, expected) in [("u:s3%40ret@", nobody), ("u:other@", Some(69))] {
        let proxied = format!("proxy-url: \"http://{login}{address}\", server:");
        let text = text.replacen("server:", &proxied, 1);
        assert!(text.contains("proxy-url"), "{text}");
        let file = cluster.directory().join("proxied");
        std::fs::write(&file, text).unwrap();
        let url = format!("k8s://default/x?kubeconfig={}", file.display());
        assert_eq!(status(&url, &[]), expected);
    }
    assert!(made.load(Ordering::Relaxed) > 0, "the proxy was not asked");
}
