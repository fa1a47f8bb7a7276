//! The cases, each written once for every backend, and the table of all of them.

mod ambiguity;
mod basic;
mod case;
mod clocks;
mod contention;
#[cfg(feature = "servers")]
mod crowds;
#[cfg(feature = "servers")]
mod disks;
mod expiry;
mod fencing;
mod handover;
#[cfg(feature = "servers")]
mod interop;
#[cfg(feature = "servers")]
mod members;
mod overload;
mod partitions;
mod pauses;
#[cfg(feature = "servers")]
mod peers;
mod qualification;
mod records;
mod renewal;
mod rewinds;
mod scale;
#[cfg(feature = "servers")]
mod security;
#[cfg(feature = "servers")]
mod servers;
mod watching;

pub use case::{Case, Run, Tier, Turn};

macro_rules! run {
    () => {
        None
    };
    ($group:ident::$case:ident) => {
        Some((|world| Box::pin($group::$case(world))) as Run)
    };
}

#[cfg(feature = "servers")]
macro_rules! on_servers {
    ($($case:tt)*) => { run!($($case)*) };
}

#[cfg(not(feature = "servers"))]
macro_rules! on_servers {
    ($($case:tt)*) => {
        None
    };
}

macro_rules! cases {
    ($($id:ident $tier:ident $($turn:ident)? $title:literal
        $(, fails_if $fails_if:literal)?
        $(, run $group:ident::$case:ident)?
        $(, on_servers $servers:ident::$on_servers:ident)?;)*) => {
        /// All of them, in the order of the catalogue. A row names the case, its tier, its place in
        /// a run where that matters, what happens in it, what would make it fail, the function that
        /// runs it, and the one that runs it where the suite can start servers. A case that nobody
        /// has built has neither function.
        pub const CASES: &[Case] = &[$(Case {
            id: stringify!($id),
            tier: Tier::$tier,
            turn: cases!(@turn $($turn)?),
            title: $title,
            fails_if: cases!(@fails_if $($fails_if)?),
            run: run!($($group::$case)?),
            on_servers: on_servers!($($servers::$on_servers)?),
        }),*];
    };
    (@turn) => { Turn::Among };
    (@turn $turn:ident) => { Turn::$turn };
    (@fails_if) => { None };
    (@fails_if $fails_if:literal) => { Some($fails_if) };
}

