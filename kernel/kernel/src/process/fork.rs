//! New processes and threads: `clone`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use linux::Errno;
use linux::flags::*;
use linux::signal::{SigSet, SigStack, Signal};

use super::task::{Fields, Member, Places, Process, Signals, THREADS_MAX, Task, Times};
use super::{current, table};
use crate::arch::thread;
use crate::arch::timer;
use crate::arch::trap::TrapFrame;
use crate::mm::user;
use crate::sched::{self, WaitQueue};
use crate::sync::{Rank, SpinLock};

/// The arguments of `clone`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// `CLONE_*`, without the signal.
    pub flags: u64,
    /// What the parent gets when the child ends.
    pub exit_signal: Option<Signal>,
    /// The child's stack pointer; 0 keeps the parent's.
    pub stack: u64,
    /// Where to write the child's number in the parent's memory.
    pub parent_tid: u64,
    /// Where in the child's.
    pub child_tid: u64,
    /// Its thread pointer.
    pub tls: u64,
}

impl Arguments {
    /// From the registers (arm64 passes tls before child_tid).
    pub fn new(flags: u64, stack: u64, parent_tid: u64, tls: u64, child_tid: u64) -> Result<Self, Errno> {
        let signal = flags & CSIGNAL;
        let exit_signal = if signal == 0 { None } else { Some(Signal::new(signal).ok_or(Errno::EINVAL)?) };
        let flags = flags & !CSIGNAL;
        let has = |bits: u64| flags & bits == bits;
        // As clone(2) lists: threads share handlers, and who shares handlers shares memory.
        if has(CLONE_THREAD) && !has(CLONE_SIGHAND) || has(CLONE_SIGHAND) && !has(CLONE_VM) {
            return Err(Errno::EINVAL);
        }
        if flags & (CLONE_NEW_MASK | CLONE_PIDFD | CLONE_PTRACE) != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self { flags, exit_signal, stack, parent_tid, child_tid, tls })
    }

    fn has(&self, bits: u64) -> bool {
        self.flags & bits == bits
    }
}

/// Makes a thread or a process that goes on where the caller does; gives its number.
pub fn clone(frame: &TrapFrame, arguments: &Arguments) -> Result<u64, Errno> {
    let task = current();
    let parent = &task.process;
    let tid = table::lock().allocate()?;
    let process = if arguments.has(CLONE_THREAD) { parent.clone() } else { child_of(parent, tid, arguments)? };
    let child = Task::new(tid, process.clone(), task.mask());
    let stack = task.own.lock().stack;
    // A thread of its own memory map starts without the alternate stack, which is its creator's (sigaltstack(2)).
    child.own.lock().stack =
        if arguments.has(CLONE_VM) && !arguments.has(CLONE_VFORK) { SigStack::DISABLED } else { stack };
    if arguments.has(CLONE_CHILD_CLEARTID) {
        child.clear_child_tid.store(arguments.child_tid, Ordering::Relaxed);
    }
    if arguments.has(CLONE_PARENT_SETTID) {
        user::write(arguments.parent_tid, &tid)?;
    }
    let mut registers = frame.clone();
    registers.x[0] = 0;
    if arguments.stack != 0 {
        registers.sp = arguments.stack;
    }
    let tls = if arguments.has(CLONE_SETTLS) { arguments.tls } else { thread::tpidr() };
    let space = process.space()?;
    if arguments.has(CLONE_CHILD_SETTID) {
        // The child's memory is a copy of the caller's, or the caller's own; a bad address shows in the child's exit only.
        if arguments.has(CLONE_VM) {
            let _ = user::write(arguments.child_tid, &tid);
        } else {
            let _ = space.write_bytes(arguments.child_tid, &tid.to_le_bytes());
        }
    }
    let vectors = Some(thread::fp_state());
    let thread = sched::create_user("user", space, &registers, tls, vectors, child.clone()).ok_or(Errno::ENOMEM)?;
    let _ = child.thread.set(Arc::downgrade(&thread));
    enlist(parent, &process, &child, arguments)?;
    sched::start(&thread);
    if arguments.has(CLONE_VFORK) {
        let released = || child.vfork_released.load(Ordering::SeqCst).then_some(());
        // Only death ends this wait before the child does (Linux: killable).
        let _ = child.vfork_done.wait_until(released, None, false);
    }
    Ok(u64::from(tid))
}

