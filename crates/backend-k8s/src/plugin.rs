//! A credential plugin of a kubeconfig (`exec:`), run as kubectl does, beside the runtime and never
//! for longer than its deadline. Nothing that it prints, and no argument of it, is shown to
//! anybody: it deals in secrets.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::HeaderValue;
use jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode, Kubeconfig};
use leasehold_core::printable;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::failure::Failure;

/// How long a plugin may run. Those of clouds take one to three seconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// The most bytes of its answer.
const MOST: u64 = 1 << 20;

/// How long what it wrote before its end may take to arrive, if somebody else holds its output
/// open.
const LEFT: Duration = Duration::from_millis(200);

const BY_HAND: &str = "run it by hand";

/// What kubectl knows.
const VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// A program that gives credentials.
pub(crate) struct Plugin {
    command: String,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    version: String,
}

/// Its answer.
pub(crate) struct Credentials {
    pub(crate) header: Option<HeaderValue>,
    /// The client's certificate and its key, in PEM.
    pub(crate) identity: Option<(String, String)>,
    pub(crate) expires: Option<Timestamp>,
}

/// For people: the name of the file.
impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Path::new(&self.command).file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{}", printable(&name).at_most(60))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plugin").field(&format_args!("{self}")).finish()
    }
}

impl Plugin {
    /// As a kubeconfig describes it.
    ///
    /// # Errors
    /// A sentence that says why it cannot be run.
    pub(crate) fn of(exec: &ExecConfig) -> Result<Self, String> {
        let command = exec.command.clone().filter(|command| !command.is_empty());
        let command = command.ok_or("its user's credential plugin has no command")?;
        let version = exec.api_version.clone().unwrap_or_default();
        if !VERSIONS.contains(&version.as_str()) {
            return Err(format!(
                "the apiVersion of its user's credential plugin is not one that is known: {}",
                VERSIONS.join(" and ")
            ));
        }
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            return Err(
                "its user's credential plugin wants to ask somebody (interactiveMode: Always), and \
                 a candidate has nobody to ask: use another user"
                    .to_owned(),
            );
        }
        let mut spec = json!({ "interactive": false });
        if exec.provide_cluster_info {
            spec["cluster"] = serde_json::to_value(&exec.cluster).unwrap_or(Value::Null);
        }
        let info = json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec });
        let named = exec.env.iter().flatten().filter_map(|variable| {
            Some((variable.get("name")?.clone(), variable.get("value")?.clone()))
        });
        let info = ("KUBERNETES_EXEC_INFO".to_owned(), info.to_string());
        let variables = named.chain([info]).collect();
        let args = exec.args.clone().unwrap_or_default();
        let plugin = Self { command, args, variables, version };
        let words = [&plugin.command].into_iter().chain(&plugin.args);
        let variables = plugin.variables.iter().flat_map(|(name, value)| [name, value]);
        if words.chain(variables).any(|word| word.contains('\0'))
            || plugin.variables.iter().any(|(name, _)| name.is_empty() || name.contains('='))
        {
            return Err(
                "its user's credential plugin has an argument or variable that no program \
                can be given"
                    .to_owned(),
            );
        }
        Ok(plugin)
    }

    /// Runs it. Dropping this kills it.
    pub(crate) async fn run(&self) -> Result<Credentials, Failure> {
        self.run_within(DEADLINE).await
    }

    async fn run_within(&self, deadline: Duration) -> Result<Credentials, Failure> {
        match timeout(deadline, self.answer()).await {
            Ok(answer) => self.parsed(&answer?),
            Err(_elapsed) => {
                let how = format!("did not answer within {deadline:?} and was killed");
                Err(Failure::unavailable(self.told(&how)).with_cure(BY_HAND))
            }
        }
    }

    async fn answer(&self) -> Result<Vec<u8>, Failure> {
        let (mut running, output) = self.start()?;
        let (mut bytes, mut output) = (Vec::new(), output.take(MOST + 1));
        let ended = {
            let mut reading = std::pin::pin!(output.read_to_end(&mut bytes));
            tokio::select! {
                _ = &mut reading => None,
                status = running.child.wait() => {
                    let _ = timeout(LEFT, reading).await;
                    Some(status)
                }
            }
        };
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST {
            return Err(self.failed("answered with more than a megabyte"));
        }
        let status = match ended {
            Some(status) => status,
            None => running.child.wait().await,
        };
        match status {
            Ok(status) if !status.success() => Err(self.failed(&format!("failed ({status})"))),
            // Somebody else waited for it: its answer must do.
            Ok(_) | Err(_) => Ok(bytes),
        }
    }

    fn start(&self) -> Result<(Running, ChildStdout), Failure> {
        let mut command = Command::new(&self.command);
        command.args(&self.args).envs(self.variables.iter().map(|(name, value)| (name, value)));
        // It may print secrets, and asks nobody: a candidate has no terminal to lend.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        command.process_group(0);
        let cannot = |error: std::io::Error| {
            let text = self.told(&format!("cannot be started: {error}"));
            Failure::invalid(text).with_cure("install it, or see that it is on the PATH")
        };
        let mut child = command.kill_on_drop(true).spawn().map_err(cannot)?;
        let output = child.stdout.take().expect("its output was asked for as a pipe");
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok((Running { child, group }, output))
    }

    fn failed(&self, how: &str) -> Failure {
        Failure::denied(self.told(how)).with_cure(BY_HAND)
    }

    fn told(&self, how: &str) -> String {
        format!("the credential plugin of the kubeconfig ({self}) {how}")
    }

    fn parsed(&self, answer: &[u8]) -> Result<Credentials, Failure> {
        let value = value(answer).ok_or_else(|| self.failed("answered with something else"))?;
        if value["kind"] != "ExecCredential" || value["apiVersion"] != self.version.as_str() {
            return Err(
                self.failed(&format!("did not answer with an ExecCredential of {}", self.version))
            );
        }
        let status = &value["status"];
        let word = |name: &str| {
            let text = status[name].as_str().map(str::trim).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        let header = word("token").map(|token| bearer(&token)).transpose();
        let header =
            header.map_err(|why| self.failed(&format!("answered with a token that {why}")))?;
        let identity = word("clientCertificateData").zip(word("clientKeyData"));
        if header.is_none() && identity.is_none() {
            return Err(self.failed("gave neither a token nor a certificate with its key"));
        }
        let expires = word("expirationTimestamp").map(|time| time.parse()).transpose();
        let expires = expires.map_err(|_not_a_time: jiff::Error| {
            self.failed("gave an expirationTimestamp that is not a time")
        })?;
        Ok(Credentials { header, identity, expires })
    }
}

/// JSON, or YAML as kubectl reads it, too: the fields of an ExecCredential are unknown ones of a
/// kubeconfig.
fn value(answer: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(answer) {
        return Some(value);
    }
    let mut read = Kubeconfig::from_yaml(std::str::from_utf8(answer).ok()?).ok()?;
    let status = read.other.remove("status")?;
    Some(json!({ "kind": read.kind, "apiVersion": read.api_version, "status": status }))
}

/// The header that a token is sent in.
///
/// # Errors
/// What is wrong with the token, without a character of it.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, &'static str> {
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_invalid| "holds what no header can hold")?;
    header.set_sensitive(true);
    Ok(header)
}

/// A plugin that is killed with this, and what it started in its process group with it, also if the
/// plugin itself has ended.
struct Running {
    child: Child,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only unix has groups of processes"))]
    group: Option<i32>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The number of a group is nobody else's while it has a member. Of one without any that was
        // waited for just now, the kernel gives it out again only after all others.
        #[cfg(unix)]
        if let Some(group) = self.group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
#[path = "plugin_tests.rs"]
mod tests;
