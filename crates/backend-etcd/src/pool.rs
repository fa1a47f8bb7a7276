//! The members of a cluster: one connection each, and requests that go to another member when one is slow.
//!
//! The client library's own balancing gives a dead member its share of the requests and a frozen one too, so every
//! member has a client of its own here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error as ClientError, ResponseHeader};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use leasehold_core::ErrorKind;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, Reason};
use crate::tls::Tls;

/// A request that takes longer than this and is then given up has shown a bad connection.
const SLOW: Duration = Duration::from_millis(50);

/// How often a request logs in again: others may go on changing rights.
const LOGINS: u32 = 5;

/// The members of one cluster.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Member>,
    /// Where requests go first: the member that answered last.
    preferred: AtomicUsize,
    /// Which cluster this is, by its first answer.
    cluster: OnceLock<u64>,
    deadline: Duration,
}

struct Member {
    name: String,
    connection: Mutex<Connection>,
    /// `None` where the caller brought the client.
    how: Option<How>,
}

/// What a new connection is made with.
#[derive(Clone)]
pub(crate) struct How {
    /// Asked each time: a password may have changed since the last one.
    pub(crate) options: Arc<dyn Fn() -> Result<ConnectOptions, String> + Send + Sync>,
    pub(crate) tls: Option<Tls>,
}

struct Connection {
    client: Option<Client>,
    /// Counts connections, so that a late failure closes no newer one.
    generation: u64,
    /// A server has answered on it.
    answered: bool,
}

impl Member {
    /// Why it closes the connection, if certificates are the reason.
    async fn refusal(&self) -> Option<String> {
        self.how.as_ref()?.tls.as_ref()?.refusal(&self.name).await
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
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
        let member = |name| Member {
            name,
            connection: Mutex::new(Connection { client: None, generation: 0, answered: false }),
            how: Some(how.clone()),
        };
        Self::with(urls.into_iter().map(member).collect(), deadline)
    }

    /// Uses clients that the caller made.
    pub(crate) fn of(clients: Vec<Client>, deadline: Duration) -> Self {
        let member = |(number, client): (usize, Client)| Member {
            name: format!("client {number}"),
            connection: Mutex::new(Connection {
                client: Some(client),
                generation: 0,
                answered: true,
            }),
            how: None,
        };
        Self::with(clients.into_iter().enumerate().map(member).collect(), deadline)
    }

    fn with(members: Vec<Member>, deadline: Duration) -> Self {
        let preferred = AtomicUsize::new(anywhere());
        Self { members, preferred, cluster: OnceLock::new(), deadline }
    }

    /// The same request to one member after the other, each `delay` after the one before or as soon as that one
    /// fails; the first answer counts, and the others are given up. For requests that may be applied twice.
    pub(crate) async fn hedged<T, R>(
        &self,
        delay: Duration,
        request: impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let racing = self.race(delay, request);
        timeout(self.deadline, racing).await.unwrap_or_else(|_elapsed| Err(self.no_answer()))
    }

    async fn race<T, R>(&self, delay: Duration, request: impl Fn(Client) -> R) -> Result<T, Failure>
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

