//! The catalogue: every case by its name, whether or not it is built yet.

use std::fmt;

/// When a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// At every change.
    Fast,
    /// Every night: takes longer than a few seconds, or more than one server.
    Slow,
    /// Random schedules, by seed.
    Explore,
}

/// One case of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, such as `EX4`.
    pub id: &'static str,
    /// When it runs.
    pub tier: Tier,
    /// What happens in it.
    pub title: &'static str,
    /// The stores for which the catalogue says "not applicable", by letter: K Kubernetes Lease, E Endpoints, T etcd,
    /// R Redis, S object store.
    pub not_on: &'static str,
    /// Its place in a run.
    pub turn: Turn,
}

/// When a case runs beside the others of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Before them, and alone: it floods the store.
    First,
    /// Beside them.
    Among,
    /// After them, and alone: what it says of time and cost is nobody else's.
    Last,
}

impl Case {
    /// Whether the catalogue lets this backend leave the case out. Memory and file have no column there: their
    /// expectations argue each exception themselves.
    #[must_use]
    pub fn may_be_left_out(&self, backend: &str) -> bool {
        match backend {
            "k8s" => self.not_on.contains('K'),
            "k8s+endpoints" => self.not_on.contains('E'),
            "etcd" | "etcd-least" => self.not_on.contains('T'),
            "redis" => self.not_on.contains('R'),
            "objectstore" => self.not_on.contains('S'),
            _ => true,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Explore => "explore",
        })
    }
}

/// The case of that name.
#[must_use]
pub fn case(id: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.id == id)
}

const fn fast(id: &'static str, title: &'static str) -> Case {
    Case { id, tier: Tier::Fast, title, not_on: "", turn: Turn::Among }
}

const fn slow(id: &'static str, title: &'static str) -> Case {
    Case { tier: Tier::Slow, ..fast(id, title) }
}

const fn explore(id: &'static str, title: &'static str) -> Case {
    Case { tier: Tier::Explore, ..fast(id, title) }
}

const fn first(case: Case) -> Case {
    Case { turn: Turn::First, ..case }
}

const fn last(case: Case) -> Case {
    Case { turn: Turn::Last, ..case }
}

const fn except(not_on: &'static str, case: Case) -> Case {
    Case { not_on, ..case }
}

