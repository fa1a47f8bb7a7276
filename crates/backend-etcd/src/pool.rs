//! The members of a cluster: one connection each, and requests that go to another member when one is slow.
//!
//! The client library's own balancing gives a dead member its share of the requests and a frozen one too, so every
//! member has a client of its own here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, DeleteResponse, Error as ClientError, GetResponse, LeaseGrantResponse,
    LeaseRevokeResponse, LeaseTimeToLiveResponse, MemberListResponse, ResponseHeader,
    StatusResponse, TxnResponse,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use leasehold_core::ErrorKind;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

pub(crate) use crate::connection::How;
use crate::connection::{Lent as Connected, Member};
use crate::failure::{Failure, Reason};
use crate::identity::{Heard, Identity};

/// A request that takes longer than this and is then given up has shown a bad connection.
const SLOW: Duration = Duration::from_millis(50);

/// How often a request logs in again: others may go on changing rights.
const LOGINS: u32 = 5;

/// How long the endpoints have to say which cluster they are of, before the first request goes out.
const INTRODUCTION: Duration = Duration::from_millis(200);

/// How often those are asked again that have not said it, until more than half have.
const AGAIN: Duration = Duration::from_secs(5);

/// The members of one cluster.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Member>,
    /// Where requests go first: the member that answered last.
    preferred: AtomicUsize,
    identity: Mutex<Introduced>,
    /// Held while the endpoints say for the first time which cluster they are of.
    introducing: tokio::sync::Mutex<()>,
    deadline: Duration,
}

#[derive(Debug)]
struct Introduced {
    identity: Identity,
    /// When the endpoints were asked last which cluster they are of.
    asked: Option<Instant>,
}

/// An answer, which says whose it is.
pub(crate) trait Answer {
    fn of_cluster(&self) -> Option<&ResponseHeader>;
}

macro_rules! answers {
    ($($name:ident)*) => {$(
        impl Answer for $name {
            fn of_cluster(&self) -> Option<&ResponseHeader> {
                self.header()
            }
        }
    )*};
}

answers! {
    DeleteResponse GetResponse LeaseGrantResponse LeaseRevokeResponse LeaseTimeToLiveResponse
    MemberListResponse StatusResponse TxnResponse
}

/// A keep-alive was acknowledged. The client library keeps to itself by whom; what confirms the key says it.
pub(crate) struct KeptAlive;

impl Answer for KeptAlive {
    fn of_cluster(&self) -> Option<&ResponseHeader> {
        None
    }
}

/// A client, and the connection it stands for.
#[derive(Clone)]
pub(crate) struct Lent {
    pub(crate) client: Client,
    pub(crate) place: Place,
}

/// One connection of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    member: usize,
    generation: u64,
}

impl Pool {
    /// Connects when it is used. `deadline` ends every request.
    pub(crate) fn new(urls: Vec<String>, how: &How, deadline: Duration) -> Self {
        Self::with(urls.into_iter().map(|url| Member::at(url, how)).collect(), deadline)
    }

    /// Uses clients that the caller made.
    pub(crate) fn of(clients: Vec<Client>, deadline: Duration) -> Self {
        let numbered = clients.into_iter().enumerate();
        let member = |(number, client)| Member::of(format!("client {number}"), client);
        Self::with(numbered.map(member).collect(), deadline)
    }

    fn with(members: Vec<Member>, deadline: Duration) -> Self {
        let preferred = AtomicUsize::new(anywhere());
        let identity = Introduced { identity: Identity::of(members.len()), asked: None };
        let (identity, introducing) = (Mutex::new(identity), tokio::sync::Mutex::default());
        Self { members, preferred, identity, introducing, deadline }
    }

    /// The same request to one member after the other, each `delay` after the one before or as soon as that one
    /// fails; the first answer counts, and the others are given up. For requests that may be applied twice.
    pub(crate) async fn hedged<T: Answer, R>(
        &self,
        delay: Duration,
        request: impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        self.in_time(async {
            self.introduce().await?;
            self.asking_again(self.race(delay, request)).await
        })
        .await
    }