/// Puts the new thread where signals and `wait` find it, unless its process is ending or it was signalled meanwhile.
fn enlist(
    parent: &Arc<Process>,
    process: &Arc<Process>,
    child: &Arc<Task>,
    arguments: &Arguments,
) -> Result<(), Errno> {
    let mut table = table::lock();
    {
        let mut signals = process.signals.lock();
        if signals.members.len() >= THREADS_MAX {
            return Err(Errno::EAGAIN);
        }
        if signals.ending.is_some() || signals.executing.is_some() {
            return Err(Errno::ERESTARTNOHAND);
        }
        signals.members.push(Member { task: child.clone(), pending: super::pending::Pending::default() });
    }
    table.add_task(child);
    if !arguments.has(CLONE_THREAD) {
        let adopter = if arguments.has(CLONE_PARENT) { parent.parent.load(Ordering::Relaxed) } else { parent.pid };
        process.parent.store(adopter, Ordering::Relaxed);
        table.add(process, Some(adopter), arguments.exit_signal);
    }
    Ok(())
}

fn child_of(parent: &Arc<Process>, pid: u32, arguments: &Arguments) -> Result<Arc<Process>, Errno> {
    let space = parent.space()?;
    let space = if arguments.has(CLONE_VM) { space } else { space.fork()? };
    let files = if arguments.has(CLONE_FILES) {
        parent.files.clone()
    } else {
        Arc::new(SpinLock::new(Rank::HANDLES, parent.files.lock().clone()))
    };
    let places = if arguments.has(CLONE_FS) {
        parent.places.clone()
    } else {
        let places = parent.places.lock();
        let copy = Places { root: places.root.clone(), current: places.current.clone(), umask: places.umask };
        Arc::new(SpinLock::new(Rank::PROCESS_FIELDS, copy))
    };
    let fields = {
        let fields = parent.fields.lock();
        Fields {
            space: Some(space),
            credentials: fields.credentials.clone(),
            program: fields.program.clone(),
            limits: fields.limits,
            no_new_privileges: fields.no_new_privileges,
            parent_death_signal: None,
        }
    };
    let mut signals = Signals::new();
    signals.actions = parent.signals.lock().actions.clone();
    Ok(Arc::new(Process {
        pid,
        parent: AtomicU32::new(parent.pid),
        started: timer::now(),
        files,
        places,
        fields: SpinLock::new(Rank::PROCESS_FIELDS, fields),
        signals: SpinLock::new(Rank::SIGNALS, signals),
        resumed: WaitQueue::new(),
        changed: WaitQueue::new(),
        times: Times::default(),
        has_executed: AtomicBool::new(false),
        nice: AtomicI32::new(parent.nice.load(Ordering::Relaxed)),
    }))
}

/// The first process, without a program yet.
pub fn first(fields: Fields, places: Places, files: super::task::Files) -> (Arc<Process>, Arc<Task>) {
    let process = Arc::new(Process {
        pid: table::INIT,
        parent: AtomicU32::new(0),
        started: timer::now(),
        files: Arc::new(files),
        places: Arc::new(SpinLock::new(Rank::PROCESS_FIELDS, places)),
        fields: SpinLock::new(Rank::PROCESS_FIELDS, fields),
        signals: SpinLock::new(Rank::SIGNALS, Signals::new()),
        resumed: WaitQueue::new(),
        changed: WaitQueue::new(),
        times: Times::default(),
        has_executed: AtomicBool::new(false),
        nice: AtomicI32::new(0),
    });
    let task = Task::new(table::INIT, process.clone(), SigSet::EMPTY);
    process.signals.lock().members.push(Member { task: task.clone(), pending: super::pending::Pending::default() });
    let mut table = table::lock();
    let _ = table.allocate();
    table.add(&process, None, None);
    table.add_task(&task);
    (process, task)
}
