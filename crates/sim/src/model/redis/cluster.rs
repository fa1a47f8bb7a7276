//! Three Redis servers, as far as replication goes.

/// How many servers there are.
pub(super) const SERVERS: usize = 3;

/// Names a state of the record: no two writes have one.
pub(super) type Version = u8;

/// What a server calls its replication history: begins anew with every promotion.
pub(super) type History = u8;

/// The reign of a server as one of its primaries: its number. Whatever is of a reign that is over
/// is [`OVER`], which none is compared equal with.
pub(super) type Reign = u8;

pub(super) const OVER: Reign = u8::MAX;

/// The offset of a dump that is older than whatever else there is of its history.
pub(super) const OLD: u8 = 0;

/// Whose the lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Holder {
    /// Released.
    Nobody,
    /// The placeholder of an adoption.
    Unknown,
    /// A candidate.
    Candidate(u8),
}

/// What is stored under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stored {
    pub holder: Holder,
    pub version: Version,
    /// In which it was written.
    pub reign: Reign,
}

/// What a server has kept that starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// It was not persisted.
    Nothing,
    /// Everything.
    All,
    /// A replica's dump was written before its last acknowledgements.
    Some,
}

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Server {
    pub data: Option<Stored>,
    /// How much of its history it has.
    pub offset: u8,
    /// The `master_replid`.
    pub history: History,
    /// The history before (`master_replid2`), and up to where both are the same.
    pub second: Option<(History, u8)>,
    /// The server that it follows; `None` is a primary, in its own eyes.
    pub follows: Option<u8>,
    /// It is in step with that server: what is written there next arrives here next.
    pub linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Cluster {
    pub servers: [Server; SERVERS],
}

impl Cluster {
    /// The first server is the primary, and the others have what it has.
    pub(super) fn new(data: Option<Stored>) -> Self {
        let server = |number: usize| Server {
            data,
            offset: OLD + 1,
            history: 0,
            second: None,
            follows: (number > 0).then_some(0),
            linked: number > 0,
        };
        Self { servers: [server(0), server(1), server(2)] }
    }

    pub(super) fn is_primary(&self, n: usize) -> bool {
        self.servers[n].follows.is_none()
    }

    pub(super) fn primaries(&self) -> impl Iterator<Item = usize> + '_ {
        (0..SERVERS).filter(|n| self.is_primary(*n))
    }

    fn next_history(&self) -> History {
        let known = self.servers.iter().flat_map(|it| [Some(it.history), it.second.map(|it| it.0)]);
        known.flatten().max().unwrap_or_default() + 1
    }

    /// `REPLICAOF NO ONE`: another history begins here.
    pub(super) fn promote(&mut self, n: usize) {
        let next = self.next_history();
        let server = &mut self.servers[n];
        server.second = Some((server.history, server.offset));
        server.history = next;
        server.follows = None;
        server.linked = false;
    }

    /// `REPLICAOF p`: what it has stays until it is in step with that server.
    pub(super) fn follow(&mut self, r: usize, p: usize) {
        self.servers[r].follows = Some(number(p));
        self.servers[r].linked = false;
        // Its own replicas are disconnected.
        let followers = self.servers.iter_mut().filter(|it| it.follows == Some(number(r)));
        followers.for_each(|server| server.linked = false);
    }

    /// The process starts again, with what it kept.
    pub(super) fn restart(&mut self, n: usize, kept: Kept) {
        let next = self.next_history();
        let is_primary = self.is_primary(n);
        let server = &mut self.servers[n];
        server.linked = false;
        match kept {
            Kept::Nothing => {
                (server.data, server.offset) = (None, OLD + 1);
                (server.history, server.second) = (next, None);
            }
            // A primary begins another history after the one in its dump.
            Kept::All if is_primary => self.promote(n),
            // A replica goes on where its dump ends.
            Kept::All => {}
            // As far back as can be: what it has matters to nobody before another adoption.
            Kept::Some => server.offset = OLD,
        }
        let followers = self.servers.iter_mut().filter(|it| it.follows == Some(number(n)));
        followers.for_each(|server| server.linked = false);
    }

    /// Whether a server looks for its primary, and finds it.
    pub(super) fn may_sync(&self, r: usize) -> bool {
        let server = &self.servers[r];
        !server.linked && server.follows.is_some_and(|p| self.is_primary(usize::from(p)))
    }

    /// Whether a server is in step with that one.
    pub(super) fn is_in_step(&self, r: usize, p: usize) -> bool {
        self.servers[r].follows == Some(number(p)) && self.servers[r].linked
    }

    /// A replica gets what its primary has, if need be after another `PSYNC`. True if the primary
    /// had to begin a full resync, which its `sync_full` counts.
    pub(super) fn sync(&mut self, r: usize) -> bool {
        let Some(p) = self.servers[r].follows.map(usize::from) else { return false };
        let full = !self.servers[r].linked && !self.continues(r, p);
        let Server { data, offset, history, .. } = self.servers[p];
        let replica = &mut self.servers[r];
        (replica.data, replica.offset, replica.history) = (data, offset, history);
        // Its next promotion replaces this.
        replica.second = None;
        replica.linked = true;
        full
    }

    /// Whether `p` has all that follows what `r` has: they share the history up to there.
    fn continues(&self, r: usize, p: usize) -> bool {
        let (replica, primary) = (&self.servers[r], &self.servers[p]);
        let shared = |(history, offset): (History, u8)| {
            replica.history == history && replica.offset <= offset
        };
        shared((primary.history, primary.offset)) || primary.second.is_some_and(shared)
    }
}

/// A server's number, as it is stored.
pub(super) fn number(n: usize) -> u8 {
    u8::try_from(n).expect("there are three")
}
