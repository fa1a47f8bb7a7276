//! Many locks over one client: one watch for all of a namespace, or one for each where no more is
//! allowed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::path::Path;

use common::{eventually, next};
use leasehold::Error;
use leasehold::backend::{BoxStream, Contents, LockBackend, Observed};
use leasehold::k8s::{Form, Kubernetes as Client};
use leasehold_conformance::fixture::{Access, Fixture, Login, User, Users};
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

const LOCKS: usize = 20;

fn name(number: usize) -> String {
    format!("job-{number}")
}

async fn client(url: &str) -> Client {
    let (_, kubeconfig) = url.split_once("kubeconfig=").unwrap();
    Client::options().kubeconfig(Path::new(kubeconfig)).build().await.unwrap()
}

/// How many watches of Leases the API server serves now, its own among them.
async fn watches(admin: &Admin) -> f64 {
    let words = ["resource=\"leases\"", "verb=\"WATCH\""];
    admin.metric("apiserver_longrunning_requests", &words).await.unwrap()
}

fn lease(name: &str, holder: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"holderIdentity": holder,
        "leaseDurationSeconds": 15}})
}

type Watch = BoxStream<'static, Result<Observed, Error>>;

/// A watch of every lock, from the state that each has now.
async fn watched(client: &Client) -> Vec<Watch> {
    let mut watches = Vec::new();
    for number in 0..LOCKS {
        let lock = client.lock(Form::Lease, Some("default"), &name(number)).unwrap();
        let seen = lock.read().await.unwrap();
        watches.push(lock.watch(&seen));
    }
    watches
}

/// Every watch tells what an administrator does to its lock, and of nothing else.
async fn all_are_told(admin: &Admin, watches: &mut [Watch], holder: &str) {
    let told = futures_util::future::join_all(watches.iter_mut().map(next));
    let change = async {
        // What happens before a watch has begun may be told as one change.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for number in 0..LOCKS {
            let path = format!("{LEASES}/{}", name(number));
            let mut object = admin.do_it("GET", &path, None).await.unwrap();
            object["spec"]["holderIdentity"] = format!("{holder}-{number}").into();
            admin.do_it("PUT", &path, Some(&object)).await.unwrap();
        }
    };
    let (told, ()) = tokio::join!(told, change);
    for (number, seen) in told.iter().enumerate() {
        let holder = format!("{holder}-{number}");
        assert_eq!(common::identity(seen), Some(holder.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_a_namespace_share_a_watch() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    for number in 0..LOCKS {
        admin.do_it("POST", LEASES, Some(&lease(&name(number), "nobody"))).await.unwrap();
    }
    let own = watches(&admin).await;
    let client = client(&cluster.url(&cluster.endpoints(), "any")).await;
    let mut streams = watched(&client).await;
    all_are_told(&admin, &mut streams, "first").await;
    let served = watches(&admin).await - own;
    println!("{LOCKS} locks: {served} watches");
    assert_eq!(served, 2.0, "one lock's own, and one for all others");
    all_are_told(&admin, &mut streams, "second").await;
    // A deletion is told, too, and nothing is told twice.
    let last = LOCKS - 1;
    admin.do_it("DELETE", &format!("{LEASES}/{}", name(last)), None).await.unwrap();
    assert_eq!(next(&mut streams[last]).await.contents, Contents::Absent);
    // The last one to go ends the shared watch.
    streams.truncate(1);
    eventually("the shared watch ends", async || watches(&admin).await - own == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_watch_names_only_has_a_watch_for_each() {
    let options = Options { strangers: true, ..Options::default() };
    let cluster = Kubernetes::start(options).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    for number in 0..LOCKS {
        admin.do_it("POST", LEASES, Some(&lease(&name(number), "nobody"))).await.unwrap();
    }
    let user = User { name: "candidate".to_owned(), password: "candidate-token".to_owned() };
    cluster.grant(&user, &name(0), Access::ReadWrite).await.unwrap();
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/candidate";
    let mut role = admin.do_it("GET", path, None).await.unwrap();
    let names: Vec<String> = (0..LOCKS).map(name).collect();
    role["rules"][0]["resourceNames"] = json!(names);
    admin.do_it("PUT", path, Some(&role)).await.unwrap();
    let login = Login { user: Some(user), ..cluster.login() };
    let client = client(&cluster.url_as("any", &login).unwrap()).await;
    let last = client.lock(Form::Lease, Some("default"), &name(LOCKS - 1)).unwrap();
    eventually("the rights come into force", async || last.read().await.is_ok()).await;
    let own = watches(&admin).await;
    let mut streams = watched(&client).await;
    all_are_told(&admin, &mut streams, "first").await;
    let served = watches(&admin).await - own;
    println!("{LOCKS} locks by name only: {served} watches");
    assert_eq!(served, LOCKS as f64);
}
