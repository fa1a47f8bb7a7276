//! Lending the terminal to CMD and taking it back.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process_group};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp,
};

use super::procs;

/// The terminal on standard input, on loan from the process group that had it.
#[derive(Debug)]
pub struct Loan {
    terminal: OwnedFd,
    lender: Pid,
    /// How it was when it was lent.
    modes: Option<Termios>,
}

impl Loan {
    /// The terminal on `stdin`, lent by `lender`.
    #[must_use]
    pub fn new(terminal: OwnedFd, lender: Pid) -> Self {
        let modes = tcgetattr(&terminal).ok();
        Self { terminal, lender, modes }
    }

    /// The terminal on this process's `stdin`, if it is one and this process is in its foreground
    /// group, alone but for a shell that waits for it. Started in the background there is nothing
    /// to lend, and in a pipeline (`leasehold run -- CMD | less`) the others of the group need the
    /// terminal themselves.
    #[must_use]
    pub fn available(stdin: impl AsFd) -> Option<Self> {
        // A group that began outside of this pid namespace cannot be given the terminal back from
        // here.
        let own = Pid::from_raw(procs::own_group_and_session().ok()?.0)?;
        let foreground =
            isatty(&stdin) && tcgetpgrp(&stdin) == Ok(own) && procs::is_alone_in(own.as_raw_pid());
        let terminal = foreground.then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten()?;
        Some(Self::new(terminal, own))
    }

    /// Who lends.
    #[must_use]
    pub fn lender(&self) -> Pid {
        self.lender
    }

    /// Whether this group is in the foreground.
    #[must_use]
    pub fn is_with(&self, group: Pid) -> bool {
        tcgetpgrp(&self.terminal) == Ok(group)
    }

    /// Gives the terminal back once CMD is dead, unless somebody alive has it (a shell that saw its
    /// job end). With `restore` (CMD was killed, and could not do it) also puts its modes back. The
    /// caller blocks SIGTTOU.
    pub fn give_back(&self, restore: bool) {
        let orphaned = match tcgetpgrp(&self.terminal) {
            Ok(group) => test_kill_process_group(group) == Err(Errno::SRCH),
            Err(error) => error == Errno::OPNOTSUPP,
        };
        if orphaned {
            let _ = tcsetpgrp(&self.terminal, self.lender);
            if let Some(modes) = self.modes.as_ref().filter(|_| restore) {
                let _ = tcsetattr(&self.terminal, OptionalActions::Now, modes);
            }
        }
    }
}
