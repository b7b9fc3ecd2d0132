//! Starting programs, and the memory calls of the allocator.

use alloc::{ffi::CString, string::String, vec::Vec};
use core::ptr::null;
use rustix::fd::AsFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::process::Pid;

/// Calls of rustix that stand in for libc's own.
pub use rustix::runtime_448b8ad740e2a26f as runtime;

use runtime::{Fork, How, KernelSigSet, Signal};

/// Which side of a fork the process is on.
pub enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(Pid),
}

/// A copy of this process.
pub fn fork() -> Result<Side, Errno> {
    // SAFETY: our processes have one thread and no locks, so the child may go on with all that it inherits.
    match unsafe { runtime::kernel_fork() }? {
        Fork::Child(_) => Ok(Side::Child),
        Fork::ParentOf(pid) => Ok(Side::Parent(pid)),
    }
}

/// Replaces this process by a program; returns only if that failed. A NUL inside a word is EINVAL.
pub fn exec<A: AsRef<[u8]>, E: AsRef<[u8]>>(path: &str, arguments: &[A], environment: &[E]) -> Errno {
    let (Ok(path), Some(arguments), Some(environment)) =
        (CString::new(path), Strings::of(arguments), Strings::of(environment))
    else {
        return Errno::INVAL;
    };
    // SAFETY: both arrays end in NULL, and their strings live until the call returns.
    unsafe { runtime::execve(&path, arguments.pointers().as_ptr(), environment.pointers().as_ptr()) }
}

/// The same for a program that is open already.
pub fn exec_open<A: AsRef<[u8]>, E: AsRef<[u8]>>(program: impl AsFd, arguments: &[A], environment: &[E]) -> Errno {
    let (Some(arguments), Some(environment)) = (Strings::of(arguments), Strings::of(environment)) else {
        return Errno::INVAL;
    };
    let (arguments, environment) = (arguments.pointers(), environment.pointers());
    // SAFETY: as above.
    unsafe { runtime::execveat(program, c"", arguments.as_ptr(), environment.as_ptr(), AtFlags::EMPTY_PATH) }
}

/// The strings of a program's vector.
struct Strings(Vec<CString>);

impl Strings {
    fn of<T: AsRef<[u8]>>(words: &[T]) -> Option<Self> {
        words.iter().map(|word| CString::new(word.as_ref()).ok()).collect::<Option<_>>().map(Self)
    }

    /// Ends in NULL; good as long as the strings are.
    fn pointers(&self) -> Vec<*const u8> {
        self.0.iter().map(|string| string.as_ptr().cast()).chain([null()]).collect()
    }
}

/// The set of some signals.
pub fn signal_set(signals: &[Signal]) -> KernelSigSet {
    let mut set = KernelSigSet::empty();
    for signal in signals {
        set.insert(*signal);
    }
    set
}

/// Blocks exactly these signals from now on.
pub fn block_signals(set: &KernelSigSet) -> Result<(), Errno> {
    // SAFETY: no libc whose signals could be touched, and no code here depends on another's mask.
    unsafe { runtime::kernel_sigprocmask(How::SETMASK, Some(set)) }.map(|_| ())
}

/// Takes one pending signal of a blocked set, waiting at most `timeout_ms` (`None`: as long as it takes).
pub fn wait_signal(set: &KernelSigSet, timeout_ms: Option<u64>) -> Option<Signal> {
    let timeout = timeout_ms.map(|ms| runtime::Timespec {
        tv_sec: (ms / 1000) as runtime::Secs,
        tv_nsec: ((ms % 1000) * 1_000_000) as runtime::Nsecs,
    });
    // SAFETY: the set holds none that a libc reserves, for there is none.
    let info = unsafe { runtime::kernel_sigtimedwait(set, timeout.as_ref()) }.ok()?;
    // SAFETY: the kernel filled it.
    let number = unsafe { info.__bindgen_anon_1.__bindgen_anon_1.si_signo };
    Signal::from_named_raw(number)
}

/// `std::env::var` of the host or the kernel's environment block.
pub fn variable(name: &str) -> Option<String> {
    environment().into_iter().find_map(|v| v.strip_prefix(name)?.strip_prefix('=').map(String::from))
}

#[cfg(not(swift_os))]
/// All `NAME=value` strings.
pub fn environment() -> Vec<String> {
    std::env::vars().map(|(k, v)| std::format!("{k}={v}")).collect()
}

#[cfg(swift_os)]
pub use bare::*;

#[cfg(swift_os)]
mod bare {
    use super::{String, Vec};
    use core::ffi::{CStr, c_void};
    use core::ptr::null_mut;
    use core::sync::atomic::{AtomicPtr, Ordering};
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    static ENVIRONMENT: AtomicPtr<*mut u8> = AtomicPtr::new(null_mut());

    /// Gives rustix the auxiliary vector, and keeps the environment.
    ///
    /// # Safety
    /// `envp` is the block that the kernel gave, and no call of rustix came before.
    pub(crate) unsafe fn rustix_init(envp: *mut *mut u8) {
        ENVIRONMENT.store(envp, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { rustix::param::init(envp) }
    }

    /// All `NAME=value` strings that are UTF-8.
    pub fn environment() -> Vec<String> {
        let mut found = Vec::new();
        let mut at = ENVIRONMENT.load(Ordering::Relaxed);
        // SAFETY: the kernel's array of NUL-terminated strings, ended by NULL, lives as long as the process.
        unsafe {
            while !(*at).is_null() {
                found.extend(CStr::from_ptr((*at).cast_const().cast()).to_str().map(String::from));
                at = at.add(1);
            }
        }
        found
    }

    /// Fresh pages, or null.
    pub(crate) fn map(size: usize) -> *mut u8 {
        // SAFETY: without an address, the kernel picks a place where nothing is.
        unsafe { mmap_anonymous(null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }
            .map_or(null_mut(), <*mut c_void>::cast)
    }

    /// Gives pages of `map` back.
    pub(crate) fn unmap(block: *mut u8, size: usize) {
        // SAFETY: the allocator gives a block up only once, with the size that it was mapped with.
        let _ = unsafe { munmap(block.cast(), size) };
    }
}
