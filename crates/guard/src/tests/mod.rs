//! The machines in a world of a few processes, whose every wish the tests decide.

mod guard;
mod watch;

use std::time::Duration;

use crate::{
    Cgroup, Children, Depth, Evidence, Exit, Instants, Listing, Order, Process, Report, Seen,
    Targets, Time,
};

const GRACE: Duration = Duration::from_millis(300);

fn ms(n: u64) -> Time {
    Time(n * 1_000_000)
}

fn instants(stop: u64, kill: u64, dead: u64) -> Instants {
    Instants { stop_at: ms(stop), kill_at: ms(kill), dead_by: ms(dead) }
}

fn process(pid: i32, root: i32) -> Process {
    let seen = Seen {
        start: 1,
        group: pid,
        session: pid,
        state: 'S',
        name: format!("p{pid}"),
        user: Some(0),
    };
    Process { pid, root: Some(root), ended: false, seen: Some(seen) }
}

fn ended(pid: i32) -> Process {
    Process { ended: true, ..process(pid, pid) }
}

fn hidden(pid: i32) -> Process {
    Process { seen: None, ..process(pid, pid) }
}

fn list(depth: Depth, processes: &[Process]) -> Option<Listing> {
    Some(Listing { depth, processes: processes.to_vec(), complete: true })
}

fn says(children: Children) -> Evidence {
    Evidence { children, cgroup: Cgroup::Unused }
}

#[test]
fn a_group_of_0_or_less_is_nobodys_target() {
    for number in [-1, 0, 1] {
        let mut odd = process(11, 11);
        let seen = odd.seen.as_mut().unwrap();
        (seen.group, seen.session) = (number, number);
        for targets in [Targets::all(&[&odd], 1_000), Targets::among_spared(&[&odd])] {
            assert!(targets.groups.is_empty());
            assert_eq!(targets.processes.len(), 1);
        }
    }
}
