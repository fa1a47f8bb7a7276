//! Whether the lock's user may do on a node what a candidate does there. Users are not replicated:
//! a node that does not know this one is of no use after a fail-over.

use leasehold_backend::Finding;
use leasehold_core::{ErrorKind, printable};
use redis::{Cmd, Value, cmd};

use crate::connection::{Connection, How, first_error, listen};
use crate::dial::Address;
use crate::failure::{Failure, Reason};
use crate::reader::Reader;
use crate::rules::Cas;

const SUBJECT: &str = "permission";

/// Rights without which a candidate leads all the same, and hears less.
const OF_NEWS: [&str; 2] = ["publish", "subscribe"];

impl Reader {
    /// What this user lacks on a node. Nothing is written there, and what is published says
    /// nothing.
    pub(super) async fn rights_at(&self, how: &How, at: &Address) -> Result<Rights, Failure> {
        let address = at.to_string();
        let connection = Connection::open(how, at).await?;
        let (rights, commands): (Vec<&'static str>, Vec<Cmd>) =
            self.commands_of_a_candidate().into_iter().unzip();
        let replies = connection.ask(&commands).await?;
        let refused = first_error(&replies, &address);
        if let Some(failure) =
            refused.filter(|failure| failure.is_denied() && failure.reason != Reason::NotPermitted)
        {
            return Err(failure);
        }
        let mut lacking = Rights::default();
        for (right, reply) in rights.into_iter().zip(&replies) {
            if let Value::ServerError(error) = reply {
                let failure = Failure::of_answer(error, &address);
                lacking.note(right, &failure, error.details().unwrap_or_default(), self);
            }
        }
        let subscribed = match listen(how, at).await {
            Ok(mut hears) => hears.subscribe(self.name.key()).await,
            Err(failure) => return Err(failure),
        };
        if let Err(error) = subscribed {
            let failure = Failure::of_redis(&error, &address);
            lacking.note("subscribe", &failure, error.detail().unwrap_or_default(), self);
        }
        Ok(lacking)
    }

    /// Each right of a candidate, and a command that is looked at for it and does nothing.
    fn commands_of_a_candidate(&self) -> Vec<(&'static str, Cmd)> {
        let of = |words: &[&str]| {
            let mut command = cmd(words[0]);
            for word in &words[1..] {
                command.arg(*word);
            }
            command
        };
        let key = self.name.key();
        let mut commands = vec![
            ("get", of(&["GET", key])),
            ("set", of(&["SET", key, "", "NX", "XX"])),
            ("publish", of(&["PUBLISH", key, ""])),
            ("time", of(&["TIME"])),
            ("info|server", of(&["INFO", "server"])),
            ("info|replication", of(&["INFO", "replication"])),
            ("info|stats", of(&["INFO", "stats"])),
            ("exec", of(&["EXEC"])),
        ];
        if self.rules.cas == Cas::Script {
            let unknown = "0".repeat(40);
            commands.push(("eval", of(&["EVAL", "return 0", "0"])));
            commands.push(("evalsha", of(&["EVALSHA", &unknown, "0"])));
        }
        if self.rules.expects_replicas() {
            commands.push(("wait", of(&["WAIT", "none", "none"])));
        }
        // It begins what nobody ends: the connection goes.
        commands.push(("multi", of(&["MULTI"])));
        commands
    }
}

/// What a user lacks.
#[derive(Debug, Default)]
pub(super) struct Rights {
    lacking: Vec<String>,
    /// Whether a candidate can go on without.
    only_news: bool,
}

impl Rights {
    fn note(&mut self, right: &str, failure: &Failure, said: &str, of: &Reader) {
        if failure.reason != Reason::NotPermitted {
            return;
        }
        let key = printable(of.name.key());
        let lacking = match (said.contains(" access "), said.contains("channel")) {
            (true, true) => format!("&{key}"),
            (true, false) => format!("~{key}"),
            (false, _) => format!("+{right}"),
        };
        let is_news = OF_NEWS.contains(&right);
        self.only_news = is_news && (self.only_news || self.lacking.is_empty());
        if !self.lacking.contains(&lacking) {
            self.lacking.push(lacking);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.lacking.is_empty()
    }

    /// What is wrong with this node; `None`: nothing.
    pub(super) fn finding(&self, address: &Address, reader: &Reader) -> Option<Finding> {
        if self.is_complete() {
            return None;
        }
        let lacking = self.lacking.join(" ");
        let cure = format!("on {address}: {}", reader.name.rule());
        Some(if self.only_news {
            let text = format!(
                "{address}: this user lacks {lacking}: followers hear of a release only when they \
                 look"
            );
            Finding::warning(SUBJECT, text, cure)
        } else {
            let text = format!("{address}: this user lacks {lacking}");
            Finding::problem(SUBJECT, ErrorKind::Denied, text, cure)
        })
    }
}

/// A node that does not let this user in, or that cannot be asked.
pub(super) fn not_asked(address: &Address, failure: Failure, reader: &Reader) -> Finding {
    if failure.is_denied() {
        // Of certificates the failure says more.
        let of_user = failure.reason == Reason::Stale;
        let cure = format!(
            "this user must exist on every node, for users are not replicated; on {address}: {}",
            reader.name.rule()
        );
        let failure = if of_user { failure.with_cure(cure) } else { failure };
        return Finding::of_error(SUBJECT, &failure.during("log in to a node"));
    }
    let text = format!("whether this user may log in to {address} is not known: {failure}");
    Finding::warning(SUBJECT, text, "look at that node, and at the network between here and it")
}

/// That every node is as it must be.
pub(super) fn all_good(addresses: &[String]) -> Finding {
    let all = addresses.join(", ");
    let text = format!("this user may do all that a candidate does on {all}");
    Finding::good(SUBJECT, text)
}
