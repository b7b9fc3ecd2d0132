//! Processes and their threads.
//!
//! Locks, in the order in which they are taken: the table (`table`), then a process's `fields`, `handles`, `signals`. Everything about
//! signals of all threads of a process is under its one `signals` lock.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use handles::{Entry, Kind, Rights, Table};
use linux::Errno;
use linux::flags::*;
use linux::signal::{SigAction, SigInfo, SigSet, SigStack, Signal};
use linux::types::Rlimit;
use linux::wait::Status;

use super::credentials::Credentials;
use super::pending::Pending;
use super::signal::FaultRecord;
use crate::fs::{OpenFile, Path, PathContext};
use crate::mm::AddressSpace;
use crate::sched::{Thread, WaitQueue};
use crate::sync::{Once, Rank, SpinLock};

/// Descriptors that a process may have unless it asks for another limit.
pub const HANDLES_DEFAULT: u64 = 1024;
/// Descriptors that it may ask for.
pub const HANDLES_MAX: u64 = 65536;
/// Threads of one process.
pub const THREADS_MAX: usize = 4096;

/// The handle table of one process, or of several that share it: a descriptor is an index into it.
pub type Files = SpinLock<Table<Arc<OpenFile>>>;

/// Where a process stands in the tree of names.
pub struct Places {
    /// What `/` means.
    pub root: Path,
    /// What `.` means.
    pub current: Path,
    /// Permissions that new files do not get.
    pub umask: u32,
}

/// The program that a process runs.
#[derive(Clone)]
pub struct Program {
    /// Its file.
    pub file: Option<Path>,
    /// Its short name.
    pub name: [u8; 16],
    /// Where its arguments lie in its memory.
    pub arguments: core::ops::Range<u64>,
    /// Where its environment lies.
    pub environment: core::ops::Range<u64>,
    /// Where the vDSO lies.
    pub vdso: u64,
    /// Stack pointer at its entry.
    pub stack: u64,
}

/// What changes rarely.
pub struct Fields {
    /// Memory; `None` once the process has ended.
    pub space: Option<Arc<AddressSpace>>,
    /// Who it is.
    pub credentials: Arc<Credentials>,
    /// What it runs.
    pub program: Program,
    /// Resource limits.
    pub limits: [Rlimit; RLIMIT_COUNT],
    /// It never gains privileges by executing.
    pub no_new_privileges: bool,
    /// Signal at the death of its parent.
    pub parent_death_signal: Option<Signal>,
}

/// A thread as the signals see it.
pub struct Member {
    /// The thread.
    pub task: Arc<Task>,
    /// Signals sent to it alone.
    pub pending: Pending,
}

/// Signals, stopping and ending.
pub struct Signals {
    /// What each signal does.
    pub actions: Box<[SigAction; 64]>,
    /// Sent to the process.
    pub pending: Pending,
    /// Its live threads.
    pub members: Vec<Member>,
    /// Threads stand still because of this signal.
    pub stopped: Option<Signal>,
    /// How many do.
    pub standing: usize,
    /// All threads are to end, with this status.
    pub ending: Option<Status>,
    /// All threads but this one are to end, for it executes a program.
    pub executing: Option<u32>,
    /// Interval timer: when it rings next, and how often from then on.
    pub alarm: Option<Duration>,
    /// Period of the alarm, zero for once.
    pub alarm_period: Duration,
}

/// A process.
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: AtomicU32,
    /// When it began, since power-on.
    pub started: Duration,
    /// Descriptors.
    pub files: Arc<Files>,
    /// Working directory and the like.
    pub places: Arc<SpinLock<Places>>,
    /// What changes rarely.
    pub fields: SpinLock<Fields>,
    /// Signals.
    pub signals: SpinLock<Signals>,
    /// Where its threads stand still.
    pub resumed: WaitQueue,
    /// Where it waits for its children, and for its other threads to go.
    pub changed: WaitQueue,
    /// User and system time of threads that have gone, and of children waited for; nanoseconds.
    pub times: Times,
    /// It has executed a program since it was forked.
    pub has_executed: AtomicBool,
    /// What `setpriority` said, -20 to 19. Kept for those who ask; all threads get the same share of the CPUs.
    pub nice: AtomicI32,
}

/// Processor time, in nanoseconds.
#[derive(Default)]
pub struct Times {
    /// In the program, by threads that have gone.
    pub user: AtomicU64,
    /// In the kernel.
    pub system: AtomicU64,
    /// In the program, by children that were waited for.
    pub children_user: AtomicU64,
    /// In the kernel.
    pub children_system: AtomicU64,
}

/// What a system call that a signal interrupted is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How it ended: one of the `ERESTART…` codes.
    pub code: Errno,
    /// Its first argument.
    pub argument: u64,
}

