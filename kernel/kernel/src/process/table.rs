//! The table of processes: who is whose child, in which group and session, and who has ended and waits to be asked for.
//!
//! Invariants, all under the one lock: every process but the first has a living parent in the table; a process is in `children` of
//! exactly its parent; `groups` holds exactly the groups with members; a session lives as long as a process is in it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux::Errno;
use linux::signal::Signal;
use linux::wait::Status;

use super::task::{Process, Task};
use crate::fs::tty::Terminal;
use crate::sync::{Rank, SpinGuard, SpinLock};

/// Process and thread numbers, at most; wraps.
const PID_MAX: u32 = 32768;
/// The first number after a wrap: low ones stay with what started early.
const PID_AGAIN: u32 = 300;
/// The first process.
pub const INIT: u32 = 1;

/// What happened to a process that its parent has not asked for yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// It has ended.
    pub ended: Option<Status>,
    /// It was stopped.
    pub stopped: Option<Signal>,
    /// It was resumed.
    pub continued: bool,
}

/// A process's place among the others.
pub struct Entry {
    /// The process.
    pub process: Arc<Process>,
    /// Its children.
    pub children: BTreeSet<u32>,
    /// Its group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// To be asked for.
    pub report: Report,
    /// What its parent gets when it ends.
    pub exit_signal: Option<Signal>,
}

/// A session.
#[derive(Default)]
pub struct Session {
    /// Processes in it.
    pub members: usize,
    /// Its controlling terminal.
    pub terminal: Option<Arc<Terminal>>,
}

/// All of them.
pub struct Table {
    entries: BTreeMap<u32, Entry>,
    tasks: BTreeMap<u32, Weak<Task>>,
    groups: BTreeMap<u32, BTreeSet<u32>>,
    sessions: BTreeMap<u32, Session>,
    next: u32,
    forks: u64,
}

static TABLE: SpinLock<Table> = SpinLock::new(
    Rank::PROCESS,
    Table {
        entries: BTreeMap::new(),
        tasks: BTreeMap::new(),
        groups: BTreeMap::new(),
        sessions: BTreeMap::new(),
        next: INIT,
        forks: 0,
    },
);

/// Takes the table's lock.
pub fn lock() -> SpinGuard<'static, Table> {
    TABLE.lock()
}

/// The process of this number.
pub fn find(pid: u32) -> Option<Arc<Process>> {
    lock().entries.get(&pid).map(|entry| entry.process.clone())
}

/// The thread of this number.
pub fn find_task(tid: u32) -> Option<Arc<Task>> {
    lock().tasks.get(&tid).and_then(Weak::upgrade)
}