    async fn race<T: Answer, R>(
        &self,
        delay: Duration,
        request: impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let mut waiting = self.order();
        let mut running = FuturesUnordered::new();
        let mut worst: Option<Failure> = None;
        let mut logins = LOGINS;
        loop {
            if let Some(member) = waiting.pop_front() {
                running.push(self.attempt(member, &request));
            } else if running.is_empty() {
                return Err(worst.unwrap_or_else(|| self.no_answer()));
            }
            tokio::select! {
                answer = running.next() => match answer {
                    Some(Ok(answer)) => return Ok(answer),
                    Some(Err(failure)) if failure.is_definite() => return Err(failure),
                    Some(Err(failure)) if failure.reason == Reason::StaleLogin && logins > 0 => {
                        logins -= 1;
                        waiting = self.order();
                        worst = Some(more_telling(worst, failure));
                    }
                    Some(Err(failure)) => worst = Some(more_telling(worst, failure)),
                    None => {}
                },
                () = sleep(delay), if !waiting.is_empty() => {}
            }
        }
    }

    /// The request to one member, and to the next one only if it never left this process, or met another cluster. A
    /// member that no longer knows our login, as after any change of anybody's rights, has refused it: it is asked again
    /// on a new connection.
    pub(crate) async fn once<T: Answer, R>(
        &self,
        request: impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let trying = async {
            let mut worst: Option<Failure> = None;
            let mut waiting = self.order();
            let mut logins = LOGINS;
            while let Some(member) = waiting.pop_front() {
                match self.attempt(member, &request).await {
                    Err(failure) if matches!(failure.reason, Reason::NotSent | Reason::Foreign) => {
                        worst = Some(more_telling(worst, failure));
                    }
                    Err(failure) if failure.reason == Reason::StaleLogin && logins > 0 => {
                        logins -= 1;
                        waiting.push_front(member);
                        worst = Some(more_telling(worst, failure));
                    }
                    answer => return answer,
                }
            }
            Err(worst.unwrap_or_else(|| self.no_answer()))
        };
        self.in_time(async {
            self.introduce().await?;
            self.asking_again(trying).await
        })
        .await
    }

