//! The compare-and-swap: what is sent for it, and what the answer means.

use redis::{Cmd, Value, cmd};

use crate::connection::first_error;
use crate::failure::{Failure, Reason};
use crate::info::{Info, SECTIONS, text};
use crate::node::{Request, Wait, sections};
use crate::reader::Reader;
use crate::rules::Cas;
use crate::script::{CAS, CAS_SHA1, answer};

/// One compare-and-swap. Without `expected` there must be nothing.
pub(crate) struct Swap<'a> {
    pub(crate) reign: &'a str,
    pub(crate) expected: Option<&'a [u8]>,
    pub(crate) new: &'a [u8],
    pub(crate) wait: Option<Wait>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swapped {
    Yes,
    No,
}

impl Reader {
    pub(crate) fn request(&self, swap: &Swap<'_>) -> Request {
        let (commands, with_script) = match self.rules.cas {
            Cas::Script => {
                (vec![self.call("EVALSHA", CAS_SHA1, swap)], vec![self.call("EVAL", CAS, swap)])
            }
            Cas::IfEq => (self.transaction(swap), Vec::new()),
        };
        Request { commands, with_script, wait: swap.wait, is_simple: false, is_asking: false }
    }

    fn call(&self, command: &str, script: &str, swap: &Swap<'_>) -> Cmd {
        let replicas = if self.rules.expects_replicas() { "1" } else { "0" };
        let mut call = cmd(command);
        call.arg(script).arg(1).arg(self.name.key()).arg(swap.reign);
        call.arg(swap.expected.unwrap_or_default()).arg(swap.new).arg(replicas);
        call
    }

    /// Without a script nothing can depend on the reign, so what was written in another one is
    /// found out afterwards: the reign that is stored with it is not the server's, and nobody
    /// trusts it. Nor can the announcement, so it says only that a read may find something.
    fn transaction(&self, swap: &Swap<'_>) -> Vec<Cmd> {
        let mut set = cmd("SET");
        set.arg(self.name.key()).arg(swap.new);
        match swap.expected {
            Some(expected) => set.arg("IFEQ").arg(expected),
            None => set.arg("NX"),
        };
        set.arg("GET");
        let mut publish = cmd("PUBLISH");
        publish.arg(self.name.key()).arg("");
        let mut commands = vec![cmd("MULTI"), set, publish];
        commands.extend(sections());
        commands.push(cmd("EXEC"));
        commands
    }

    /// What the server answered.
    pub(crate) fn swapped(
        &self,
        swap: &Swap<'_>,
        replies: &[Value],
        address: &str,
    ) -> Result<Swapped, Failure> {
        if let Some(failure) = first_error(replies, address) {
            return Err(failure);
        }
        let Some(Value::Array(parts)) = replies.last() else {
            return Err(Failure::unexpected(address));
        };
        match self.rules.cas {
            Cas::Script => self.scripted(parts, address),
            Cas::IfEq => self.transacted(swap, parts, address),
        }
    }

    /// What the script answered.
    pub(crate) fn scripted(&self, parts: &[Value], address: &str) -> Result<Swapped, Failure> {
        let word = |at: usize| parts.get(at).and_then(text).unwrap_or_default();
        match parts.first() {
            Some(Value::Int(answer::WRITTEN)) => Ok(Swapped::Yes),
            Some(Value::Int(answer::CONFLICT)) => Ok(Swapped::No),
            Some(Value::Int(answer::REFUSED)) => {
                conflicting(Failure::lacking(word(1), word(2), address))
            }
            Some(Value::Int(answer::NO_PRIMARY)) => {
                Err(Failure::stale(format!("{address} is not a primary any more")))
            }
            Some(Value::Int(answer::HAS_REPLICAS)) => {
                let online = match parts.get(1) {
                    Some(Value::Int(online)) => u64::try_from(*online).unwrap_or(1),
                    _ => 1,
                };
                Err(self.rules.unexpected_replicas(address, online))
            }
            _ => Err(Failure::unexpected(address)),
        }
    }

    /// What each command of the transaction answered.
    fn transacted(
        &self,
        swap: &Swap<'_>,
        parts: &[Value],
        address: &str,
    ) -> Result<Swapped, Failure> {
        let Some((before, rest)) = parts.split_first() else {
            return Err(Failure::unexpected(address));
        };
        if let Value::ServerError(error) = before {
            return conflicting(Failure::of_answer(error, address));
        }
        let is_swapped = match (before, swap.expected) {
            (Value::BulkString(before), Some(expected)) => before == expected,
            (Value::Nil, None) => true,
            _ => false,
        };
        if !is_swapped {
            return Ok(Swapped::No);
        }
        let info = rest.get(1..=SECTIONS.len()).and_then(Info::of);
        let info = info.ok_or_else(|| Failure::unexpected(address))?;
        if info.reign().as_deref() != Some(swap.reign) {
            return Err(other_reign(address));
        }
        if info.online() > 0 && !self.rules.expects_replicas() {
            return Err(self.rules.unexpected_replicas(address, info.online()));
        }
        Ok(Swapped::Yes)
    }
}

/// The server's data may have gone back while it was asked.
pub(crate) fn other_reign(address: &str) -> Failure {
    Failure::stale(format!(
        "{address}: the server was demoted, promoted or restarted, or resynchronized a replica, \
         while it was asked"
    ))
}

/// A key of another type was not replaced: a read says what is there instead.
fn conflicting(failure: Failure) -> Result<Swapped, Failure> {
    match failure.reason {
        Reason::WrongType => Ok(Swapped::No),
        _ => Err(failure),
    }
}