impl Table {
    /// A number that no process, thread, group or session has.
    pub fn allocate(&mut self) -> Result<u32, Errno> {
        for _ in 0..PID_MAX {
            let number = self.next;
            self.next = if number + 1 >= PID_MAX { PID_AGAIN } else { number + 1 };
            let taken = self.entries.contains_key(&number)
                || self.tasks.contains_key(&number)
                || self.groups.contains_key(&number)
                || self.sessions.contains_key(&number);
            if !taken {
                return Ok(number);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Adds a process: a child of `parent` in its group and session, or the first.
    pub fn add(&mut self, process: &Arc<Process>, parent: Option<u32>, exit_signal: Option<Signal>) {
        let pid = process.pid;
        let (group, session) =
            parent.and_then(|pid| self.entries.get(&pid)).map_or((pid, pid), |e| (e.group, e.session));
        if let Some(parent) = parent.and_then(|parent| self.entries.get_mut(&parent)) {
            parent.children.insert(pid);
        }
        self.groups.entry(group).or_default().insert(pid);
        self.sessions.entry(session).or_default().members += 1;
        self.forks += 1;
        let entry = Entry {
            process: process.clone(),
            children: BTreeSet::new(),
            group,
            session,
            report: Report::default(),
            exit_signal,
        };
        self.entries.insert(pid, entry);
    }

    /// Makes a thread findable by its number.
    pub fn add_task(&mut self, task: &Arc<Task>) {
        self.tasks.insert(task.tid, Arc::downgrade(task));
    }

    /// A thread has gone.
    pub fn remove_task(&mut self, tid: u32) {
        self.tasks.remove(&tid);
    }

    /// A process's place.
    pub fn get(&self, pid: u32) -> Option<&Entry> {
        self.entries.get(&pid)
    }

    /// A process's place, to change it.
    pub fn get_mut(&mut self, pid: u32) -> Option<&mut Entry> {
        self.entries.get_mut(&pid)
    }

    /// All processes, by number.
    pub fn iter(&self) -> impl Iterator<Item = (&u32, &Entry)> {
        self.entries.iter()
    }

    /// The first process at or behind `pid`.
    pub fn at_or_behind(&self, pid: u32) -> Option<u32> {
        self.entries.range(pid..).next().map(|(&pid, _)| pid)
    }

    /// How many processes were ever made.
    pub fn forks(&self) -> u64 {
        self.forks
    }

    /// Members of a group.
    pub fn group(&self, group: u32) -> impl Iterator<Item = &Entry> {
        self.groups.get(&group).into_iter().flatten().filter_map(|pid| self.entries.get(pid))
    }

    /// The session of a group, when it has members.
    pub fn session_of_group(&self, group: u32) -> Option<u32> {
        self.group(group).next().map(|entry| entry.session)
    }

    /// A session.
    pub fn session_mut(&mut self, session: u32) -> Option<&mut Session> {
        self.sessions.get_mut(&session)
    }

    /// A session's controlling terminal.
    pub fn terminal(&self, session: u32) -> Option<&Arc<Terminal>> {
        self.sessions.get(&session)?.terminal.as_ref()
    }

    /// Puts a process into a group.
    pub fn set_group(&mut self, pid: u32, group: u32) {
        let Some(entry) = self.entries.get_mut(&pid) else { return };
        let old = core::mem::replace(&mut entry.group, group);
        self.leave_group(pid, old);
        self.groups.entry(group).or_default().insert(pid);
    }

    fn leave_group(&mut self, pid: u32, group: u32) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(&pid);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    fn leave_session(&mut self, session: u32) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.members -= 1;
            if found.members == 0 {
                self.sessions.remove(&session);
            }
        }
    }

    /// Makes a process the leader of a new session and group.
    pub fn set_session(&mut self, pid: u32) {
        self.set_group(pid, pid);
        let Some(entry) = self.entries.get_mut(&pid) else { return };
        let old = core::mem::replace(&mut entry.session, pid);
        self.leave_session(old);
        self.sessions.entry(pid).or_default().members += 1;
    }

    /// Gives all children of a process to the first one. Says which have ended, so that it is told.
    pub fn orphan_children(&mut self, pid: u32) -> Vec<u32> {
        let Some(entry) = self.entries.get_mut(&pid) else { return Vec::new() };
        let children = core::mem::take(&mut entry.children);
        for child in &children {
            if let Some(entry) = self.entries.get(child) {
                entry.process.parent.store(INIT, Ordering::Relaxed);
            }
        }
        if let Some(init) = self.entries.get_mut(&INIT) {
            init.children.extend(&children);
        }
        children.into_iter().collect()
    }

    /// Takes an ended process out.
    pub fn remove(&mut self, pid: u32) -> Option<Arc<Process>> {
        let entry = self.entries.remove(&pid)?;
        let parent = entry.process.parent.load(Ordering::Relaxed);
        if let Some(parent) = self.entries.get_mut(&parent) {
            parent.children.remove(&pid);
        }
        self.leave_group(pid, entry.group);
        self.leave_session(entry.session);
        Some(entry.process)
    }

    /// Whether a group is orphaned: no member has a parent in the same session but outside the group (POSIX.1-2017, 3.265). `without`
    /// is a process that is about to go.
    pub fn is_orphaned(&self, group: u32, without: Option<u32>) -> bool {
        !self.group(group).any(|entry| {
            if Some(entry.process.pid) == without || entry.report.ended.is_some() {
                return false;
            }
            let parent = entry.process.parent.load(Ordering::Relaxed);
            self.entries.get(&parent).is_some_and(|parent| {
                parent.process.pid != INIT && parent.group != group && parent.session == entry.session
            })
        })
    }
}
