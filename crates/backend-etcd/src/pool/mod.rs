//! The members of a cluster: one connection each, and requests that go to another member when one
//! is slow.
//!
//! The client library's own balancing gives a dead member its share of the requests and a frozen
//! one too, so every member has a client of its own here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, Error as ClientError, ResponseHeader};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use leasehold_backend::random;
use leasehold_core::ErrorKind;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, Reason};

mod connection;
mod identity;
mod whose;

pub(crate) use connection::{How, Login};
use connection::{Lent as Connected, Member};
use identity::Identity;
pub(crate) use whose::KeptAlive;
use whose::{Answer, Introduced};

/// A request that takes longer than this and is then given up has shown a bad connection.
const SLOW: Duration = Duration::from_millis(50);

/// How often a request logs in again: others may go on changing rights.
const LOGINS: u32 = 5;

/// The members of one cluster.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) members: Vec<Member>,
    /// Where requests go first: the member that answered last.
    preferred: AtomicUsize,
    pub(crate) identity: Mutex<Introduced>,
    /// Held while the endpoints say for the first time which cluster they are of.
    pub(crate) introducing: tokio::sync::Mutex<()>,
    deadline: Duration,
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
    pub(crate) member: usize,
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

    /// The same request to one member after the other, each `delay` after the one before or as soon
    /// as that one fails; the first answer counts, and the others are given up. For requests that
    /// may be applied twice.
    pub(crate) async fn hedged<T: Answer, R>(
        self: &Arc<Self>,
        delay: Duration,
        request: impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        // On the heap: it is large, and whoever asks would be as large.
        Box::pin(self.in_time(async {
            self.introduce().await?;
            self.ask_again();
            self.race(delay, request).await
        }))
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

    /// The request to one member, and to the next one only if it never left this process, or met
    /// another cluster. A member that no longer knows our login, as after any change of anybody's
    /// rights, has refused it: it is asked again on a new connection.
    pub(crate) async fn once<T: Answer, R>(
        self: &Arc<Self>,
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
        Box::pin(self.in_time(async {
            self.introduce().await?;
            self.ask_again();
            trying.await
        }))
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
            let asking = Box::pin(timeout(self.deadline, self.ask(member, &request)));
            async move {
                let name = self.members[member].name.clone();
                let answer = asking.await.unwrap_or_else(|_elapsed| {
                    let text = format!("{name}: no answer within {:?}", self.deadline);
                    Err(Failure::unanswered(text))
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

    /// What an error on a lent client means. Its connection is closed, and other members come
    /// first.
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

    /// The request to one member, of whatever cluster it is.
    pub(crate) async fn ask<T, R>(
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

    /// What follows from an error for its connection, and what it says more of a connection that
    /// never answered.
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
            Some(why) => {
                let failure = Failure::of_connection(&why, Reason::Closed, &member.name);
                let kind = failure.kind();
                failure.but(kind, Reason::Closed)
            }
            None => failure.on_first_contact(&member.name),
        }
    }

    fn no_answer(&self) -> Failure {
        let text = format!("no member answered within {:?}", self.deadline);
        Failure::unanswered(text)
    }
}

/// The revision that an answer is of. No store has a negative one.
pub(crate) fn revision(header: Option<&ResponseHeader>) -> Result<i64, Failure> {
    let revision = header.map(ResponseHeader::revision);
    revision.filter(|revision| *revision >= 0).ok_or_else(|| {
        let text = "an answer came without its header, or with a revision that no store has";
        Failure::unanswered(text)
    })
}

/// A request in flight. Given up after it had its time, it closes its connection: what comes late
/// on it is lost.
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
        Some(known) if known.kind() == ErrorKind::Denied => known,
        Some(known) if new.reason == Reason::Foreign => known,
        _ => new,
    }
}

/// Candidates do not all go to the member that is named first. A kernel without random bytes is
/// told of where they are needed.
fn anywhere() -> usize {
    random().map_or(0, |bits| usize::try_from(bits >> 33).unwrap_or(0))
}
