//! Credentials and certificates, on servers that ask for them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::Stdio;

use futures_util::future::try_join_all;
use leasehold::backend::{Change, Intent, Record, Version};
use leasehold::{Error, ErrorKind, Loss, TimingSettings};

use crate::candidate::Setup;
use crate::fixture::certificates::{Authority, Validity};
use crate::fixture::{Access, Fixture, Login, Tls, User};
use crate::hand::record_of;
use crate::history::{Event, What};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

const LOCK: &str = "jobs";

/// Looks like nothing else that is printed, and must be escaped where it is part of a URL.
const PASSWORD: &str = "p@ss/w0rd?1-zq";

fn user(name: &str) -> User {
    User { name: name.to_owned(), password: PASSWORD.to_owned() }
}

/// A user who may do that, and the URL that names it.
async fn granted(
    servers: &dyn Fixture,
    name: &str,
    access: Access,
) -> Result<(User, String), Problem> {
    let user = user(name);
    servers.users()?.grant(&user, LOCK, access).await?;
    let url = url_of(servers, &user)?;
    Ok((user, url))
}

fn url_of(servers: &dyn Fixture, user: &User) -> Result<String, Problem> {
    let users = servers.users()?;
    Ok(users.url_as(LOCK, &Login { user: Some(user.clone()), ..users.login() })?)
}

fn denied<T: std::fmt::Debug>(
    what: &str,
    answer: Result<T, Error>,
    says: &str,
) -> Result<(), Problem> {
    match answer {
        Ok(answer) => Err(Problem::Violated(format!("{what} is let in: {answer:?}"))),
        Err(error) => {
            let text = error.to_string();
            must(error.kind() == ErrorKind::Denied && text.contains(says), || {
                format!("{what} is refused as {:?}: {text}", error.kind())
            })?;
            must(!text.contains(PASSWORD), || format!("{what}: the error holds the password"))
        }
    }
}

/// SE1.
pub(super) async fn smallest_credential(world: &World) -> Outcome {
    let servers = world.servers(1, Tls::Off).await?;
    let nobody = leasehold::connect(&servers.users()?.url_as(LOCK, &Login::default())?).await?;
    nobody.read().await?;
    let (candidate, enough) = granted(servers.as_ref(), "candidate", Access::ReadWrite).await?;
    let (_, reading) = granted(servers.as_ref(), "observer", Access::Read).await?;
    let (_, writing) = granted(servers.as_ref(), "writer", Access::Write).await?;
    // With it everything works: to take, to renew, to watch and to release.
    let [a, b] = [
        world.candidate_at(&enough, "a", setup()).await?,
        world.candidate_at(&enough, "b", setup()).await?,
    ];
    let (_link, observer) = world.observer_of("o", leasehold::connect(&reading).await?)?;
    let lead = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE).await;
    must(lead.check(), || "the smallest credential is not enough to renew".to_owned())?;
    must(lead.resign().await?, || "it is not enough to release".to_owned())?;
    let second = world.within("b leads", LEASE, waiting).await?.map_err(Problem::violated)??;
    let told = |status: leasehold::status::Status| match status.leader {
        leasehold::status::Leader::Held(leading) => leading.token == Some(second.token()),
        _ => false,
    };
    let seen = || told(observer.status());
    world.until("an observer that may only read is told", world.told(), seen).await?;
    // Without any part of it: what the documentation says.
    let held = leasehold::connect(&reading).await?.read().await?;
    let seeing = leasehold::connect(&reading).await?;
    let says = servers.users()?.refusals();
    // Where the store ends leases, absent is taken; elsewhere what was read.
    let by_server = world.by_server();
    let taken_over = if by_server { Version::absent() } else { held.version.clone() };
    for intent in [Intent::Take, Intent::Renew, Intent::Release] {
        let record = held.record().cloned().unwrap_or_else(|| record_of("o", 1));
        let holder = record.holder.clone().filter(|_| intent != Intent::Release);
        let change = Change { intent, record: Record { holder, ..record } };
        let expected = if intent == Intent::Take { &taken_over } else { &held.version };
        let wrote = seeing.write(expected, &change).await;
        denied(&format!("a {intent:?} with permission to read"), wrote, says.write)?;
    }
    let blind = leasehold::connect(&writing).await?;
    denied("a read with permission to write", blind.read().await, says.read)?;
    let change = Change { intent: Intent::Take, record: record_of("w", 1) };
    let wrote = blind.write(&taken_over, &change).await;
    denied("a take with permission to write", wrote, says.write)?;
    let elsewhere = Login { user: Some(candidate.clone()), ..servers.users()?.login() };
    let elsewhere = leasehold::connect(&servers.users()?.url_as("other", &elsewhere)?).await?;
    denied("a read of another lock", elsewhere.read().await, says.read)?;
    denied("a read by nobody", nobody.read().await, says.nobody)?;
    let wrong = User { password: "wrong".to_owned(), name: "observer".to_owned() };
    let wrong = leasehold::connect(&url_of(servers.as_ref(), &wrong)?).await?;
    denied("a read with a wrong password", wrong.read().await, says.password)?;
    must(second.check(), || "a refused write ended a term".to_owned())?;
    Ok(Finding::Holds)
}

