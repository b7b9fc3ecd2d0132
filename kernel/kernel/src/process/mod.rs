//! Processes: what Linux calls thread groups, their threads, and what happens to them.
//!
//! - `task`         the structs
//! - `table`        who is whose child, groups, sessions, and who waits to be asked for
//! - `fork` `exec` `exit`   the life of a process
//! - `signal` `pending` `job`   signals, job control
//! - `credentials`  who a process is
//! - `futex` `alarm` `time`   sleeping on memory; interval timers; clocks
//! - `vdso`         the page of code that every program gets

pub mod alarm;
pub mod credentials;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod futex;
pub mod job;
pub mod pending;
pub mod signal;
pub mod table;
pub mod task;
pub mod time;
pub mod vdso;

use alloc::sync::Arc;
use alloc::vec::Vec;

use handles::Table;
use linux::Errno;
use linux::flags::{O_RDWR, RLIMIT_COUNT};
use linux::stack::Strings;
use linux::wait::Status;

use crate::arch::trap::{Fault, TrapFrame};
use crate::event;
use crate::sched::{self, WaitError};
use crate::sync::{Rank, SpinLock};
use credentials::Credentials;
use signal::FaultRecord;
use task::{Fields, Places, Program, Task};

pub use task::handle;

/// What the kernel starts.
const INIT_PATH: &str = "/sbin/init";
/// What it reads and writes.
const CONSOLE_PATH: &[u8] = b"/dev/console";

const _: () = assert!(RLIMIT_COUNT == 16);

impl From<WaitError> for Errno {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Interrupted => Self::ERESTARTSYS,
            WaitError::TimedOut => Self::ETIMEDOUT,
        }
    }
}

/// The calling thread of a program.
///
/// # Panics
/// In a thread of the kernel itself: system calls and faults come from programs.
pub fn current() -> Arc<Task> {
    let data = sched::current().data().cloned().expect("called for a program's thread");
    data.downcast().unwrap_or_else(|_| panic!("a program's thread carries its task"))
}

/// The user program cannot go on from this. A function of its own, so that nothing else carries what it needs of the stack.
#[inline(never)]
pub fn user_fault(_frame: &mut TrapFrame, fault: Fault) {
    let task = current();
    task.own.lock().fault = FaultRecord { address: fault.address, esr: fault.esr };
    signal::force(&task, &signal::of_fault(&fault));
}

/// Called before a thread whose `Thread::interrupt` was called goes on in user mode. A function of its own, as above.
#[inline(never)]
pub fn before_user_return(frame: &mut TrapFrame) {
    let task = current();
    let fault = core::mem::take(&mut task.own.lock().fault);
    if let Some(status) = signal::before_return(&task, frame, &fault) {
        exit::exit_thread(task, status);
    }
}

/// The first process has ended: nobody is left to do anything.
pub fn init_ended(status: Status) -> ! {
    panic!("{INIT_PATH} ended with {status:?}");
}

/// Starts the first process.
#[inline(never)]
pub fn start_init() {
    sched::spawn_kernel("alarm", || alarm::serve());
    if let Err((what, error)) = try_start_init() {
        event!("init.failed", path = INIT_PATH, what = what, why = error);
        crate::panic::restart_by_policy();
    }
}

fn try_start_init() -> Result<(), (&'static str, Errno)> {
    let root = crate::fs::root().ok_or(("root", Errno::ENOENT))?;
    let fields = Fields {
        space: None,
        credentials: Arc::new(Credentials::root()),
        program: Program { file: None, name: [0; 16], arguments: 0..0, environment: 0..0, vdso: 0, stack: 0 },
        limits: task::default_limits(),
        no_new_privileges: false,
        parent_death_signal: None,
    };
    let places = Places { root: root.clone(), current: root, umask: 0o022 };
    let files = SpinLock::new(Rank::HANDLES, Table::new(task::HANDLES_DEFAULT as usize));
    let (process, task) = fork::first(fields, places, files);
    let paths = process.paths();
    let console =
        vfs::open::open(&paths, &vfs::At::cwd(CONSOLE_PATH), O_RDWR, 0).map_err(|error| ("console", error))?;
    for _ in 0..3 {
        process.add_file(handle(console.clone()), false).map_err(|error| ("console", error))?;
    }
    let mut arguments = Strings::default();
    arguments.push(INIT_PATH.as_bytes());
    let mut environment = Strings::default();
    ["HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"]
        .iter()
        .for_each(|text| environment.push(text.as_bytes()));
    let path: Vec<u8> = INIT_PATH.into();
    let file = exec::find(&paths, &path).map_err(|error| ("path", error))?;
    let request = exec::Request { file, path, arguments, environment };
    let (frame, space) = exec::prepare_first(&task, request).map_err(|error| ("program", error))?;
    let thread = sched::create_user("init", space, &frame, 0, None, task.clone()).ok_or(("thread", Errno::ENOMEM))?;
    let _ = task.thread.set(Arc::downgrade(&thread));
    event!("init.start", path = INIT_PATH, pid = process.pid);
    sched::start(&thread);
    Ok(())
}