    /// The request to one member, and to the next one only if it never left this process. A member that no longer knows
    /// our login, as after any change of anybody's rights, has refused it: it is asked again on a new connection.
    pub(crate) async fn once<T, R>(&self, request: impl Fn(Client) -> R) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let trying = async {
            let mut worst: Option<Failure> = None;
            let mut waiting = self.order();
            let mut logins = LOGINS;
            while let Some(member) = waiting.pop_front() {
                match self.attempt(member, &request).await {
                    Err(failure) if failure.reason == Reason::NotSent => {
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
        timeout(self.deadline, trying).await.unwrap_or_else(|_elapsed| Err(self.no_answer()))
    }

    /// The same request to every member at once, and what each said.
    pub(crate) async fn each<T, R>(
        &self,
        request: impl Fn(Client) -> R,
    ) -> Vec<(String, Result<T, Failure>)>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let asked = (0..self.members.len()).map(|member| {
            let asking = timeout(self.deadline, self.attempt(member, &request));
            async move {
                let name = self.members[member].name.clone();
                let answer = asking.await.unwrap_or_else(|_elapsed| {
                    let text = format!("{name}: no answer within {:?}", self.deadline);
                    Err(Failure::new(ErrorKind::Unavailable, Reason::Unanswered, text))
                });
                (name, answer)
            }
        });
        join_all(asked).await
    }

    /// The same members, over connections of its own, and another one of them first.
    pub(crate) fn apart(&self) -> Self {
        let members = self.members.iter().map(|member| {
            let theirs = lock(&member.connection).client.clone();
            let client = theirs.filter(|_| member.how.is_none());
            let answered = client.is_some();
            Member {
                name: member.name.clone(),
                connection: Mutex::new(Connection { client, generation: 0, answered }),
                how: member.how.clone(),
            }
        });
        let members = members.collect();
        let preferred = AtomicUsize::new(self.preferred.load(Ordering::Relaxed).wrapping_add(1));
        Self { members, preferred, cluster: OnceLock::new(), deadline: self.deadline }
    }

    /// A client for a stream, of the member where requests go first.
    pub(crate) async fn lend(&self) -> Result<Lent, Failure> {
        let mut worst: Option<Failure> = None;
        for member in self.order() {
            match timeout(self.deadline, self.connect(member)).await {
                Ok(Ok(lent)) => return Ok(lent),
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
        let member = &self.members[place.member];
        if member.how.is_some() {
            let mut connection = lock(&member.connection);
            if connection.generation == place.generation {
                connection.client = None;
                connection.generation += 1;
                connection.answered = false;
            }
        }
        let next = place.member + 1;
        // Whoever was faster has found a better one.
        let _ = self.preferred.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |preferred| {
            (preferred % self.members.len() == place.member).then_some(next)
        });
    }

    /// The revision of an answer, if it came from the cluster that answered first.
    pub(crate) fn revision(&self, header: Option<&ResponseHeader>) -> Result<i64, Failure> {
        let Some(header) = header else {
            let text = "an answer came without its header";
            return Err(Failure::new(ErrorKind::Unavailable, Reason::Unanswered, text));
        };
        let (known, answered) =
            (*self.cluster.get_or_init(|| header.cluster_id()), header.cluster_id());
        if known == answered {
            return Ok(header.revision());
        }
        let text = format!(
            "the answer is from the cluster {answered:x} and earlier ones were from {known:x}: the store was replaced, or the endpoints are of two clusters. If it was replaced on purpose, start this program anew"
        );
        Err(Failure::new(ErrorKind::Rewound, Reason::Refused, text))
    }

    fn order(&self) -> VecDeque<usize> {
        let count = self.members.len();
        let first = self.preferred.load(Ordering::Relaxed);
        (0..count).map(|step| (first % count + step) % count).collect()
    }

    async fn attempt<T, R>(
        &self,
        member: usize,
        request: &impl Fn(Client) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let began = Instant::now();
        let place = Place { member, generation: lock(&self.members[member].connection).generation };
        let mut unanswered = Unanswered { pool: self, place, began, open: true };
        let lent = match self.connect(member).await {
            Ok(lent) => lent,
            Err(failure) => {
                unanswered.open = false;
                self.close(place);
                return Err(failure);
            }
        };
        unanswered.place = lent.place;
        let answer = request(lent.client).await;
        unanswered.open = false;
        match answer {
            Ok(answer) => {
                self.preferred.store(member, Ordering::Relaxed);
                self.note_answer(lent.place);
                Ok(answer)
            }
            Err(error) => {
                let name = &self.members[member].name;
                let failure = Failure::of(&error, name);
                if failure.is_definite() {
                    self.note_answer(lent.place);
                    if failure.reason == Reason::WrongLogin {
                        self.close(lent.place);
                    }
                    return Err(failure);
                }
                let is_known = lock(&self.members[member].connection).answered;
                self.close(lent.place);
                if is_known || failure.reason != Reason::Closed {
                    return Err(failure);
                }
                Err(match self.members[member].refusal().await {
                    // What became of the request is as unknown as before.
                    Some(why) => Failure {
                        reason: Reason::Closed,
                        ..Failure::of_connection(why, Reason::Closed, name)
                    },
                    None => failure.on_first_contact(name),
                })
            }
        }
    }

    fn note_answer(&self, place: Place) {
        let mut connection = lock(&self.members[place.member].connection);
        connection.answered |= connection.generation == place.generation;
    }

    async fn connect(&self, number: usize) -> Result<Lent, Failure> {
        let member = &self.members[number];
        let lent = |client: &Client, generation| Lent {
            client: client.clone(),
            place: Place { member: number, generation },
        };
        let generation = {
            let connection = lock(&member.connection);
            if let Some(client) = &connection.client {
                return Ok(lent(client, connection.generation));
            }
            connection.generation
        };
        let how = member.how.as_ref().map(|how| (how.options)()).transpose();
        let how = how.map_err(|why| Failure::new(ErrorKind::Denied, Reason::NotSent, why))?;
        let connecting = Client::connect([&member.name], how);
        let client = connecting.await.map_err(|error| Failure::of(&error, &member.name))?;
        let mut connection = lock(&member.connection);
        if connection.generation == generation && connection.client.is_none() {
            connection.client = Some(client.clone());
        }
        Ok(lent(&client, generation))
    }

    fn no_answer(&self) -> Failure {
        let text = format!("no member answered within {:?}", self.deadline);
        Failure::new(ErrorKind::Unavailable, Reason::Unanswered, text)
    }
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
        _ => new,
    }
}

/// Candidates do not all go to the member that is named first. A kernel without random bytes is told of where they are
/// needed.
fn anywhere() -> usize {
    let mut bytes = [0; size_of::<usize>()];
    getrandom::fill(&mut bytes).map_or(0, |()| usize::from_ne_bytes(bytes))
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
