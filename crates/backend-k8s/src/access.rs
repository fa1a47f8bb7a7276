//! The client of a cluster, and the credentials that go with its requests. Those that run out are
//! renewed ahead of that, one attempt at a time, beside the requests: who has good ones waits for
//! nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::{Client, Config};
use leasehold_backend::Aside;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::config::{Choice, Found, Login, file_token};
use crate::failure::Failure;
use crate::plugin::Plugin;
use crate::redact;

/// How long a connection may take, and how long a request may take to be sent.
const CONNECT: Duration = Duration::from_secs(3);

const READING: &str = "reading the configuration of Kubernetes";

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
    choice: Option<Choice>,
    namespace: String,
    /// Where files are read.
    aside: Aside,
    state: Mutex<State>,
    /// Somebody was told that writes are slow.
    pub(crate) was_slow: AtomicBool,
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
    /// What is waited for, if it is a plugin and as soon as that is known.
    plugin: Arc<OnceLock<Arc<Plugin>>>,
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
        Arc::new(Self::new(None, namespace, Some(entry), Aside::default()))
    }

    /// As a configuration says. Contacts nobody and runs nothing: a plugin is run when the first
    /// request needs it.
    ///
    /// # Errors
    /// `Invalid`: a sentence that says what is wrong with the configuration. `Unavailable`: it
    /// could not be read in time.
    pub(crate) async fn found(choice: Choice) -> Result<Arc<Self>, leasehold_backend::Failure> {
        let aside = Aside::default();
        let read = choice.clone();
        let found = aside.run(READING, move || {
            let found = Arc::new(read.found()?);
            let namespace = found.config.default_namespace.clone();
            // What else is wrong with it is told before a plugin is run.
            let entry = Entry::now(&found)?;
            let needs_plugin = matches!(found.login, Login::Plugin(_));
            Ok::<_, String>((namespace, (!needs_plugin).then_some(entry)))
        });
        let (namespace, entry) = found.await?.map_err(leasehold_backend::Failure::invalid)?;
        Ok(Arc::new(Self::new(Some(choice), namespace, entry, aside)))
    }

    fn new(choice: Option<Choice>, namespace: String, entry: Option<Entry>, aside: Aside) -> Self {
        let state = State { entry, is_refused: false, attempt: None, last: None };
        let (state, was_slow) = (Mutex::new(state), AtomicBool::new(false));
        Self { choice, namespace, aside, state, was_slow }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Sends a request. After [`refused`](Self::refused) it goes with what the files and the plugin
    /// give then.
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
        let Some(choice) = &self.choice else { return Ok(None) };
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
                    let begun = self.begin(choice.clone(), &mut state);
                    state.attempt = Some(begun);
                }
            }
        }
        let must_wait = !is_good || state.is_refused;
        let attempt = state.attempt.as_ref().filter(|_| must_wait);
        Ok(attempt.map(Waiting::on))
    }

    fn begin(self: &Arc<Self>, choice: Choice, state: &mut State) -> Attempt {
        let known = state.entry.as_ref().filter(|_| !state.is_refused);
        let known = known.and_then(|entry| Some((entry.client.clone(), entry.found.clone()?)));
        let (sender, ended) = watch::channel(false);
        let plugin = Arc::new(OnceLock::new());
        let (access, aside, awaited) = (Arc::downgrade(self), self.aside.clone(), plugin.clone());
        let task = tokio::spawn(async move {
            let got = async {
                let (found, client) = match known {
                    Some((client, found)) => (found, Some(client)),
                    None => {
                        let found = aside.run(READING, move || choice.found()).await?;
                        let other = |why| Failure::denied(format!("no other credentials: {why}"));
                        (Arc::new(found.map_err(other)?), None)
                    }
                };
                if let Login::Plugin(plugin) = &found.login {
                    let _ = awaited.set(plugin.clone());
                }
                got(&found, client, &aside).await
            };
            keep(&access, got.await);
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
    let was_plugin = state.attempt.take().is_some_and(|attempt| attempt.plugin.get().is_some());
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

/// Credentials as they are now, over this client if the rest stays. A file on a mount that hangs
/// must stop neither renewals, which go on with the credentials before it, nor anybody who waits
/// for this: it is read aside.
async fn got(found: &Arc<Found>, client: Option<Client>, aside: &Aside) -> Result<Entry, Failure> {
    if let Login::Plugin(plugin) = &found.login {
        return of_plugin(found, plugin, client, aside).await;
    }
    let read = found.clone();
    let entry = aside.run(READING, move || Entry::now(&read)).await?;
    let mut entry = entry.map_err(|why| Failure::denied(format!("no credentials: {why}")))?;
    // Its connections go on.
    entry.client = client.unwrap_or(entry.client);
    Ok(entry)
}

async fn of_plugin(
    found: &Arc<Found>,
    plugin: &Plugin,
    known: Option<Client>,
    aside: &Aside,
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
        None => aside.run(READING, move || client(config)).await?.map_err(|why| {
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
    /// As files say now. Without what a plugin would give.
    fn now(found: &Arc<Found>) -> Result<Self, String> {
        let (header, fresh_until) = match &found.login {
            Login::Header(header) => (Some(header.clone()), None),
            Login::File(file) => (Some(file_token(file)?), Some(Timestamp::now() + FILE)),
            Login::Nothing | Login::Plugin(_) => (None, None),
        };
        let client = client(found.config.clone())?;
        let found = Some(found.clone());
        Ok(Self { client, header, found, fresh_until, good_until: None })
    }
}

/// A client that neither retries nor waits for ever. Reads the files of certificates, so call it
/// aside.
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
    plugin: Arc<OnceLock<Arc<Plugin>>>,
    is_over: bool,
    was_told: Arc<AtomicBool>,
    since: Instant,
}

impl Waiting {
    fn on(attempt: &Attempt) -> Self {
        Self {
            ended: attempt.ended.clone(),
            plugin: attempt.plugin.clone(),
            is_over: false,
            was_told: attempt.was_told.clone(),
            since: Instant::now(),
        }
    }

    async fn over(mut self) {
        // An error: the runtime is ending.
        let _ = self.ended.wait_for(|ended| *ended).await;
        self.is_over = true;
    }
}

/// Whoever asked has given up: it says so itself, but not what it waited for.
impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        if let Some(plugin) = self.plugin.get()
            && !self.is_over
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