/// Who comes with what, and what its error says.
struct Stranger {
    what: &'static str,
    url: String,
    says: &'static str,
    /// Ours is the refusal, so its kind is known. A server's may be lost with its connection.
    ours: bool,
}

/// SE2.
pub(super) async fn certificates(world: &World) -> Outcome {
    let (mutual, expired, other, tls, plain) = futures_util::try_join!(
        world.servers(1, Tls::Mutual),
        world.servers(1, Tls::Expired),
        world.servers(1, Tls::OtherName),
        world.servers(1, Tls::Server),
        world.servers(1, Tls::Off),
    )?;
    let failed = |error: std::io::Error| Problem::Vacuous(format!("no directory: {error}"));
    let directory = tempfile::tempdir().map_err(failed)?;
    let authority = Authority::new(directory.path(), "stranger")?;
    let mutual = mutual.users()?;
    let good = mutual.login();
    leasehold::connect(&mutual.url_as(LOCK, &good)?).await?.read().await?;
    let theirs = authority.client("theirs", Validity::Valid)?;
    let old = mutual.issue("old", Validity::Expired)?;
    let wrong_ca: Option<PathBuf> = Some(authority.certificate().to_owned());
    let stranger = |what, url, says, ours| Stranger { what, url, says, ours };
    let with = |login: Login| mutual.url_as(LOCK, &login);
    let cases = [
        ("a wrong CA", Login { ca: wrong_ca, ..good.clone() }, true),
        ("the system's CAs", Login { ca: None, ..good.clone() }, true),
        ("an expired certificate", Login { pair: Some(old), ..good.clone() }, false),
        ("a certificate of another CA", Login { pair: Some(theirs), ..good.clone() }, false),
        ("no certificate", Login { pair: None, ..good.clone() }, false),
    ];
    let mut strangers = Vec::new();
    for (what, login, ours) in cases {
        strangers.push(stranger(what, with(login)?, "certificate", ours));
    }
    let own = |servers: &dyn Fixture| {
        let users = servers.users()?;
        Ok::<_, Problem>(users.url_as(LOCK, &users.login())?)
    };
    strangers.push(stranger("an expired server", own(expired.as_ref())?, "xpired", true));
    strangers.push(stranger("a server of another name", own(other.as_ref())?, "certificate", true));
    let (tls, plain) = (tls.users()?, plain.users()?);
    let in_plain = tls.url_as(LOCK, &Login::default())?;
    strangers.push(stranger("plain text to TLS", in_plain, "TLS", false));
    let in_tls =
        plain.url_as(LOCK, &Login { tls: true, ca: tls.login().ca, ..Login::default() })?;
    strangers.push(stranger("TLS to plain text", in_tls, "TLS", false));
    try_join_all(strangers.iter().enumerate().map(|(n, one)| kept_out(world, n, one))).await?;
    Ok(Finding::Holds)
}

