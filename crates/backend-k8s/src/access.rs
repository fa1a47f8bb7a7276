//! The client of a cluster, and the credentials that go with its requests. Those that run out are renewed ahead of that,
//! one attempt at a time, beside the requests: who has good ones waits for nobody.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::{Client, Config};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::config::{Found, Login, file_token};
use crate::failure::Failure;
use crate::options::KubernetesOptions;
use crate::plugin::Plugin;
use crate::redact;
use crate::shared::Watches;

/// How long a connection may take, and how long a request may take to be sent.
const CONNECT: Duration = Duration::from_secs(3);

/// How often a file with a token is read again.
const FILE: SignedDuration = SignedDuration::from_secs(60);

/// How long before they run out credentials are renewed, at most.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// How long after an attempt to get credentials there is no other.
const PAUSE: Duration = Duration::from_secs(2);

/// Who waits longer for a plugin without an answer is told so.
const LONG: Duration = Duration::from_millis(500);

/// The way to a cluster.
pub(crate) struct Access {
    /// `None`: the caller made the client.
    options: Option<KubernetesOptions>,
    namespace: String,
    state: Mutex<State>,
    /// Somebody was told that writes are slow.
    pub(crate) was_slow: AtomicBool,
    pub(crate) watches: Watches,
}

struct State {
    entry: Option<Entry>,
    /// The API server knows the credentials no more.
    is_refused: bool,
    attempt: Option<Attempt>,
    last: Option<Last>,
}

/// How the last attempt ended.
struct Last {
    at: Instant,
    failure: Option<Failure>,
    /// A file is read again at every refusal, a plugin is not run that often.
    was_plugin: bool,
}

/// One attempt to get credentials.
struct Attempt {
    ended: watch::Receiver<bool>,
    task: AbortHandle,
    /// What is waited for, if it is a plugin.
    plugin: Option<Arc<Plugin>>,
    was_told: Arc<AtomicBool>,
}

/// What requests are sent with.
#[derive(Clone)]
struct Entry {
    client: Client,
    header: Option<HeaderValue>,
    found: Option<Arc<Found>>,
    /// Renewed from here on.
    fresh_until: Option<Timestamp>,
    /// Good up to here.
    good_until: Option<Timestamp>,
}

impl Access {
    /// Over a client that the caller made.
    pub(crate) fn given(client: Client) -> Arc<Self> {
        let namespace = client.default_namespace().to_owned();
        let entry =
            Entry { client, header: None, found: None, fresh_until: None, good_until: None };
        Arc::new(Self::new(None, namespace, Some(entry)))
    }

    /// As a configuration says. Contacts nobody and runs nothing: a plugin is run when the first request needs it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the configuration.
    pub(crate) fn found(options: KubernetesOptions) -> Result<Arc<Self>, String> {
        let found = Arc::new(options.found()?);
        let namespace = found.config.default_namespace.clone();
        let entry = match &found.login {
            Login::Plugin(_) => {
                // What else is wrong is told before it is run.
                client(found.config.clone())?;
                None
            }
            Login::File(file) => Some(Entry::with_file(&found, file_token(file)?)?),
            Login::Header(_) | Login::Nothing => Some(Entry::of(&found)?),
        };
        Ok(Arc::new(Self::new(Some(options), namespace, entry)))
    }

