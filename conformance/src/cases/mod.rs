//! The cases, each written once for every backend.

mod ambiguity;
mod basic;
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
mod scale;
#[cfg(feature = "servers")]
mod security;
#[cfg(feature = "servers")]
mod servers;
mod watching;

use futures_util::future::LocalBoxFuture;

use crate::verdict::Outcome;
use crate::world::World;

/// A case.
pub type Run = for<'a> fn(&'a World) -> LocalBoxFuture<'a, Outcome>;

/// A case that is built.
#[derive(Clone, Copy)]
pub struct Implementation {
    /// Runs it.
    pub run: Run,
    /// What would make it fail.
    pub fails_if: &'static str,
}

/// The case of that name, if it is built.
#[must_use]
pub fn implementation(id: &str) -> Option<Implementation> {
    built()
        .find(|(known, ..)| *known == id)
        .map(|&(_, run, fails_if)| Implementation { run, fails_if })
}

/// Whether it is for servers of the suite's own, which it kills, freezes or gives users.
#[must_use]
pub fn needs_servers(id: &str) -> bool {
    #[cfg(feature = "servers")]
    return BUILT_ON_SERVERS.iter().any(|(known, ..)| *known == id);
    #[cfg(not(feature = "servers"))]
    BUILT.iter().all(|(known, ..)| *known != id)
}

type Built = (&'static str, Run, &'static str);

fn built() -> impl Iterator<Item = &'static Built> {
    #[cfg(feature = "servers")]
    return BUILT.iter().chain(BUILT_ON_SERVERS);
    #[cfg(not(feature = "servers"))]
    BUILT.iter()
}

macro_rules! built {
    ($name:ident: $($id:literal $group:ident::$case:ident $fails_if:literal)*) => {
        const $name: &[Built] = &[$(($id, |world| Box::pin($group::$case(world)), $fails_if)),*];
    };
}

#[cfg(feature = "servers")]
built! { BUILT_ON_SERVERS:
    "SV1" servers::back_in_time "a term ends over an outage that it must ride through, or an answer of a dead server counts"
    "SV2" servers::back_too_late "belief outlives the servers, two lead after their return, or a token comes back"
    "SV3" disks::power_fails "an answer goes out before what it tells is on the disk"
    "SV4" members::the_stores_own_leader "the loss of one member ends a term, or a lease ends early because the store's leader moved"
    "SV6" members::stopped "a frozen server holds requests up, or what waited in it undoes what came after"
    "SV7" members::one_of_two "a server that was away tells of the past, two servers let two claims in, or a term ends with one of two"
    "SV8" disks::full "a leader believes on without renewals, or nobody leads once there is room"
    "OV2" crowds::starved "belief outlives its deadline in the crowd, or the shipped priority does not keep a term in it"
    "CK5" servers::wall_clock "a lease ends early because the server's wall clock went ahead, or late because it went back"
    "NP6" members::minority "a member alone is believed, or a term outlives the way to the majority"
    "NP7" members::split "both sides of a split have a leader"
    "UP2" peers::mixed_fleet "ours lead beside anybody, client-go within its own rules included, or do not survive what it does beyond them"
    "UP4" peers::mixed_fleet "what fails UP2, on the annotation of an Endpoints object"
    "UP5" interop::own_elections "ours and theirs lead at once, ours overtakes a queue, or tokens are two number spaces"
    "SC3" scale::leases_end_together "shown when the store ends leases so slowly that the next leader waits"
    "SE1" security::smallest_credential "more than the documented permission is needed, or an error does not say which is missing"
    "SE2" security::certificates "a certificate that does not fit is let in, goes unnamed, or is tried again and again"
    "SE3" security::rotated "a login is kept for ever, so that a new password ends the term"
    "SE6" security::no_secret "a log, an error, an argument or the Debug of anything holds a password"
}