/// It is told why, does not lead, and asks no faster than whoever meets another failure.
async fn kept_out(world: &World, number: usize, stranger: &Stranger) -> Result<(), Problem> {
    let Stranger { what, url, says, ours } = stranger;
    let error = match leasehold::connect(url).await?.read().await {
        Ok(_) => return Err(Problem::Violated(format!("{what} is let in"))),
        Err(error) => error,
    };
    let text = error.to_string();
    must(text.contains(says), || format!("{what}: {text}"))?;
    must(!ours || error.kind() == ErrorKind::Denied, || {
        format!("{what} is {:?}: {text}", error.kind())
    })?;
    let name = format!("{number}/a");
    let candidate = world.candidate_at(url, &name, setup()).await?;
    let campaign = candidate.stand();
    world.sleep(LEASE).await;
    if campaign.is_finished() {
        let ended = campaign.await.map_err(Problem::violated)?;
        must(ended.is_err(), || format!("{what}: it leads"))?;
    }
    let most = LEASE.as_millis() / world.timing().retry_period().as_millis() + 2;
    let sent = world.sent(&name);
    world.happened("request of a stranger", sent)?;
    must(sent as u128 <= most, || format!("{what}: {sent} requests in {LEASE:?}, not {most}"))
}

/// SE3. At a longer lease: a server may make a login slow on purpose.
pub(super) async fn rotated(world: &World) -> Outcome {
    let servers = world.servers(3, Tls::Off).await?;
    let (user, url) = granted(servers.as_ref(), "candidate", Access::ReadWrite).await?;
    world.ready_at(&url).await?;
    let timing = TimingSettings::lease_duration(5 * LEASE);
    let a = world.candidate_at(&url, "a", Setup { timing, ..setup() }).await?;
    let b = world.candidate_at(&url, "b", Setup { timing, ..setup() }).await?;
    let fresh = LEASE + world.distrust(&a.elector().timing());
    let lead = world.within("a leads", fresh, a.campaign()).await??;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    world.disturb("the password is changed");
    let rotated = User { password: format!("{PASSWORD}-2"), ..user.clone() };
    servers.users()?.change_password(&rotated).await?;
    // The operator's next step: the file that the URL names.
    let same = url_of(servers.as_ref(), &rotated)?;
    must(same == url, || "the URL names another file".to_owned())?;
    let old = Login { user: Some(User { name: "candidate".into(), ..user }), ..Login::default() };
    let deadline = a.elector().timing().renew_deadline();
    world.sleep(deadline + LEASE).await;
    must(lead.check(), || {
        format!("a rotated password ends the term: {:?}", a.elector().status().store_error)
    })?;
    must(lead.resign().await?, || "the release is not confirmed".to_owned())?;
    let second = world.within("b leads", LEASE, waiting).await?.map_err(Problem::violated)??;
    must(second.check(), || "b lost its term".to_owned())?;
    drop(second);
    // That it was rotated at all: the old one opens nothing.
    let refused = leasehold::connect(&servers.users()?.url_as(LOCK, &old)?).await?;
    denied(
        "a read with the old password",
        refused.read().await,
        servers.users()?.refusals().password,
    )?;
    Ok(Finding::Holds)
}