/// All of them, in the order of the catalogue.
pub const CASES: &[Case] = &[
    first(fast("Q1", "racing conditional writes have one winner a round")),
    first(fast("Q2", "a write over a wrong, a deleted and an old version is refused")),
    first(fast("Q3", "the same record written twice is two versions")),
    first(fast("Q4", "every read shows at least the last acknowledged write")),
    first(except("S", slow("Q5", "no version comes back over deletion, creation and restart"))),
    fast("BA1", "one candidate on an absent key leads, and the record can be read"),
    fast("BA2", "two others ask twenty times and are refused"),
    fast("BA3", "nothing changes in ten leases without a fault"),
    fast("BA4", "two locks know nothing of each other"),
    fast("BA5", "strange names and identities are kept apart or refused up front"),
    fast("BA6", "a dropped handle, a panic and a cancelled campaign end belief at once"),
    fast("BA7", "an invalid configuration is refused before any request"),
    fast("CO1", "sixteen candidates start at once, twenty rounds"),
    fast("CO2", "sixteen candidates wait for one lease to run out"),
    slow("CO3", "a hundred candidates, the leader killed ten times"),
    slow("CO4", "every leader resigns at once, for a minute"),
    fast("EX1", "the leader is killed just after a renewal"),
    fast("EX2", "a candidate starts after the leader was killed"),
    fast("EX3", "a renewal arrives just before the lease is over"),
    except("T", fast("EX4", "the record's lease duration counts, not the challenger's")),
    fast("EX5", "everybody restarts at once under new names"),
    slow("EX6", "the lease that a store really keeps, from 1 s to 5 s"),
    fast("RN1", "every renewal fails from some moment on"),
    fast("RN2", "one renewal fails and the next succeeds"),
    fast("RN3", "a renewal is answered just before, then after the deadline"),
    fast("RN4", "an outage shorter, then longer than the ride-through"),
    except("T", fast("RN5", "a renewal meets its own earlier write, whose answer was lost")),
    except("TRS", fast("RN6", "somebody else edits the record and changes nothing that counts")),
    slow("RN7", "a renewal that is never answered is cut and sent anew"),
    fast("RN8", "the store refuses every request during a term, for less than the ride-through"),
    fast("HO1", "the leader is asked to stop: work first, then the release"),
    fast("HO2", "a release meets a renewal in flight, in three orders"),
    fast("HO3", "a deposed leader comes back while it shuts down"),
    fast("HO4", "the answer to a release is lost"),
    fast("HO5", "a late release meets the next term of the same candidate"),
    fast("HO6", "a release against a store that hangs returns in time"),
    fast("HO7", "who resigned does not retake while another may"),
    slow("HO8", "a hundred hand-overs with work that is not fenced"),
    fast("FE1", "two hundred terms have growing tokens"),
    fast("FE2", "a leader stopped before its effect is refused by a fenced resource only"),
    fast("FE3", "a candidate restarts under its name within the lease"),
    fast("FE4", "an operator deletes the lock and tokens go on"),
    slow("FE5", "the store is restored from a backup three terms old"),
    except("KE", fast("FE6", "a guarded write inside the store is refused to a stale leader")),
    fast("FE7", "the token that a child is given is the record's"),
    fast("WA1", "an observer sees ten hand-overs in order"),
    fast("WA2", "a watch is silently dead"),
    except("RS", fast("WA3", "the history that a watch resumes from is gone")),
    fast("WA4", "a watch delivers late, twice and out of order"),
    fast("WA5", "an observer writes nothing"),
    fast("WA6", "an observer says that nobody leads, and not for ever the dead leader"),
    fast("CK1", "clock rates at the bound less one percent, a hundred hand-overs"),
    fast("CK2", "clock rates thirty percent beyond the bound overlap"),
    fast("CK3", "wall clocks jump by an hour and by ten years"),
    fast("CK4", "a machine is suspended for ten leases"),
    slow("CK5", "the server's wall clock jumps"),
    fast("PA1", "the leader is stopped for more than a lease"),
    fast("PA2", "a candidate is stopped between its take and the answer"),
    fast("PA3", "a follower is stopped for ten leases"),
    slow("PA4", "two hundred random pauses"),
    slow("PA5", "the freezer, a paused container and a starved processor"),
    fast("PA6", "the runtime's thread is blocked by a busy work"),
    fast("NP1", "the leader is cut off, and comes back after two leases"),
    fast("NP2", "only the answers to the leader are lost"),
    fast("NP3", "only the leader's requests are lost"),
    fast("NP4", "most followers are cut off"),
    fast("NP5", "requests held during a cut arrive after it"),
    except("S", slow("NP6", "the server that a client talks to is in the minority")),
    slow("NP7", "the store is split under replication"),
    explore("NP8", "a minute of random cuts, by seed"),
    fast("SV1", "the server is killed and is back within the ride-through"),
    fast("SV2", "the server is back after two leases"),
    slow("SV3", "what was not yet on the server's disk is lost"),
    except("KERS", slow("SV4", "the store's own leader stops, moves and is replaced")),
    except("KETS", slow("SV5", "a replica that missed the write is promoted")),
    slow("SV6", "the server is stopped for two leases"),
    except("TRS", slow("SV7", "one of two servers behind one address restarts")),
    slow("SV8", "the store's disk is full"),
    except("KERS", fast("SV9", "the store is replaced by another at the same address")),
    fast("LA1", "delay grows to more than the request timeout, on each side"),
    fast("LA2", "a take is applied and its answer lost"),
    fast("LA3", "something on the way sends a request twice"),
    slow("LA4", "an answer is cut after every number of bytes"),
    slow("LA5", "the request timeout over its range"),
    fast("OV1", "the store asks for fewer requests, by the word of the way to it"),
    except("TRS", slow("OV2", "others starve us at the server")),
    slow("OV3", "every connection is refused for an hour"),
    fast("SE1", "the smallest credential of the documentation is enough, and none smaller"),
    fast("SE2", "wrong, expired and absent certificates"),
    fast("SE3", "a credential is rotated while somebody leads"),
    fast(
        "SE4",
        "a credential is revoked while somebody leads; the way to a store that knows none refuses",
    ),
    fast("SE5", "somebody with our credential forges, blocks and deletes"),
    fast("SE6", "no secret in any log, argument or message"),
    slow("SE7", "an old renewal is replayed"),
    fast("IN1", "what is stored is no record"),
    fast("IN2", "a record with absurd fields"),
    fast("IN3", "what is stored belongs to somebody else"),
    slow("IN4", "the decoder is given random bytes"),
    fast("UP1", "candidates of two versions, and fields that one does not know"),
    except("ETRS", slow("UP2", "client-go on one Lease with us")),
    except("ETRS", slow("UP3", "other languages' clients on one Lease with us")),
    except("KTRS", slow("UP4", "an old client-go on one Endpoints object with us")),
    except("KERS", slow("UP5", "etcdctl and Go's election on one prefix with us")),
    except("ETRS", fast("UP6", "a coordinator sets its fields")),
    last(slow("SC1", "a thousand elections in one process, for a minute (ten of virtual time)")),
    slow("SC2", "a day of virtual time with a fault every five minutes; else 220 s, every ten"),
    last(except("KERS", slow("SC3", "five thousand leases end together"))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_case_of_the_catalogue_once() {
        assert_eq!(CASES.len(), 107);
        let fast = CASES.iter().filter(|case| case.tier == Tier::Fast).count();
        assert_eq!((fast, CASES.len() - fast), (75, 32));
        let of = |turn| CASES.iter().filter(|case| case.turn == turn).map(|case| case.id).collect();
        let (first, last): (Vec<&str>, Vec<&str>) = (of(Turn::First), of(Turn::Last));
        assert_eq!(first, ["Q1", "Q2", "Q3", "Q4", "Q5"]);
        assert_eq!(last, ["SC1", "SC3"]);
        for (at, one) in CASES.iter().enumerate() {
            assert_eq!(case(one.id).map(|case| case.title), Some(one.title));
            assert!(CASES[..at].iter().all(|other| other.id != one.id), "{} twice", one.id);
        }
    }
}
