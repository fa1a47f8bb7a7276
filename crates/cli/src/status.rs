//! `leasehold status`: one read, and what it proves.

use std::time::Duration;

use leasehold::backend::{Contents, Expiry, Observed, Record};
use leasehold::status::printable;
use leasehold::timing::{BootClock, Clock, Wall};
use leasehold::{Error, ErrorKind, Token};
use serde_json::{Value, json};

use crate::args::{Colour, OutputFormat, StatusArgs};
use crate::exit;
use crate::lock::Lock;
use crate::notice::{self, FORGOTTEN, age};
use crate::output::{self, Paint, json as json_line};
use crate::runtime;

/// How much is repeated of why a record cannot be read, in characters.
const LONGEST: usize = 1_000;

/// What one read says about leadership.
#[derive(Debug)]
struct Answer<'a> {
    state: &'static str,
    code: u8,
    record: Option<&'a Record>,
    /// Of its holder.
    token: Option<Token>,
    /// When its holder last renewed, where that is stored.
    renewed: Option<Wall>,
    /// Why, if that is not plain.
    reason: Option<String>,
}

/// Prints who leads. Returns the exit code.
#[must_use]
pub fn main(args: &StatusArgs, colour: Colour) -> u8 {
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(status(args, Paint::stdout(colour)));
    runtime.shutdown_background();
    code
}

async fn status(args: &StatusArgs, paint: Paint) -> u8 {
    let read = async {
        let lock = Lock::connect(&args.lock.lock).await?;
        let observed = lock.backend().read().await?;
        Ok::<_, Error>((lock, observed))
    };
    let clock = BootClock::new();
    let read = tokio::select! {
        read = read => read,
        () = clock.sleep_until(clock.now() + args.request_timeout) => Err(Error::new(
            ErrorKind::Unavailable,
            "read the lock",
            format!("no answer within {}", humantime::format_duration(args.request_timeout)),
        )),
    };
    match read {
        Ok((lock, observed)) => {
            let answer = judge(&observed);
            output::answer(&answer.render(args.output, lock.backend().name(), paint), answer.code)
        }
        Err(error) => {
            match args.output {
                OutputFormat::Text => output::print_error(&error),
                OutputFormat::Json => {
                    let answer = unknown(None, &error);
                    return output::answer(
                        &format!("{}\n", json_line(&answer)),
                        exit::of_error(&error),
                    );
                }
            }
            exit::of_error(&error)
        }
    }
}

fn judge(observed: &Observed) -> Answer<'_> {
    let nobody = |reason: Option<&str>| Answer {
        state: "nobody",
        code: exit::HELD,
        record: None,
        token: None,
        renewed: None,
        reason: reason.map(str::to_owned),
    };
    let record = match &observed.contents {
        Contents::Unreadable(what) => {
            let what = printable(what).at_most(LONGEST);
            let reason = Some(format!("what is stored is unreadable: {what}"));
            let code = exit::CONFIG;
            return Answer { state: "corrupt", code, reason, ..nobody(None) };
        }
        Contents::Absent => None,
        Contents::Record(record) => Some(record),
    };
    let leads = record.filter(|record| record.holder.as_ref().is_some_and(|it| !it.is_unknown()));
    let Some(record) = leads else {
        // Whoever led before the store forgot may believe yet.
        let is_adopted = record.is_some_and(|record| record.holder.is_some());
        if is_adopted || observed.expiry == Expiry::Suspended {
            let (code, reason) = (exit::UNAVAILABLE, Some(FORGOTTEN.to_owned()));
            return Answer { state: "unknown", code, reason, ..nobody(None) };
        }
        return nobody(record.is_none().then_some("there is no record"));
    };
    let (token, renewed) = (observed.holders_token(), observed.renewed());
    let held =
        Answer { state: "held", code: 0, record: Some(record), token, renewed, reason: None };
    let unknown = |reason: String| Answer {
        state: "unknown",
        code: exit::UNAVAILABLE,
        record: Some(record),
        token,
        renewed,
        reason: Some(reason),
    };
    match observed.expiry {
        Expiry::Passed => nobody(Some("the holder's process is gone")),
        Expiry::Suspended => unknown("the store may have forgotten a newer state".to_owned()),
        Expiry::ByServer => held,
        Expiry::ByObserver => match age(record.renewed) {
            Ok(age) if age > record.lease_duration => unknown(format!(
                "by the wall clocks it renewed {} ago, longer than its lease; one read cannot tell \
                 whether it is gone, only a candidate that waits can",
                humantime::format_duration(Duration::from_secs(age.as_secs()))
            )),
            _ => held,
        },
    }
}

impl Answer<'_> {
    fn render(&self, form: OutputFormat, lock: &str, paint: Paint) -> String {
        match form {
            OutputFormat::Text => self.text(paint),
            OutputFormat::Json => format!("{}\n", json_line(&self.json(lock))),
        }
    }

    fn text(&self, paint: Paint) -> String {
        let leader = self.record.and_then(|record| Some((record, record.holder.as_ref()?)));
        let mut text = match leader {
            Some((record, holder)) => {
                let token = self.token.map(|token| format!("token {token}, ")).unwrap_or_default();
                let who = printable(&holder.identity).to_string();
                let (verb, who) = match self.code {
                    0 => ("leads", paint.good(&who)),
                    _ => ("was the last to lead", paint.doubtful(&who)),
                };
                let told = notice::told(record.since(), self.renewed, record.lease_duration);
                format!("{who} {verb} ({token}{told})")
            }
            None if self.code == exit::HELD => paint.bad("nobody leads"),
            None => paint.doubtful("unknown who leads"),
        };
        if let Some(reason) = &self.reason {
            text.push_str(": ");
            text.push_str(reason);
        }
        text.push('\n');
        text
    }

    fn json(&self, lock: &str) -> Value {
        let leader = self.record.and_then(|record| {
            let holder = record.holder.as_ref()?;
            let (advertise, lease) = (holder.advertise.as_deref(), record.lease_duration);
            let since = record.since();
            let mut leader = leader_json(&holder.identity, advertise, self.token, since, lease);
            leader["renewed_ms"] = json!(self.renewed.map(|at| at.0));
            Some(leader)
        });
        json!({
            "v": 1,
            "lock": lock,
            "state": self.state,
            "leader": leader,
            "reason": self.reason,
        })
    }
}