/// SE4, on servers that know users.
pub(super) async fn revoked(world: &World) -> Outcome {
    let servers = world.servers(1, Tls::Off).await?;
    let (user, url) = granted(servers.as_ref(), "revoked", Access::ReadWrite).await?;
    let (_, other) = granted(servers.as_ref(), "other", Access::ReadWrite).await?;
    let a = world.candidate_at(&url, "a", setup()).await?;
    let b = world.candidate_at(&other, "b", setup()).await?;
    let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let before = world.sent("a");
    world.disturb("a's permission is taken away");
    servers.users()?.revoke(&user).await?;
    let deadline = world.timing().renew_deadline();
    let loss = world.within("its term ends", deadline, lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    let error = a.elector().status().store_error.map(|error| error.kind());
    must(error == Some(ErrorKind::Denied), || format!("its status says {error:?}"))?;
    let sent = world.sent("a") - before;
    must(sent <= 20, || format!("{sent} requests without a credential"))?;
    // A store that asks for no right to keep a lease alive keeps it until the leader gives up.
    let bound = world.failover() + deadline;
    let second = world.within("b leads", bound, waiting).await?.map_err(Problem::violated)??;
    drop(lead);
    let again = a.stand();
    world.sleep(LEASE).await;
    must(!again.is_finished(), || "it gave up".to_owned())?;
    must(second.check(), || "b lost its term".to_owned())?;
    Ok(Finding::Holds)
}

/// The lease of RN8 on servers: an administrator's request and what follows from it take a second
/// or two.
const LONG: std::time::Duration = std::time::Duration::from_secs(15);

/// RN8, on servers that refuse.
pub(super) async fn refused(world: &World) -> Result<(), Problem> {
    let servers = world.servers(1, Tls::Off).await?;
    let (user, url) = granted(servers.as_ref(), "refused", Access::ReadWrite).await?;
    world.ready_at(&url).await?;
    let timing = TimingSettings::lease_duration(LONG);
    let a = world.candidate_at(&url, "s/a", Setup { timing, ..setup() }).await?;
    let b = world.candidate_at(&url, "s/b", Setup { timing, ..setup() }).await?;
    let lead = world
        .within("a leads", LONG + world.distrust(&a.elector().timing()), a.campaign())
        .await??;
    let waiting = b.stand();
    world.sleep(LEASE).await;
    let until = lead.term().deadlines().until;
    servers.users()?.refuse(&user, LOCK).await?;
    let refused = || {
        let error = a.elector().status().store_error;
        error.is_some_and(|error| error.kind() != ErrorKind::Unavailable)
    };
    let left = until.since(world.now());
    let happened = world.until("a renewal is refused", left, refused).await;
    happened.map_err(|_late| Problem::Vacuous("nothing was refused".to_owned()))?;
    let why = a.elector().status().store_error.map(|error| error.to_string());
    must(lead.check(), || format!("a refusal ends a term: {why:?}"))?;
    servers.users()?.allow(&user, LOCK).await?;
    let renewed = || lead.term().deadlines().until > until;
    let left = until.since(world.now());
    let happened = world.until("it is renewed again", left, renewed).await;
    must(lead.check() && happened.is_ok(), || {
        format!("a refusal for less than the ride-through ends a term: {why:?}")
    })?;
    must(!waiting.is_finished(), || "it ends the wait of a candidate".to_owned())?;
    world.say(format!("it was refused: {}", why.unwrap_or_default()));
    must(lead.resign().await?, || "the release is not confirmed".to_owned())?;
    let second = world.within("b leads", LONG, waiting).await?.map_err(Problem::violated)??;
    must(second.check(), || "b does not lead".to_owned())
}

/// WA5, with a credential that may only read.
pub(super) async fn read_only(world: &World) -> Outcome {
    let servers = world.servers(1, Tls::Off).await?;
    let (_, enough) = granted(servers.as_ref(), "candidate", Access::ReadWrite).await?;
    world.ready_at(&enough).await?;
    let (_, reading) = granted(servers.as_ref(), "observer", Access::Read).await?;
    let (_link, observer) = world.observer_of("o", leasehold::connect(&reading).await?)?;
    let candidates = [
        world.candidate_at(&enough, "a", setup()).await?,
        world.candidate_at(&enough, "b", setup()).await?,
    ];
    let mut last = 0;
    for round in 0..4 {
        let lead = world.within("it leads", LEASE, candidates[round % 2].campaign()).await??;
        last = lead.token();
        let told = || match observer.status().leader {
            leasehold::status::Leader::Held(leading) => leading.token == Some(last),
            _ => false,
        };
        world.until("the observer is told", world.told(), told).await?;
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    }
    world.happened("term", usize::try_from(last).unwrap_or(1))?;
    let wrote = |event: &Event| {
        &*event.node == "o" && matches!(event.what, What::Sent { intent: Some(_), .. })
    };
    must(world.count(wrote) == 0, || format!("it wrote {} times", world.count(wrote)))?;
    let store = leasehold::connect(&reading).await?;
    let change = Change { intent: Intent::Take, record: record_of("o", 1) };
    let by_server = world.by_server();
    let over = if by_server { Version::absent() } else { store.read().await?.version };
    let wrote = store.write(&over, &change).await;
    denied("a take by the observer", wrote, servers.users()?.refusals().write)?;
    Ok(Finding::Holds)
}

/// SE6. Everything that is printed or can be looked at, at the most talkative.
pub(super) async fn no_secret(world: &World) -> Outcome {
    let servers = world.servers(1, Tls::Off).await?;
    // No other run prints it.
    let secret = format!("{PASSWORD}{:016x}", RandomState::new().build_hasher().finish());
    let known = User { name: "candidate".to_owned(), password: secret.clone() };
    servers.users()?.grant(&known, LOCK, Access::ReadWrite).await?;
    let url = url_of(servers.as_ref(), &known)?;
    let program = world.target().command().ok_or_else(|| {
        let why = "the command leasehold is not built; LEASEHOLD_PROGRAM may name it";
        Problem::Vacuous(why.to_owned())
    })?;
    let store = leasehold::connect(&url).await?;
    let a = world.candidate_at(&url, "a", setup()).await?;
    let wrong = User { password: format!("{secret}-wrong"), ..known.clone() };
    let mut seen: Vec<(&str, String)> = vec![
        ("Debug of a lock", format!("{store:?} {}", store.name())),
        ("Debug of an elector", format!("{:?} {:?}", a.elector(), a.elector().status())),
    ];
    let wrong_url = url_of(servers.as_ref(), &wrong)?;
    let error = leasehold::connect(&wrong_url).await?.read().await.err();
    let error = error.ok_or_else(|| Problem::Violated("a wrong password opens it".to_owned()))?;
    seen.push(("an error", format!("{error} {error:?}")));
    let (url, in_environment) = (url_of(servers.as_ref(), &known)?, "SE6_PASSWORD");
    let base = servers.users()?.url_as(LOCK, &Login::default())?;
    let mark = if base.contains('?') { '&' } else { '?' };
    let by_environment = format!("{base}{mark}user=candidate&password_env={in_environment}");
    let escaped = secret.replace('@', "%40").replace('/', "%2F").replace('?', "%3F");
    let in_url = base.replacen("://", &format!("://candidate:{escaped}@"), 1);
    // The command lines of all that stands between us and the child, and what the child is given.
    let shell = format!(
        "p=$$; while [ $p != {} ]; do tr '\\0' ' ' </proc/$p/cmdline; echo; p=$(sed -n \
         's/^PPid:\t//p' /proc/$p/status); done; env",
        std::process::id()
    );
    // Nobody leads any more when the status is asked for.
    let in_urls = servers.users()?.has_passwords_in_urls();
    let runs = [
        ("run, password in a file", &url, &["-vvv", "run", "--once"][..], 0),
        ("run, password in the environment", &by_environment, &["-vvv", "run", "--once"], 0),
        ("status", &url, &["-vvv", "status", "-o", "json"], 75),
        ("a password on the command line", &in_url, &["-vvv", "status"], 64),
    ];
    for (what, url, words, code) in runs {
        if what.contains("environment") && !in_urls {
            continue;
        }
        let mut command = tokio::process::Command::new(&program);
        command.args(words).args(["--lock", url]);
        if words.contains(&"run") {
            command.args(["--", "sh", "-c", &shell]);
        }
        if what.contains("environment") {
            command.env(in_environment, &secret);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = world.within("the command ends", 10 * LEASE, command.output()).await?;
        let output = output.map_err(Problem::violated)?;
        let text =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        let text = text.concat();
        must(!text.trim().is_empty(), || format!("{what}: nothing was printed"))?;
        must(output.status.code() == Some(code), || format!("{what}: {}", output.status))?;
        must(!words.contains(&"run") || text.contains("--once"), || {
            format!("{what}: the supervisor's command line was not looked at")
        })?;
        // The user's own variable is the child's as well; that is where the user put it.
        let own = format!("{in_environment}={secret}\n");
        seen.push((what, text.replace(&own, "")));
    }
    for (what, text) in &seen {
        for secret in [secret.as_str(), escaped.as_str(), "-wrong"] {
            must(!text.contains(secret), || format!("{what} shows a password"))?;
        }
    }
    let told = seen.iter().map(|(_, text)| text.len()).sum::<usize>();
    world.say(format!("looked through {told} bytes of {} kinds", seen.len()));
    Ok(Finding::Holds)
}