/// A thread of a process.
pub struct Task {
    /// Its number.
    pub tid: u32,
    /// Its process.
    pub process: Arc<Process>,
    /// What the scheduler runs.
    pub thread: Once<Weak<Thread>>,
    /// Signals that it does not take now. Only the thread itself changes it.
    pub mask: AtomicU64,
    /// Signals that it waits for with `sigtimedwait`: let in to end the sleep, and yet blocked as to being ignored.
    pub waited: AtomicU64,
    /// Its own things; only the thread itself touches them.
    pub own: SpinLock<Own>,
    /// Cleared, and its futex woken, when the thread ends.
    pub clear_child_tid: AtomicU64,
    /// Head of the list of robust futexes.
    pub robust_list: AtomicU64,
    /// The parent of a `vfork` may go on.
    pub vfork_done: WaitQueue,
    /// The child has its own memory, or none.
    pub vfork_released: AtomicBool,
}

/// What only the thread itself touches.
pub struct Own {
    /// Alternate signal stack.
    pub stack: SigStack,
    /// The mask to return to after `sigsuspend` and the like.
    pub saved_mask: Option<SigSet>,
    /// The system call that was interrupted.
    pub restart: Option<Restart>,
    /// When the sleep that was interrupted ends, and where to write what is left.
    pub sleep: Option<(Duration, u64)>,
    /// The fault that the pending signal of the thread itself comes from.
    pub fault: FaultRecord,
}

impl Task {
    /// A thread that does not run yet.
    pub fn new(tid: u32, process: Arc<Process>, mask: SigSet) -> Arc<Self> {
        Arc::new(Self {
            tid,
            process,
            thread: Once::new(),
            mask: AtomicU64::new(mask.0),
            waited: AtomicU64::new(0),
            own: SpinLock::new(
                Rank::THREAD,
                Own {
                    stack: SigStack::DISABLED,
                    saved_mask: None,
                    restart: None,
                    sleep: None,
                    fault: FaultRecord::default(),
                },
            ),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            vfork_done: WaitQueue::new(),
            vfork_released: AtomicBool::new(false),
        })
    }

    /// Signals that it does not take now.
    pub fn mask(&self) -> SigSet {
        SigSet(self.mask.load(Ordering::SeqCst))
    }

    /// Whether a signal is kept for it even where the action is to ignore: it may change, or the thread asks for it.
    pub fn keeps(&self, signal: Signal) -> bool {
        self.mask().contains(signal) || SigSet(self.waited.load(Ordering::SeqCst)).contains(signal)
    }

    /// Changes the mask; for the thread itself. Those that this lets in are delivered on the way to the program.
    pub fn set_mask(&self, mask: SigSet) {
        self.mask.store(mask.without(SigSet::UNMASKABLE).0, Ordering::SeqCst);
        if self.process.has_deliverable(self) {
            self.interrupt();
        }
    }

    /// Makes the thread look at its signals: ends its sleep, and its time in the program.
    pub fn interrupt(&self) {
        if let Some(thread) = self.thread.get().and_then(Weak::upgrade) {
            thread.interrupt();
        }
    }

    /// Sends this thread, which is the current one, a signal from the kernel.
    pub fn send_to_self(self: &Arc<Self>, signal: Signal) {
        super::signal::send_to_task(self, &SigInfo::kernel(signal));
    }

    /// Lets the parent of a `vfork` go on.
    pub fn release_vfork(&self) {
        if !self.vfork_released.swap(true, Ordering::SeqCst) {
            self.vfork_done.wake_all();
        }
    }
}

impl Signals {
    /// Nothing pending, every action the default, no thread.
    pub fn new() -> Self {
        Self {
            actions: Box::new([SigAction::default(); 64]),
            pending: Pending::default(),
            members: Vec::new(),
            stopped: None,
            standing: 0,
            ending: None,
            executing: None,
            alarm: None,
            alarm_period: Duration::ZERO,
        }
    }

    /// The entry of a thread.
    pub fn member(&mut self, tid: u32) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.task.tid == tid)
    }
}