/// What one read says of a lock among others: in a line, for programs, and as an exit code if it
/// says that something is wrong.
pub(crate) fn row(
    observed: &Result<Observed, Error>,
    lock: &str,
    paint: Paint,
) -> (String, Value, Option<u8>) {
    match observed {
        Ok(observed) => {
            let answer = judge(observed);
            let text = match (answer.state, &answer.reason) {
                ("corrupt", Some(reason)) => format!("{}: {reason}\n", paint.bad("broken")),
                _ => answer.text(paint),
            };
            let code = (answer.code == exit::CONFIG).then_some(exit::CONFIG);
            (text, answer.json(lock), code)
        }
        Err(error) => {
            let text = format!("{}: {error}\n", paint.doubtful("unknown who leads"));
            (text, unknown(Some(lock), error), Some(exit::of_error(error)))
        }
    }
}

/// A lock that could not be read, for programs.
fn unknown(lock: Option<&str>, error: &Error) -> Value {
    json!({
        "v": 1, "lock": lock, "state": "unknown", "leader": null, "reason": error.to_string(),
    })
}

/// A leader, as programs read of it. Who does not tell since when, tells no lease duration either.
pub(crate) fn leader_json(
    identity: &str,
    advertise: Option<&str>,
    token: Option<Token>,
    since: Option<Wall>,
    lease_duration: Duration,
) -> Value {
    let lease = since.and_then(|_| u64::try_from(lease_duration.as_millis()).ok());
    json!({
        "identity": identity,
        "advertise": advertise,
        "token": token,
        "since_ms": since.map(|since| since.0),
        "lease_duration_ms": lease,
    })
}

#[cfg(test)]
mod tests {
    use leasehold::backend::{Change, Holder, Intent, LockBackend, Nonce, Push, Version};
    use leasehold::testing::MemoryLock;

    use super::*;

    fn foreign(expiry: Expiry) -> Observed {
        let holder = Holder { identity: "host-7".to_owned(), incarnation: None, advertise: None };
        let record = Record {
            holder: Some(holder),
            token: 12,
            lease_duration: Duration::from_secs(60),
            nonce: Nonce(1),
            acquired: Wall(0),
            renewed: Wall(0),
            extra: serde_json::Map::new(),
        };
        let contents = Contents::Record(record);
        Observed { version: Version::number(1), contents, expiry, token_floor: None }
    }

    #[test]
    fn a_foreign_leader_is_told_of_as_far_as_it_is_known() {
        let observed = foreign(Expiry::ByServer);
        let text = judge(&observed).text(Paint(false));
        assert_eq!(text, "host-7 leads (token 12, a foreign client that tells no more)\n");
        let elsewhere = foreign(Expiry::ByObserver);
        assert!(!judge(&elsewhere).text(Paint(false)).contains("token"), "no store minted it");
        assert!(!judge(&elsewhere).text(Paint(false)).contains("1970"));
        assert!(judge(&observed).text(Paint(true)).starts_with("\u{1b}[32mhost-7\u{1b}[0m leads"));
    }

    /// The first candidate adopts what is there under the holder `unknown`, which is nobody.
    #[tokio::test]
    async fn a_store_that_may_have_forgotten_who_led_is_not_free() {
        let lock = MemoryLock::builder("jobs").push(Push::Hint).forgets().build();
        let told = async || {
            let observed = lock.read().await.unwrap();
            let answer = judge(&observed);
            assert_eq!(answer.code, exit::UNAVAILABLE);
            assert_eq!(answer.json("jobs")["state"], "unknown");
            assert_eq!(answer.json("jobs")["leader"], Value::Null);
            answer.text(Paint(false))
        };
        let absent = told().await;
        assert!(absent.starts_with("unknown who leads: the store may have forgotten"), "{absent}");
        let holder = Some(Holder::unknown());
        let Contents::Record(placeholder) = foreign(Expiry::ByObserver).contents else { panic!() };
        let record = Record { holder, ..placeholder };
        let adopted = Change { intent: Intent::Adopt, record };
        let version = lock.read().await.unwrap().version;
        lock.write(&version, &adopted).await.unwrap();
        assert_eq!(told().await, absent);
    }

    #[test]
    fn a_renewal_that_no_store_keeps_is_not_told() {
        let mut observed = foreign(Expiry::ByServer);
        let Contents::Record(record) = &mut observed.contents else { unreachable!() };
        (record.acquired, record.renewed) = (Wall(1_000), Wall(2_000));
        let answer = judge(&observed);
        assert_eq!(
            answer.text(Paint(false)),
            "host-7 leads (token 12, since 1970-01-01T00:00:01Z, lease 1m)\n"
        );
        assert_eq!(answer.json("x")["leader"]["renewed_ms"], Value::Null);
        assert_eq!(answer.json("x")["leader"]["since_ms"], 1_000);
        observed.expiry = Expiry::ByObserver;
        assert!(judge(&observed).text(Paint(false)).contains("renewed 1970-01-01T00:00:02Z"));
        assert_eq!(judge(&observed).json("x")["leader"]["renewed_ms"], 2_000);
    }
}