    async fn in_time<T>(
        &self,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.deadline, request).await.unwrap_or_else(|_elapsed| Err(self.no_answer()))
    }

    /// The same request to every member at once, and what each said, of whatever cluster it is.
    pub(crate) async fn each<T, R>(
        &self,
        request: impl Fn(Client) -> R,
    ) -> Vec<(String, Result<T, Failure>)>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let asked = (0..self.members.len()).map(|member| {
            let asking = timeout(self.deadline, self.ask(member, &request));
            async move {
                let name = self.members[member].name.clone();
                let answer = asking.await.unwrap_or_else(|_elapsed| {
                    let text = format!("{name}: no answer within {:?}", self.deadline);
                    Err(Failure::new(ErrorKind::Unavailable, Reason::Unanswered, text))
                });
                (name, answer.map(|(answer, _place)| answer))
            }
        });
        join_all(asked).await
    }

    /// The same members, over connections of its own, and another one of them first.
    pub(crate) fn apart(&self) -> Self {
        let members = self.members.iter().map(Member::apart).collect();
        let preferred = AtomicUsize::new(self.preferred.load(Ordering::Relaxed).wrapping_add(1));
        let identity = self.identity().identity.clone();
        let identity = Mutex::new(Introduced { identity, asked: None });
        let introducing = tokio::sync::Mutex::default();
        Self { members, preferred, identity, introducing, deadline: self.deadline }
    }

    /// A client for a stream, of the member where requests go first.
    pub(crate) async fn lend(&self) -> Result<Lent, Failure> {
        self.introduce().await?;
        let mut worst: Option<Failure> = None;
        for member in self.order() {
            match timeout(self.deadline, self.members[member].connect()).await {
                Ok(Ok(Connected { client, generation, .. })) => {
                    return Ok(Lent { client, place: Place { member, generation } });
                }
                Ok(Err(failure)) => worst = Some(more_telling(worst, failure)),
                Err(_elapsed) => worst = Some(more_telling(worst, self.no_answer())),
            }
        }
        Err(worst.unwrap_or_else(|| self.no_answer()))
    }

    /// What an error on a lent client means. Its connection is closed, and other members come first.
    pub(crate) fn failed(&self, place: Place, error: &ClientError) -> Failure {
        self.close(place);
        Failure::of(error, &self.members[place.member].name)
    }

    /// Does not use this connection again.
    pub(crate) fn close(&self, place: Place) {
        self.members[place.member].close(place.generation);
        let next = place.member + 1;
        // Whoever was faster has found a better one.
        let _ = self.preferred.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |preferred| {
            (preferred % self.members.len() == place.member).then_some(next)
        });
    }

    /// Judges what came on a lent client: an answer of another cluster is none.
    pub(crate) async fn heard(
        &self,
        place: Place,
        header: Option<&ResponseHeader>,
    ) -> Result<(), Failure> {
        let judged = self.judge(place.member, header);
        let Err(failure) = &judged else { return judged };
        self.close(place);
        if failure.reason == Reason::Foreign {
            // A stream is no request that goes on to the others: they are asked here.
            let others = (0..self.members.len()).filter(|other| *other != place.member);
            let _ = timeout(INTRODUCTION, self.ask_whose(others.collect())).await;
            self.judge(place.member, header)?;
        }
        judged
    }

    /// Which cluster the endpoints are of, before anybody is asked for anything. With one endpoint its answer says it.
    async fn introduce(&self) -> Result<(), Failure> {
        let is_done = || self.members.len() == 1 || self.identity().identity.is_known();
        if is_done() {
            return Ok(());
        }
        let _alone = self.introducing.lock().await;
        if is_done() {
            return Ok(());
        }
        let asked = self.identity().asked.replace(Instant::now());
        if asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            let everybody = (0..self.members.len()).collect();
            let _ = timeout(INTRODUCTION, self.ask_whose(everybody)).await;
        }
        let mut introduced = self.identity();
        introduced.identity.decide().map_err(|_divided| {
            let said = self.clusters(&introduced.identity);
            let text = format!(
                "the endpoints are of different clusters, each of which would have a leader of its own: {said}; name the members of one cluster"
            );
            Failure::new(ErrorKind::Invalid, Reason::Refused, text)
        })
    }

    /// Beside a request, asks those again that have not said which cluster they are of, unless more than half have.
    async fn asking_again<T>(&self, request: impl Future<Output = T>) -> T {
        let asked = {
            let mut introduced = self.identity();
            let is_due = introduced.asked.is_none_or(|asked| asked.elapsed() >= AGAIN);
            let is_settled = introduced.identity.majority().is_some();
            if self.members.len() == 1 || is_settled || !is_due {
                None
            } else {
                introduced.asked = Some(Instant::now());
                let silent = |member: &usize| introduced.identity.said(*member).is_none();
                Some((0..self.members.len()).filter(silent).collect())
            }
        };
        let Some(silent) = asked else { return request.await };
        let asking = async {
            self.ask_whose(silent).await;
            pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            answer = request => answer,
            never = asking => match never {},
        }
    }

    /// Asks these members which cluster they are of, until more than half of all have said the same.
    async fn ask_whose(&self, members: Vec<usize>) {
        let status =
            |client: Client| async move { client.maintenance_client().status().await };
        let asking = |member| async move {
            let answer = self.ask(member, &status).await;
            let header = answer.as_ref().ok().and_then(|(status, _place)| status.header());
            if let Some(header) = header {
                self.identity().identity.note(member, header.cluster_id());
            }
        };
        let mut asked: FuturesUnordered<_> = members.into_iter().map(asking).collect();
        while asked.next().await.is_some() && self.identity().identity.majority().is_none() {}
    }

    /// Each endpoint, and the cluster that it is of.
    fn clusters(&self, identity: &Identity) -> String {
        let said = self.members.iter().enumerate().filter_map(|(number, member)| {
            identity.said(number).map(|said| format!("{} is of {said:x}", member.name))
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// Those first that are not known to be of another cluster.
    fn order(&self) -> VecDeque<usize> {
        let count = self.members.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let introduced = self.identity();
        let turn = (0..count).map(|step| (first % count + step) % count);
        let (foreign, ours): (Vec<usize>, Vec<usize>) =
            turn.partition(|member| introduced.identity.is_foreign(*member));
        ours.into_iter().chain(foreign).collect()
    }

    /// The request to one member, whose answer counts if it is of our cluster.
    async fn attempt<T: Answer, R>(
        &self,
        member: usize,
        request: &impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        match self.ask(member, request).await {
            Ok((answer, place)) => match self.judge(member, answer.of_cluster()) {
                Ok(()) => {
                    self.preferred.store(place.member, Ordering::Relaxed);
                    Ok(answer)
                }
                Err(failure) => {
                    self.close(place);
                    Err(failure)
                }
            },
            // A refusal does not say whose it is, and only our cluster's decides.
            Err(failure) if failure.is_definite() => {
                if failure.is_of_lease() && !self.is_single_and_unknown() {
                    self.ask_whose(vec![member]).await;
                }
                Err(self.of_foreign(member).unwrap_or(failure))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Nothing is known that an answer could differ from.
    fn is_single_and_unknown(&self) -> bool {
        self.members.len() == 1 && !self.identity().identity.is_known()
    }

    /// Takes in whose an answer is.
    fn judge(&self, member: usize, header: Option<&ResponseHeader>) -> Result<(), Failure> {
        let Some(header) = header else { return Ok(()) };
        let mut introduced = self.identity();
        match introduced.identity.hear(member, header.cluster_id()) {
            Heard::Ours => Ok(()),
            Heard::Foreign { news } => {
                let name = &self.members[member].name;
                if news {
                    warn!(
                        member = name.as_str(),
                        "this endpoint is of another cluster than the others, and is left out: name the members of one cluster"
                    );
                }
                Err(Failure::foreign(name))
            }
            Heard::Replaced { before, now } => {
                let said = self.clusters(&introduced.identity);
                Err(Failure::replaced(before, now, &said))
            }
        }
    }

    /// What became of our cluster, if this member is known to be of another one.
    fn of_foreign(&self, member: usize) -> Option<Failure> {
        let cluster = {
            let introduced = self.identity();
            let cluster = introduced.identity.said(member)?;
            if introduced.identity.is_ours(member) || !introduced.identity.is_known() {
                return None;
            }
            cluster
        };
        let mut introduced = self.identity();
        Some(match introduced.identity.hear(member, cluster) {
            Heard::Replaced { before, now } => {
                Failure::replaced(before, now, &self.clusters(&introduced.identity))
            }
            Heard::Foreign { .. } | Heard::Ours => Failure::foreign(&self.members[member].name),
        })
    }

    /// The request to one member, of whatever cluster it is.
    async fn ask<T, R>(
        &self,
        number: usize,
        request: &impl Fn(Client) -> R,
    ) -> Result<(T, Place), Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let began = Instant::now();
        let member = &self.members[number];
        let place = Place { member: number, generation: member.generation() };
        let mut unanswered = Unanswered { pool: self, place, began, open: true };
        let lent = match member.connect().await {
            Ok(lent) => lent,
            Err(failure) => {
                unanswered.open = false;
                self.close(place);
                return Err(failure);
            }
        };
        let place = Place { member: number, generation: lent.generation };
        unanswered.place = place;
        let answer = request(lent.client.clone()).await;
        unanswered.open = false;
        match answer {
            Ok(answer) => {
                member.note_answer(place.generation);
                Ok((answer, place))
            }
            Err(error) => {
                let failure = member.explained(&lent, Failure::of(&error, &member.name));
                Err(self.refused(place, failure).await)
            }
        }
    }

    /// What follows from an error for its connection, and what it says more of a connection that never answered.
    async fn refused(&self, place: Place, failure: Failure) -> Failure {
        let member = &self.members[place.member];
        if failure.is_definite() {
            member.note_answer(place.generation);
            if failure.reason == Reason::WrongLogin {
                self.close(place);
            }
            return failure;
        }
        let is_known = member.has_answered();
        self.close(place);
        if is_known || failure.reason != Reason::Closed {
            return failure;
        }
        match member.refusal().await {
            // What became of the request is as unknown as before.
            Some(why) => Failure {
                reason: Reason::Closed,
                ..Failure::of_connection(&why, Reason::Closed, &member.name)
            },
            None => failure.on_first_contact(&member.name),
        }
    }

    fn no_answer(&self) -> Failure {
        let text = format!("no member answered within {:?}", self.deadline);
        Failure::new(ErrorKind::Unavailable, Reason::Unanswered, text)
    }

    fn identity(&self) -> MutexGuard<'_, Introduced> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The revision that an answer is of. No store has a negative one.
pub(crate) fn revision(header: Option<&ResponseHeader>) -> Result<i64, Failure> {
    let revision = header.map(ResponseHeader::revision);
    revision.filter(|revision| *revision >= 0).ok_or_else(|| {
        let text = "an answer came without its header, or with a revision that no store has";
        Failure::new(ErrorKind::Unavailable, Reason::Unanswered, text)
    })
}

/// A request in flight. Given up after it had its time, it closes its connection: what comes late on it is lost.
struct Unanswered<'a> {
    pool: &'a Pool,
    place: Place,
    began: Instant,
    open: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.open && self.began.elapsed() >= SLOW {
            self.pool.close(self.place);
        }
    }
}

/// Of several members' errors, the one that somebody can do something about.
fn more_telling(known: Option<Failure>, new: Failure) -> Failure {
    match known {
        Some(known) if known.kind == ErrorKind::Denied => known,
        Some(known) if new.reason == Reason::Foreign => known,
        _ => new,
    }
}

/// Candidates do not all go to the member that is named first. A kernel without random bytes is told of where they are
/// needed.
fn anywhere() -> usize {
    let mut bytes = [0; size_of::<usize>()];
    getrandom::fill(&mut bytes).map_or(0, |()| usize::from_ne_bytes(bytes))
}