impl Process {
    /// Who it is.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.fields.lock().credentials.clone()
    }

    /// Its memory, while it lives.
    pub fn space(&self) -> Result<Arc<AddressSpace>, Errno> {
        self.fields.lock().space.clone().ok_or(Errno::ESRCH)
    }

    /// A resource limit.
    pub fn limit(&self, which: usize) -> u64 {
        self.fields.lock().limits[which].current
    }

    /// An open file, and what may be done with it.
    pub fn file(&self, fd: u64) -> Result<(Arc<OpenFile>, Rights), Errno> {
        let files = self.files.lock();
        let entry = files.get(fd_index(fd)).map_err(|_| Errno::EBADF)?;
        Ok((entry.object.clone(), entry.rights()))
    }

    /// Gives an open file the lowest free descriptor.
    pub fn add_file(&self, mut entry: Entry<Arc<OpenFile>>, close_on_exec: bool) -> Result<u64, Errno> {
        entry.close_on_exec = close_on_exec;
        self.files.lock().insert(entry, 0).map(|index| index as u64).map_err(|_| Errno::EMFILE)
    }

    fn paths_for(&self, credentials: vfs::Credentials) -> PathContext {
        let places = self.places.lock();
        PathContext { root: places.root.clone(), cwd: places.current.clone(), credentials, umask: places.umask }
    }

    /// Where it stands in the tree of names, and whom the file system takes it for.
    pub fn paths(&self) -> PathContext {
        self.paths_for(self.credentials().for_files())
    }

    /// The same, as `access` judges.
    pub fn paths_as_real(&self) -> PathContext {
        self.paths_for(self.credentials().for_files_as_real())
    }

    /// Changes the working directory.
    pub fn set_cwd(&self, path: Path) {
        let old = core::mem::replace(&mut self.places.lock().current, path);
        drop(old);
    }

    /// Changes what `/` means.
    pub fn set_root(&self, path: Path) {
        let old = core::mem::replace(&mut self.places.lock().root, path);
        drop(old);
    }

    /// Changes the mask of permissions; gives the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.places.lock().umask, umask & 0o777)
    }

    /// Signals that wait for a thread of it.
    pub fn pending(&self, task: &Task) -> SigSet {
        let mut signals = self.signals.lock();
        let shared = signals.pending.set();
        shared.union(signals.member(task.tid).map_or(SigSet::EMPTY, |member| member.pending.set()))
    }

    /// Whether a thread of it has a signal to take.
    pub fn has_deliverable(&self, task: &Task) -> bool {
        !self.pending(task).without(task.mask()).is_empty()
    }

    /// User and system time of all its threads, in nanoseconds.
    pub fn processor_time(&self) -> (u64, u64) {
        let signals = self.signals.lock();
        let mut total = (self.times.user.load(Ordering::Relaxed), self.times.system.load(Ordering::Relaxed));
        for member in &signals.members {
            if let Some(thread) = member.task.thread.get().and_then(Weak::upgrade) {
                let (user, system) = times_of(&thread);
                total = (total.0 + user, total.1 + system);
            }
        }
        total
    }
}

/// User and system time of a thread, in nanoseconds.
pub fn times_of(thread: &Thread) -> (u64, u64) {
    (thread.user_time().as_nanos() as u64, thread.system_time().as_nanos() as u64)
}

/// The handle of an open file, with the rights that its flags ask for.
pub fn handle(file: Arc<OpenFile>) -> Entry<Arc<OpenFile>> {
    let common = Rights::DUPLICATE.union(Rights::TRANSFER).union(Rights::TRAVERSE);
    if file.is_path() {
        return Entry::new(file, Kind::Place, common);
    }
    let mut rights = common.union(Rights::CONTROL);
    if file.is_readable() {
        rights = rights.union(Rights::READ).union(Rights::EXECUTE);
    }
    if file.is_writable() {
        rights = rights.union(Rights::WRITE);
    }
    let kind = match file.kind() {
        vfs::inode::Kind::Regular => Kind::File,
        vfs::inode::Kind::Directory => Kind::Directory,
        vfs::inode::Kind::Fifo => Kind::Pipe,
        vfs::inode::Kind::Character | vfs::inode::Kind::Block => Kind::Device,
        vfs::inode::Kind::Link | vfs::inode::Kind::Socket => Kind::Event,
    };
    Entry::new(file, kind, rights)
}

/// A descriptor as an index; a negative one is none.
pub fn fd_index(fd: u64) -> usize {
    usize::try_from(fd as u32 as i32).unwrap_or(usize::MAX)
}

/// The limits that the first process has.
pub fn default_limits() -> [Rlimit; RLIMIT_COUNT] {
    const UNLIMITED: u64 = u64::MAX;
    let mut limits = [Rlimit { current: UNLIMITED, maximum: UNLIMITED }; RLIMIT_COUNT];
    limits[RLIMIT_STACK].current = 8 << 20;
    limits[RLIMIT_CORE] = Rlimit { current: 0, maximum: UNLIMITED };
    limits[RLIMIT_NOFILE] = Rlimit { current: HANDLES_DEFAULT, maximum: HANDLES_MAX };
    limits[RLIMIT_NPROC] = Rlimit { current: 16384, maximum: 16384 };
    limits
}