    fn new(options: Option<KubernetesOptions>, namespace: String, entry: Option<Entry>) -> Self {
        let state = State { entry, is_refused: false, attempt: None, last: None };
        let (state, was_slow) = (Mutex::new(state), AtomicBool::new(false));
        Self { options, namespace, state, was_slow, watches: Watches::default() }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Sends a request. After [`refused`](Self::refused) it goes with what the files and the plugin give then.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Body>, Failure> {
        let entry = self.entry().await?;
        let mut request = request.map(Body::from);
        if let Some(header) = entry.header {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        entry.client.send(request).await.map_err(|error| Failure::of(&error))
    }

    /// Whoever rotates a token replaces a file, of which the client looks at its own pace only.
    pub(crate) fn refused(&self) {
        locked(&self.state).is_refused = true;
    }

    async fn entry(self: &Arc<Self>) -> Result<Entry, Failure> {
        let Some(waiting) = self.wanted()? else {
            return Ok(locked(&self.state)
                .entry
                .clone()
                .expect("it was there, and none is taken away"));
        };
        waiting.over().await;
        let state = locked(&self.state);
        match (&state.entry, &state.last) {
            (_, Some(Last { failure: Some(failure), .. })) => Err(failure.clone()),
            (Some(entry), _) => Ok(entry.clone()),
            (None, _) => {
                Err(Failure::unavailable("the runtime ended before there were credentials"))
            }
        }
    }

    /// What must be waited for; nothing if there are credentials that are good now.
    fn wanted(self: &Arc<Self>) -> Result<Option<Waiting>, Failure> {
        let mut state = locked(&self.state);
        let now = Timestamp::now();
        let has_passed = |moment: Option<Timestamp>| moment.is_some_and(|moment| now >= moment);
        let (is_good, is_fresh) = match &state.entry {
            None => (false, false),
            Some(entry) => (!has_passed(entry.good_until), !has_passed(entry.fresh_until)),
        };
        let Some(options) = &self.options else { return Ok(None) };
        if is_good && is_fresh && !state.is_refused {
            return Ok(None);
        }
        if state.attempt.is_none() {
            let last = state.last.as_ref();
            match last.filter(|last| last.was_plugin && last.at.elapsed() < PAUSE) {
                Some(Last { failure: Some(failure), .. }) if !is_good => {
                    return Err(failure.clone());
                }
                // What was got just now is no better a moment later.
                Some(_) if is_good => return Ok(None),
                _ => {
                    let begun = self.begin(options.clone(), &mut state);
                    state.attempt = Some(begun);
                }
            }
        }
        let must_wait = !is_good || state.is_refused;
        let attempt = state.attempt.as_ref().filter(|_| must_wait);
        Ok(attempt.map(Waiting::on))
    }

    fn begin(self: &Arc<Self>, options: KubernetesOptions, state: &mut State) -> Attempt {
        let known = state.entry.as_ref().filter(|_| !state.is_refused);
        let known = known.and_then(|entry| Some((entry.client.clone(), entry.found.clone()?)));
        let (sender, ended) = watch::channel(false);
        let found = match &known {
            Some((_, found)) => Ok(found.clone()),
            None => options.found().map(Arc::new),
        };
        let plugin = found.as_ref().ok().and_then(|found| match &found.login {
            Login::Plugin(plugin) => Some(plugin.clone()),
            _ => None,
        });
        let (access, client) = (Arc::downgrade(self), known.map(|(client, _)| client));
        let task = tokio::spawn(async move {
            let got = match found {
                Ok(found) => got(found, client).await,
                Err(why) => Err(Failure::denied(format!("no other credentials: {why}"))),
            };
            keep(&access, got);
            sender.send_replace(true);
        });
        let was_told = Arc::new(AtomicBool::new(false));
        Attempt { ended, task: task.abort_handle(), plugin, was_told }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        // A plugin dies with what it was run for.
        if let Some(attempt) = &locked(&self.state).attempt {
            attempt.task.abort();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an attempt ended with.
fn keep(access: &Weak<Access>, got: Result<Entry, Failure>) {
    let Some(access) = access.upgrade() else { return };
    let mut state = locked(&access.state);
    let was_plugin = state.attempt.take().is_some_and(|attempt| attempt.plugin.is_some());
    let failure = match got {
        Ok(entry) => {
            state.entry = Some(entry);
            state.is_refused = false;
            None
        }
        Err(failure) => {
            let error = failure.clone().during("renew the credentials");
            tracing::warn!(%error, "no other credentials");
            Some(failure)
        }
    };
    state.last = Some(Last { at: Instant::now(), failure, was_plugin });
}

/// Credentials as they are now, over this client if the rest stays.
async fn got(found: Arc<Found>, client: Option<Client>) -> Result<Entry, Failure> {
    let invalid = |why: String| Failure::denied(format!("no credentials: {why}"));
    let mut entry = match &found.login {
        Login::Nothing | Login::Header(_) => Entry::of(&found).map_err(invalid)?,
        Login::File(file) => {
            let header = read_aside(file.clone()).await.map_err(invalid)?;
            Entry::with_file(&found, header).map_err(invalid)?
        }
        Login::Plugin(plugin) => return of_plugin(&found, plugin, client).await,
    };
    // Its connections go on.
    entry.client = client.unwrap_or(entry.client);
    Ok(entry)
}

/// Reads the token on a thread of its own: a file on a mount that hangs must stop neither renewals, which go on with the
/// token before it, nor anybody who waits for this. There is one attempt at a time, and so one such thread.
async fn read_aside(file: PathBuf) -> Result<HeaderValue, String> {
    let (tell, told) = oneshot::channel();
    let name = file.display().to_string();
    let read = move || drop(tell.send(file_token(&file)));
    std::thread::Builder::new()
        .name("leasehold-token".to_owned())
        .spawn(read)
        .map_err(|error| format!("no thread to read {name}: {error}"))?;
    told.await.unwrap_or_else(|_gone| Err(format!("reading {name} failed")))
}

async fn of_plugin(
    found: &Arc<Found>,
    plugin: &Plugin,
    known: Option<Client>,
) -> Result<Entry, Failure> {
    let got = plugin.run().await?;
    let mut config = found.config.clone();
    let has_identity = got.identity.is_some();
    if let Some((certificate, key)) = got.identity {
        let user = &mut config.auth_info;
        user.client_certificate_data = Some(base64(certificate.as_bytes()));
        user.client_key_data = Some(base64(key.as_bytes()).into());
        (user.client_certificate, user.client_key) = (None, None);
    }
    let client = match known.filter(|_| !has_identity) {
        Some(known) => known,
        None => client(config).map_err(|why| {
            Failure::denied(format!("the credential plugin of the kubeconfig ({plugin}): {why}"))
        })?,
    };
    let now = Timestamp::now();
    let fresh_until = got.expires.map(|expires| {
        // Near or behind its end it is used once more before the next.
        let left = expires.duration_since(now).max(SignedDuration::ZERO);
        now + (left - AHEAD.min(left / 3)).max(SignedDuration::from_secs(2))
    });
    let good_until = got.expires.zip(fresh_until).map(|(expires, fresh)| expires.max(fresh));
    Ok(Entry { client, header: got.header, found: Some(found.clone()), fresh_until, good_until })
}

impl Entry {
    fn of(found: &Arc<Found>) -> Result<Self, String> {
        let header = match &found.login {
            Login::Header(header) => Some(header.clone()),
            _ => None,
        };
        let client = client(found.config.clone())?;
        let found = Some(found.clone());
        Ok(Self { client, header, found, fresh_until: None, good_until: None })
    }

    fn with_file(found: &Arc<Found>, header: HeaderValue) -> Result<Self, String> {
        let fresh_until = Some(Timestamp::now() + FILE);
        Ok(Self { header: Some(header), fresh_until, ..Self::of(found)? })
    }
}

/// A client that neither retries nor waits for ever.
fn client(mut config: Config) -> Result<Client, String> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(CONNECT);
    // A watch is silent for as long as nothing changes; the election notices what is too long.
    config.read_timeout = None;
    let agent = concat!("leasehold/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    Client::try_from(config).map_err(|error| redact::of_client(&error))
}

/// A request that waits for credentials.
struct Waiting {
    ended: watch::Receiver<bool>,
    plugin: Option<Arc<Plugin>>,
    was_told: Arc<AtomicBool>,
    since: Instant,
}

impl Waiting {
    fn on(attempt: &Attempt) -> Self {
        Self {
            ended: attempt.ended.clone(),
            plugin: attempt.plugin.clone(),
            was_told: attempt.was_told.clone(),
            since: Instant::now(),
        }
    }

    async fn over(mut self) {
        // An error: the runtime is ending.
        let _ = self.ended.wait_for(|ended| *ended).await;
        self.plugin = None;
    }
}

/// Whoever asked has given up: it says so itself, but not what it waited for.
impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        if let Some(plugin) = &self.plugin
            && waited >= LONG
            && !self.was_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %plugin,
                "the credential plugin of the kubeconfig did not answer within {waited:.1?}"
            );
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = (number >> (18 - 6 * digit)) & 63;
            let is_padding = digit > three.len();
            text.push(if is_padding { '=' } else { char::from(DIGITS[index as usize]) });
        }
    }
    text
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