built! { BUILT:
    "Q1" qualification::one_winner "compare and write are two steps: several writers over one version win"
    "Q2" qualification::wrong_versions "a write over a version that is gone is let in, or brings a deleted lock back"
    "Q3" qualification::identical_writes "equal bytes give an equal version: a renewal cannot be told from none"
    "Q4" qualification::reads_are_fresh "a read is served from a cache or a replica"
    "Q5" qualification::versions_never_repeat "versions begin anew when a lock is created again"
    "BA1" basic::leads_alone "the lock is not taken, the token is 0, or others cannot read the record"
    "BA2" basic::others_are_refused "a second candidate leads, or is told of another leader or token"
    "BA3" basic::ten_leases "a term is lost without a fault, or renewals come too often or too rarely"
    "BA4" basic::two_locks "two names share state"
    "BA5" basic::strange_names "two names are escaped to one, or an identity is changed on its way"
    "BA6" basic::dropped_and_cancelled "belief outlives its owner, a drop releases, or an unwanted take is kept"
    "BA7" basic::invalid_configurations "an invalid timing is taken, or refused only after a request"
    "CO1" contention::all_at_once "two of sixteen win, or none"
    "CO2" contention::all_wait "two take from one dead leader, or losers ask again and again"
    "CO3" contention::a_hundred "failover takes longer among many, or costs more than a few requests each"
    "CO4" contention::churn "terms that follow each other at once overlap or repeat a token"
    "EX1" expiry::killed "the lock is taken before the lease is over, or later than the bound"
    "EX2" expiry::started_after "a newcomer trusts a time that is stored instead of waiting itself"
    "EX3" expiry::late_renewal "a follower does not begin to wait anew when a late renewal arrives"
    "EX4" expiry::whose_duration "a challenger waits its own lease duration instead of the record's"
    "EX5" expiry::everybody_restarts "newcomers take at once from a record whose holder is gone, or never"
    "EX6" expiry::effective_lease "a store keeps a lease shorter than asked for"
    "RN1" renewal::all_fail "the deadline counts from the answer, or belief and work outlive it"
    "RN2" renewal::one_fails "one failed renewal ends the term, or is counted as done"
    "RN3" renewal::around_the_deadline "an answer after the deadline counts, or one before it does not"
    "RN4" renewal::ride_through "a short outage ends the term, or a long one does not"
    "RN5" renewal::own_earlier_write "its own write, whose answer was lost, is taken for another's"
    "RN6" renewal::foreign_edit "a changed version counts as a sign of life, or foreign fields are dropped"
    "RN7" renewal::hangs "a request without an answer is waited for beyond its timeout"
    "RN8" renewal::refused "a refusal of any class ends a term, or ends a candidate that waits"
    "HO1" handover::asked_to_stop "the release is sent before the work has stopped"
    "HO2" handover::renewal_in_flight "a renewal that arrives after the release undoes it"
    "HO3" handover::deposed "a leader of the past releases its successor's record"
    "HO4" handover::answer_lost "belief outlives a release whose answer is lost"
    "HO5" handover::late_release "a release of the last term ends the next one of the same candidate"
    "HO6" handover::hung_store "a release waits for ever, or says that it was confirmed"
    "HO7" handover::stays_back "who resigned takes again before the others"
    "HO8" handover::unfenced_work "work of one term runs into the next"
    "FE1" fencing::tokens_grow "a release or a hand-over sets the token back"
    "FE2" fencing::stopped_before_its_effect "a fenced resource lets the effect in; shown when an unfenced one does"
    "FE3" fencing::restarts_under_its_name "a restarted candidate recognises itself by its name"
    "FE4" fencing::deleted "tokens begin anew after a deletion, or a leader gives up for it"
    "FE5" fencing::restored "a fenced resource lets an old token in; shown when tokens go back"
    "FE6" fencing::guarded_write "a write of a leader of the past changes what its successor guards"
    "FE7" fencing::token_of_a_child "the child is given another token than the stored one"
    "WA1" watching::ten_in_order "an observer misses a leader that led, or is told late"
    "WA2" watching::half_open "a follower trusts a watch that says nothing for longer than L/3 + T"
    "WA3" watching::compacted "a watch that lags goes back, ends, or misses the last state"
    "WA4" watching::late_and_twice "an old event is told as news, or ends a good term"
    "WA5" watching::never_writes "an observer needs permission to write"
    "WA6" watching::nobody_leads "a dead leader is named for ever"
    "CK1" clocks::within_the_bound "the follower's wait or the leader's deadline leaves no room for unlike clocks"
    "CK2" clocks::beyond_the_bound "shown when two believe at once; if not, CK1 has no teeth"
    "CK3" clocks::wall_clocks "a decision reads a wall clock"
    "CK4" clocks::suspended "the clock does not count suspend"
    "PA1" pauses::stopped_leader "a leader that was stopped believes when it goes on"
    "PA2" pauses::stopped_while_taking "an answer to a take counts from its arrival"
    "PA3" pauses::stopped_follower "a follower takes by its clock alone, over whatever version is there now"
    "PA4" pauses::random_pauses "belief is a flag that an event clears"
    "PA5" pauses::starved "belief outlives a freeze or a starved processor, or nobody leads afterwards"
    "PA6" pauses::blocked_runtime "check() needs the runtime to learn that the deadline passed"
    "NP1" partitions::cut_off "a leader that is cut off believes beyond its deadline, or disturbs its successor"
    "NP2" partitions::answers_lost "a write without an answer counts as done, or followers count from an earlier one"
    "NP3" partitions::requests_lost "a leader without renewals believes beyond its deadline"
    "NP4" partitions::followers_cut_off "a follower that was away takes from a living leader"
    "NP5" partitions::zombies "a write of the past is let in"
    "NP8" partitions::random_cuts "any of the above, in a mix that nobody thought of"
    "SV9" overload::replaced "a term goes on although another store answers, or who knew the old store contends in the new one"
    "LA1" ambiguity::growing_delay "delay below the timeout ends a term, or the deadline counts from the answer"
    "LA2" ambiguity::take_without_answer "it leads because a read names it, or never recognises its own take"
    "LA3" ambiguity::sent_twice "its own first request, applied, is taken for another's"
    "LA4" ambiguity::cut_answers "half an answer counts as done or as refused, or locks a candidate out"
    "LA5" ambiguity::request_timeouts "a defect hides where the timeout is short against the margin"
    "OV1" overload::throttled "it storms a store that asked for a pause, or loses a term over one refusal"
    "OV3" overload::refused_for_an_hour "attempts are not paced"
    "SE4" overload::revoked "a refusal ends the elector, goes unsaid, or is retried without pause"
    "SE5" records::forged "a fenced resource lets an old token in; shown when a forged record blocks everybody"
    "SE7" overload::replayed "a write over a version that is gone is let in"
    "IN1" records::no_record "what cannot be read is overwritten, or waited for without a word"
    "IN2" records::absurd_fields "an absurd field freezes the timer or is believed"
    "IN3" records::belongs_to_another "somebody else's data is overwritten"
    "IN4" records::random_bytes "the decoder panics, or a record does not survive its own encoding"
    "SC1" scale::a_thousand "terms are lost because many candidates share one process and its connections"
    "SC2" scale::soak "any of the above after hours, or tasks pile up"
    "UP6" records::coordinated "it contends with a coordinator, changes what that wrote, or does not say why it stays out"
    "UP1" records::unknown_fields "a field of a later version is dropped by a write"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::case;

    #[test]
    fn every_case_that_is_built_is_of_the_catalogue_and_says_what_fails_it() {
        for (at, (id, _, fails_if)) in built().enumerate() {
            assert!(case(id).is_some(), "{id}");
            assert!(fails_if.len() > 15, "{id}: {fails_if}");
            assert!(built().take(at).all(|(other, ..)| other != id), "{id} twice");
        }
    }
}