cases! {
    Q1 Fast First "racing conditional writes have one winner a round",
        fails_if "compare and write are two steps: several writers over one version win",
        run qualification::one_winner;
    Q2 Fast First "a write over a wrong, a deleted and an old version is refused",
        fails_if "a write over a version that is gone is let in, or brings a deleted lock back",
        run qualification::wrong_versions;
    Q3 Fast First "the same record written twice is two versions",
        fails_if "equal bytes give an equal version: a renewal cannot be told from none",
        run qualification::identical_writes;
    Q4 Fast First "every read shows at least the last acknowledged write",
        fails_if "a read is served from a cache or a replica",
        run qualification::reads_are_fresh;
    Q5 Slow First "no version comes back over deletion, creation and restart",
        fails_if "versions begin anew when a lock is created again",
        run qualification::versions_never_repeat;
    BA1 Fast "one candidate on an absent key leads, and the record can be read",
        fails_if "the lock is not taken, the token is 0, or others cannot read the record",
        run basic::leads_alone;
    BA2 Fast "two others ask twenty times and are refused",
        fails_if "a second candidate leads, or is told of another leader or token",
        run basic::others_are_refused;
    BA3 Fast "nothing changes in ten leases without a fault",
        fails_if "a term is lost without a fault, or renewals come too often or too rarely",
        run basic::ten_leases;
    BA4 Fast "two locks know nothing of each other",
        fails_if "two names share state",
        run basic::two_locks;
    BA5 Fast "strange names and identities are kept apart or refused up front",
        fails_if "two names are escaped to one, or an identity is changed on its way",
        run basic::strange_names;
    BA6 Fast "a dropped handle, a panic and a cancelled campaign end belief at once",
        fails_if "belief outlives its owner, a drop releases, or an unwanted take is kept",
        run basic::dropped_and_cancelled;
    BA7 Fast "an invalid configuration is refused before any request",
        fails_if "an invalid timing is taken, or refused only after a request",
        run basic::invalid_configurations;
    CO1 Fast "sixteen candidates start at once, twenty rounds",
        fails_if "two of sixteen win, or none",
        run contention::all_at_once;
    CO2 Fast "sixteen candidates wait for one lease to run out",
        fails_if "two take from one dead leader, or losers ask again and again",
        run contention::all_wait;
    CO3 Slow "a hundred candidates, the leader killed ten times",
        fails_if "failover takes longer among many, or costs more than a few requests each",
        run contention::a_hundred;
    CO4 Slow "every leader resigns at once, for a minute",
        fails_if "terms that follow each other at once overlap or repeat a token",
        run contention::churn;
    EX1 Fast "the leader is killed just after a renewal",
        fails_if "the lock is taken before the lease is over, or later than the bound",
        run expiry::killed;
    EX2 Fast "a candidate starts after the leader was killed",
        fails_if "a newcomer trusts a time that is stored instead of waiting itself",
        run expiry::started_after;
    EX3 Fast "a renewal arrives just before the lease is over",
        fails_if "a follower does not begin to wait anew when a late renewal arrives",
        run expiry::late_renewal;
    EX4 Fast "the record's lease duration counts, not the challenger's",
        fails_if "a challenger waits its own lease duration instead of the record's",
        run expiry::whose_duration;
    EX5 Fast "everybody restarts at once under new names",
        fails_if "newcomers take at once from a record whose holder is gone, or never",
        run expiry::everybody_restarts;
    EX6 Slow "the lease that a store really keeps, from 1 s to 5 s",
        fails_if "a store keeps a lease shorter than asked for",
        run expiry::effective_lease;
    RN1 Fast "every renewal fails from some moment on",
        fails_if "the deadline counts from the answer, or belief and work outlive it",
        run renewal::all_fail;
    RN2 Fast "one renewal fails and the next succeeds",
        fails_if "one failed renewal ends the term, or is counted as done",
        run renewal::one_fails;
    RN3 Fast "a renewal is answered just before, then after the deadline",
        fails_if "an answer after the deadline counts, or one before it does not",
        run renewal::around_the_deadline;
    RN4 Fast "an outage shorter, then longer than the ride-through",
        fails_if "a short outage ends the term, or a long one does not",
        run renewal::ride_through;
    RN5 Fast "a renewal meets its own earlier write, whose answer was lost",
        fails_if "its own write, whose answer was lost, is taken for another's",
        run renewal::own_earlier_write;
    RN6 Fast "somebody else edits the record and changes nothing that counts",
        fails_if "a changed version counts as a sign of life, or foreign fields are dropped",
        run renewal::foreign_edit;
    RN7 Slow "a renewal that is never answered is cut and sent anew",
        fails_if "a request without an answer is waited for beyond its timeout",
        run renewal::hangs;
    RN8 Fast "the store refuses every request during a term, for less than the ride-through",
        fails_if "a refusal of any class ends a term, or ends a candidate that waits",
        run renewal::refused;
    HO1 Fast "the leader is asked to stop: work first, then the release",
        fails_if "the release is sent before the work has stopped",
        run handover::asked_to_stop;
    HO2 Fast "a release meets a renewal in flight, in three orders",
        fails_if "a renewal that arrives after the release undoes it",
        run handover::renewal_in_flight;
    HO3 Fast "a deposed leader comes back while it shuts down",
        fails_if "a leader of the past releases its successor's record",
        run handover::deposed;
    HO4 Fast "the answer to a release is lost",
        fails_if "belief outlives a release whose answer is lost",
        run handover::answer_lost;
    HO5 Fast "a late release meets the next term of the same candidate",
        fails_if "a release of the last term ends the next one of the same candidate",
        run handover::late_release;
    HO6 Fast "a release against a store that hangs returns in time",
        fails_if "a release waits for ever, or says that it was confirmed",
        run handover::hung_store;
    HO7 Fast "who resigned does not retake while another may",
        fails_if "who resigned takes again before the others",
        run handover::stays_back;
    HO8 Slow "a hundred hand-overs with work that is not fenced",
        fails_if "work of one term runs into the next",
        run handover::unfenced_work;
    FE1 Fast "two hundred terms have growing tokens",
        fails_if "a release or a hand-over sets the token back",
        run fencing::tokens_grow;
    FE2 Fast "a leader stopped before its effect is refused by a fenced resource only",
        fails_if "a fenced resource lets the effect in; shown when an unfenced one does",
        run fencing::stopped_before_its_effect;
    FE3 Fast "a candidate restarts under its name within the lease",
        fails_if "a restarted candidate recognises itself by its name",
        run fencing::restarts_under_its_name;
    FE4 Fast "an operator deletes the lock and tokens go on",
        fails_if "tokens begin anew after a deletion, or a leader gives up for it",
        run fencing::deleted;
    FE5 Slow "the store is restored from a backup three terms old",
        fails_if "a fenced resource lets an old token in; shown when tokens go back",
        run fencing::restored, on_servers servers::restored;
    FE6 Fast "a guarded write inside the store is refused to a stale leader",
        fails_if "a write of a leader of the past changes what its successor guards",
        run fencing::guarded_write;
    FE7 Fast "the token that a child is given is the record's",
        fails_if "the child is given another token than the stored one",
        run fencing::token_of_a_child;
    WA1 Fast "an observer sees ten hand-overs in order",
        fails_if "an observer misses a leader that led, or is told late",
        run watching::ten_in_order;
    WA2 Fast "a watch is silently dead",
        fails_if "a follower trusts a watch that says nothing for longer than L/3 + T",
        run watching::half_open;
    WA3 Fast "the history that a watch resumes from is gone",
        fails_if "a watch that lags goes back, ends, or misses the last state",
        run watching::compacted;
    WA4 Fast "a watch delivers late, twice and out of order",
        fails_if "an old event is told as news, or ends a good term",
        run watching::late_and_twice;
    WA5 Fast "an observer writes nothing",
        fails_if "an observer needs permission to write",
        run watching::never_writes, on_servers security::read_only;
    WA6 Fast "an observer says that nobody leads, and not for ever the dead leader",
        fails_if "a dead leader is named for ever",
        run watching::nobody_leads;
    CK1 Fast "clock rates at the bound less one percent, a hundred hand-overs",
        fails_if "the follower's wait or the leader's deadline leaves no room for unlike clocks",
        run clocks::within_the_bound;
    CK2 Fast "clock rates thirty percent beyond the bound overlap",
        fails_if "shown when two believe at once; if not, CK1 has no teeth",
        run clocks::beyond_the_bound;
    CK3 Fast "wall clocks jump by an hour and by ten years",
        fails_if "a decision reads a wall clock",
        run clocks::wall_clocks;
    CK4 Fast "a machine is suspended for ten leases",
        fails_if "the clock does not count suspend",
        run clocks::suspended;
    CK5 Slow "the server's wall clock jumps",
        fails_if "a lease ends early because the server's wall clock went ahead, or late because \
            it went back",
        on_servers servers::wall_clock;
    PA1 Fast "the leader is stopped for more than a lease",
        fails_if "a leader that was stopped believes when it goes on",
        run pauses::stopped_leader;
    PA2 Fast "a candidate is stopped between its take and the answer",
        fails_if "an answer to a take counts from its arrival",
        run pauses::stopped_while_taking;
    PA3 Fast "a follower is stopped for ten leases",
        fails_if "a follower takes by its clock alone, over whatever version is there now",
        run pauses::stopped_follower;
    PA4 Slow "two hundred random pauses",
        fails_if "belief is a flag that an event clears",
        run pauses::random_pauses;
    PA5 Slow "the freezer, a paused container and a starved processor",
        fails_if "belief outlives a freeze or a starved processor, or nobody leads afterwards",
        run pauses::starved;
    PA6 Fast "the runtime's thread is blocked by a busy work",
        fails_if "check() needs the runtime to learn that the deadline passed",
        run pauses::blocked_runtime;
    NP1 Fast "the leader is cut off, and comes back after two leases",
        fails_if "a leader that is cut off believes beyond its deadline, or disturbs its successor",
        run partitions::cut_off;
    NP2 Fast "only the answers to the leader are lost",
        fails_if "a write without an answer counts as done, or followers count from an earlier one",
        run partitions::answers_lost;
    NP3 Fast "only the leader's requests are lost",
        fails_if "a leader without renewals believes beyond its deadline",
        run partitions::requests_lost;
    NP4 Fast "most followers are cut off",
        fails_if "a follower that was away takes from a living leader",
        run partitions::followers_cut_off;
    NP5 Fast "requests held during a cut arrive after it",
        fails_if "a write of the past is let in",
        run partitions::zombies;
    NP6 Slow "the server that a client talks to is in the minority",
        fails_if "a member alone is believed, or a term outlives the way to the majority",
        on_servers members::minority;
    NP7 Slow "the store is split under replication",
        fails_if "both sides of a split have a leader",
        on_servers members::split;
    NP8 Explore "a minute of random cuts, by seed",
        fails_if "any of the above, in a mix that nobody thought of",
        run partitions::random_cuts;
    SV1 Fast "the server is killed and is back within the ride-through",
        fails_if "a term ends over an outage that it must ride through, or an answer of a dead \
            server counts",
        on_servers servers::back_in_time;
    SV2 Fast "the server is back after two leases",
        fails_if "belief outlives the servers, two lead after their return, or a token comes back",
        on_servers servers::back_too_late;
    SV3 Slow "what was not yet on the server's disk is lost",
        fails_if "an answer goes out before what it tells is on the disk",
        on_servers disks::power_fails;
    SV4 Slow "the store's own leader stops, moves and is replaced",
        fails_if "the loss of one member ends a term, or a lease ends early because the store's \
            leader moved",
        on_servers members::the_stores_own_leader;
    SV5 Slow "a replica that missed the write is promoted",
        fails_if "two lead after a promotion that lost a take or renewals, a token comes back, or \
            a leader takes its own old record for another's",
        run rewinds::goes_back, on_servers rewinds::promoted;
    SV6 Slow "the server is stopped for two leases",
        fails_if "a frozen server holds requests up, or what waited in it undoes what came after",
        on_servers members::stopped;
    SV7 Slow "one of two servers behind one address restarts",
        fails_if "a server that was away tells of the past, two servers let two claims in, or a \
            term ends with one of two",
        on_servers members::one_of_two;
    SV8 Slow "the store's disk is full",
        fails_if "a leader believes on without renewals, or nobody leads once there is room",
        on_servers disks::full;
    SV9 Fast "the store is replaced by another at the same address",
        fails_if "a term goes on although another store answers, or who knew the old store \
            contends in the new one",
        run overload::replaced, on_servers servers::replaced;
    LA1 Fast "delay grows to more than the request timeout, on each side",
        fails_if "delay below the timeout ends a term, or the deadline counts from the answer",
        run ambiguity::growing_delay;
    LA2 Fast "a take is applied and its answer lost",
        fails_if "it leads because a read names it, or never recognises its own take",
        run ambiguity::take_without_answer;
    LA3 Fast "something on the way sends a request twice",
        fails_if "its own first request, applied, is taken for another's",
        run ambiguity::sent_twice;
    LA4 Slow "an answer is cut after every number of bytes",
        fails_if "half an answer counts as done or as refused, or locks a candidate out",
        run ambiguity::cut_answers;
    LA5 Slow "the request timeout over its range",
        fails_if "a defect hides where the timeout is short against the margin",
        run ambiguity::request_timeouts;
    OV1 Fast "the store asks for fewer requests, by the word of the way to it",
        fails_if "it storms a store that asked for a pause, or loses a term over one refusal",
        run overload::throttled;
    OV2 Slow "others starve us at the server",
        fails_if "belief outlives its deadline in the crowd, or the shipped priority does not keep \
            a term in it",
        on_servers crowds::starved;
    OV3 Slow "every connection is refused for an hour",
        fails_if "attempts are not paced",
        run overload::refused_for_an_hour;
    SE1 Fast "the smallest credential of the documentation is enough, and none smaller",
        fails_if "more than the documented permission is needed, or an error does not say which is \
            missing",
        on_servers security::smallest_credential;
    SE2 Fast "wrong, expired and absent certificates",
        fails_if "a certificate that does not fit is let in, goes unnamed, or is tried again and \
            again",
        on_servers security::certificates;
    SE3 Fast "a credential is rotated while somebody leads",
        fails_if "a login is kept for ever, so that a new password ends the term",
        on_servers security::rotated;
    SE4 Fast "a credential is revoked while somebody leads; the way to a store that knows none \
        refuses",
        fails_if "a refusal ends the elector, goes unsaid, or is retried without pause",
        run overload::revoked, on_servers security::revoked;
    SE5 Fast "somebody with our credential forges, blocks and deletes",
        fails_if "a fenced resource lets an old token in; shown when a forged record blocks \
            everybody",
        run records::forged;
    SE6 Fast "no secret in any log, argument or message",
        fails_if "a log, an error, an argument or the Debug of anything holds a password",
        on_servers security::no_secret;
    SE7 Slow "an old renewal is replayed",
        fails_if "a write over a version that is gone is let in",
        run overload::replayed;
    IN1 Fast "what is stored is no record",
        fails_if "what cannot be read is overwritten, or waited for without a word",
        run records::no_record;
    IN2 Fast "a record with absurd fields",
        fails_if "an absurd field freezes the timer or is believed",
        run records::absurd_fields;
    IN3 Fast "what is stored belongs to somebody else",
        fails_if "somebody else's data is overwritten",
        run records::belongs_to_another;
    IN4 Slow "the decoder is given random bytes",
        fails_if "the decoder panics, or a record does not survive its own encoding",
        run records::random_bytes;
    UP1 Fast "candidates of two versions, and fields that one does not know",
        fails_if "a field of a later version is dropped by a write",
        run records::unknown_fields;
    UP2 Slow "client-go on one Lease with us",
        fails_if "ours lead beside anybody, client-go within its own rules included, or do not \
            survive what it does beyond them",
        on_servers peers::mixed_fleet;
    UP3 Slow "other languages' clients on one Lease with us";
    UP4 Slow "an old client-go on one Endpoints object with us",
        fails_if "what fails UP2, on the annotation of an Endpoints object",
        on_servers peers::mixed_fleet;
    UP5 Slow "etcdctl and Go's election on one prefix with us",
        fails_if "ours and theirs lead at once, ours overtakes a queue, or tokens are two number \
            spaces",
        on_servers interop::own_elections;
    UP6 Fast "a coordinator sets its fields",
        fails_if "it contends with a coordinator, changes what that wrote, or does not say why it \
            stays out",
        run records::coordinated;
    SC1 Slow Last "a thousand elections in one process, for a minute (ten of virtual time)",
        fails_if "terms are lost because many candidates share one process and its connections",
        run scale::a_thousand;
    SC2 Slow "a day of virtual time with a fault every five minutes; else 220 s, every ten",
        fails_if "any of the above after hours, or tasks pile up",
        run scale::soak;
    SC3 Slow Last "five thousand leases end together",
        fails_if "shown when the store ends leases so slowly that the next leader waits",
        on_servers scale::leases_end_together;
}

/// The case of that name.
#[must_use]
pub fn case(id: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.id == id)
}

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
            assert!(CASES[..at].iter().all(|other| other.id != one.id), "{} twice", one.id);
        }
    }

    #[test]
    fn every_case_that_is_built_says_what_fails_it() {
        let unbuilt: Vec<&str> =
            CASES.iter().filter(|case| !case.is_built()).map(|case| case.id).collect();
        assert_eq!(unbuilt, ["UP3"]);
        for case in CASES {
            assert!(case.fails_if.is_none_or(|fails| fails.len() > 15), "{}", case.id);
            #[cfg(feature = "servers")]
            assert_eq!(case.is_built(), case.on(true).is_some(), "{}", case.id);
            assert_eq!(case.needs_servers(), case.is_built() && case.run.is_none(), "{}", case.id);
        }
    }
}
