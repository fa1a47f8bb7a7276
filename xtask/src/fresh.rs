//! A project of a user's: outside the checkout, it depends on the facade by path, and builds and
//! runs with each of its features alone.

use std::env;
use std::fs;
use std::path::Path;

use crate::cargo::{capture, cargo, root, target_directory};
use crate::scratch::Scratch;

const FACADE: &str = "crates/leasehold";

/// Opens what it is told to, and leads.
const PROGRAM: &str = r#"
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for url in std::env::args().skip(1) {
        match leasehold::connect(&url).await {
            Ok(_lock) => println!("opened {url}"),
            Err(error) => println!("refused {url}: {error}"),
        }
    }
    let lock = leasehold::connect("mem:fresh").await?;
    let held = leasehold::Elector::builder(lock).build()?.campaign().await?;
    println!("led under token {}", held.check()?);
    held.resign().await?;
    Ok(())
}
"#;

/// Contacted by nobody.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: me, user: {token: none}}]
";

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Result<String, String> {
    let manifest = root().join(FACADE).join("Cargo.toml");
    let manifest = fs::read_to_string(&manifest)
        .map_err(|error| format!("cannot read {}: {error}", manifest.display()))?;
    let features = features(&manifest);
    if !features.contains(&"full") {
        return Err(format!("the facade has no feature full, but {}", features.join(", ")));
    }
    let project =
        Scratch(env::temp_dir().join(format!("leasehold-fresh-project-{}", std::process::id())));
    for feature in &features {
        try_with(feature, &project.0).map_err(|error| format!("with {feature} alone: {error}"))?;
    }
    Ok(features.join(", "))
}

/// The names under `[features]`.
fn features(manifest: &str) -> Vec<&str> {
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once('=')?.0.trim())).collect()
}

fn try_with(feature: &str, project: &Path) -> Result<(), String> {
    let failed =
        |error: std::io::Error| format!("cannot write under {}: {error}", project.display());
    fs::create_dir_all(project.join("src")).map_err(failed)?;
    fs::write(project.join("Cargo.toml"), manifest_with(feature)).map_err(failed)?;
    fs::write(project.join("src/main.rs"), PROGRAM).map_err(failed)?;
    fs::write(project.join("kubeconfig"), KUBECONFIG).map_err(failed)?;
    // The same releases of everything, so that nothing is downloaded and little is built anew.
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).map_err(failed)?;
    let at = project.display();
    let urls = [
        ("file", format!("file:{at}/jobs.lock")),
        ("etcd", "etcd://127.0.0.1:1/jobs".to_owned()),
        ("k8s", format!("k8s://default/jobs?kubeconfig={at}/kubeconfig")),
    ];
    let mut run = cargo(["run", "--quiet", "--offline", "--manifest-path"]);
    run.arg(project.join("Cargo.toml")).arg("--").args(urls.iter().map(|(_, url)| url));
    let said = capture(run.env("CARGO_TARGET_DIR", target_directory()))?;
    for (brings, url) in urls {
        let is_there =
            feature == brings || feature == "full" || (feature, brings) == ("default", "file");
        let expected = if is_there { "opened" } else { "refused" };
        if !said.contains(&format!("{expected} {url}")) {
            return Err(format!("{url} should be {expected}, and it said:\n{said}"));
        }
        if !is_there && !said.contains(&format!("cargo add leasehold --features {brings}")) {
            return Err(format!("nothing says how to have {brings}:\n{said}"));
        }
    }
    if said.contains("led under token 1\n") {
        Ok(())
    } else {
        Err(format!("it led nothing:\n{said}"))
    }
}

fn manifest_with(feature: &str) -> String {
    let facade = root().join(FACADE);
    let kubernetes = match feature {
        "k8s" | "full" => "k8s-openapi = { version = \"0.29\", features = [\"earliest\"] }\n",
        _ => "",
    };
    format!(
        "[package]\nname = \"fresh\"\nversion = \"0.0.0\"\nedition = \
         \"2024\"\n\n[workspace]\n\n[dependencies]\nleasehold = {{ path = {facade:?}, \
         default-features = false, features = [{feature:?}] }}\ntokio = {{ version = \"1\", \
         features = [\"rt\", \"macros\"] }}\n{kubernetes}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_a_manifest() {
        let manifest = "[package]\nname = \"x\"\n\n[features]\ndefault = [\"a\"]\n# Why.\na = \
                        []\n\n[dependencies]\nb = \"1\"\n";
        assert_eq!(features(manifest), ["default", "a"]);
        assert!(features("[package]\nname = \"x\"\n").is_empty());
    }
}
