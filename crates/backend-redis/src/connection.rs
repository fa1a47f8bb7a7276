//! One connection, and the task that drives it.

use std::sync::atomic::{AtomicBool, Ordering};

use leasehold_backend::Login;
use redis::aio::{ConnectionLike as _, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value, cmd};
use tokio::task::JoinHandle;

use crate::dial::{Address, Dialer, Ended};
use crate::failure::{Failure, Reason};

/// How a server is connected to, and who comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) dialer: Dialer,
    pub(crate) login: Option<Login>,
}

/// A connection that many requests may use at once. Dropping it closes it at once, also while an
/// answer is awaited: a server serves nothing else on a connection that waits for replicas.
#[derive(Debug)]
pub(crate) struct Connection {
    line: MultiplexedConnection,
    driver: JoinHandle<()>,
    pub(crate) address: String,
    dialer: Dialer,
    has_answered: AtomicBool,
    ended: Ended,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects, and logs in.
    pub(crate) async fn open(how: &How, address: &Address) -> Result<Self, Failure> {
        let wire = how.dialer.dial(address).await?;
        let (address, ended) = (address.to_string(), wire.ended.clone());
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&plain(), wire, config).await;
        let (line, driver) = made.map_err(|error| Failure::of_connection(&error, &address))?;
        let driver = tokio::spawn(driver);
        let (dialer, has_answered) = (how.dialer.clone(), AtomicBool::new(false));
        let connection = Self { line, driver, address, dialer, has_answered, ended };
        if let Some(login) = &how.login {
            let password = login.password().await.map_err(Failure::of_us)?;
            let mut auth = cmd("AUTH");
            auth.arg(login.user()).arg(password);
            let reply = connection.ask(&[auth]).await?;
            first_error(&reply, &connection.address).map_or(Ok(()), Err)?;
        }
        Ok(connection)
    }

    /// Whether nothing can be asked here any more. A server closes connections that are idle.
    pub(crate) fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }

    /// The reply to each command, errors too. Fails only if the connection does.
    pub(crate) async fn ask(&self, commands: &[Cmd]) -> Result<Vec<Value>, Failure> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let mut line = self.line.clone();
        let replies = line.req_packed_commands(&pipeline, 0, commands.len()).await;
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => return Err(self.explained(&error).await),
        };
        self.has_answered.store(true, Ordering::Relaxed);
        match replies.len() == commands.len() {
            true => Ok(replies),
            false => Err(Failure::unexpected(&self.address)),
        }
    }
}

impl Connection {
    async fn explained(&self, error: &RedisError) -> Failure {
        if let Some(why) = self.ended.get() {
            return Failure::closed(format!("{}: {why}", self.address));
        }
        let failure = Failure::of_connection(error, &self.address);
        if self.has_answered.load(Ordering::Relaxed) || failure.reason != Reason::Closed {
            return failure;
        }
        // A server that does not like a certificate closes the connection, and what it says of the
        // reason is lost with the request.
        match self.dialer.refusal(&self.address).await {
            Some(why) => Failure::of_io(&why, Reason::Closed, &self.address),
            None => failure.on_first_contact(self.dialer.is_tls()),
        }
    }
}

/// A connection that only hears what is published.
pub(crate) async fn listen(how: &How, address: &Address) -> Result<PubSub, Failure> {
    let wire = how.dialer.dial(address).await?;
    let mut info = plain();
    if let Some(login) = &how.login {
        let password = login.password().await.map_err(Failure::of_us)?;
        info = info.set_username(login.user()).set_password(password);
    }
    let made = PubSub::new(&info, wire).await;
    made.map_err(|error| Failure::of_connection(&error, &address.to_string()))
}

/// Without a greeting, to which a candidate may have no right.
fn plain() -> RedisConnectionInfo {
    RedisConnectionInfo::default().set_skip_set_lib_name()
}

/// The first reply that is an error. `rights` are what each command needs, where the server's own
/// words may not say which one it was.
pub(crate) fn first_error_of(replies: &[Value], rights: &[&str], address: &str) -> Option<Failure> {
    let failure = first_error(replies, address)?;
    if failure.reason != Reason::NotPermitted {
        return Some(failure);
    }
    let lacking = replies.iter().zip(rights).find_map(|(reply, right)| match reply {
        Value::ServerError(error) if error.code() == "NOPERM" => {
            let said = format!("NOPERM {}", error.details().unwrap_or_default());
            Some(Failure::lacking(right, &said, address))
        }
        _ => None,
    });
    Some(lacking.unwrap_or(failure))
}

/// The first reply that is an error.
pub(crate) fn first_error(replies: &[Value], address: &str) -> Option<Failure> {
    let errors = replies.iter().filter_map(|reply| match reply {
        Value::ServerError(error) => Some(Failure::of_answer(error, address)),
        _ => None,
    });
    // What is not permitted is the reason of what follows.
    let mut errors = errors.peekable();
    let first = errors.peek().cloned();
    errors.find(|failure| failure.reason == Reason::NotPermitted).or(first)
}
