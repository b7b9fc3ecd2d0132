//! System calls: from registers to a plain function and back.
//!
//! Each family has a file; each call a function from [`Call`] to a result. Only those that change the program's registers themselves
//! (`clone`, `execve`, `rt_sigreturn`, `exit`) are handled here.

mod file;
mod futex;
mod identity;
mod memory;
mod path;
mod poll;
mod process;
mod signal;
mod system;
mod time;
mod xattr;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use linux::Errno;
use linux::nr;
use linux::wait::Status;

use crate::arch::trap::TrapFrame;
use crate::event;
use crate::process::task::{Process, Restart, Task};
use crate::process::{current, exit};
use crate::sync::{Rank, SpinLock};

/// A call: who calls, with what.
pub struct Call<'a> {
    /// The thread.
    pub task: &'a Arc<Task>,
    /// Its process.
    pub process: &'a Arc<Process>,
    /// Arguments.
    pub arguments: [u64; 6],
}

/// Calls that we do not have: how often, and which were already logged.
struct Unknown {
    count: AtomicU64,
    logged: SpinLock<[u64; 8]>,
}

static UNKNOWN: Unknown = Unknown { count: AtomicU64::new(0), logged: SpinLock::new(Rank::FUTEX, [0; 8]) };

/// How many calls of numbers that we do not have there were.
pub fn unknown_count() -> u64 {
    UNKNOWN.count.load(Ordering::Relaxed)
}

/// Serves the call in x8 with its arguments in x0 to x5; the result goes to x0.
pub fn dispatch(frame: &mut TrapFrame) {
    // Linux looks at w8 only.
    let number = frame.x[8] as u32 as usize;
    let task = current();
    let arguments = [frame.x[0], frame.x[1], frame.x[2], frame.x[3], frame.x[4], frame.x[5]];
    let result = match number {
        // These do not come back, and what they hold is given up inside.
        nr::EXIT => exit::exit_thread(task, Status::Exited(arguments[0] as u8)),
        nr::EXIT_GROUP => exit::exit_group(task, Status::Exited(arguments[0] as u8)),
        nr::RT_SIGRETURN => return process::sigreturn(&task, frame),
        nr::EXECVE | nr::EXECVEAT => match process::execute(&task, number, arguments, frame) {
            Ok(()) => return,
            Err(error) => Err(error),
        },
        nr::CLONE => process::clone(frame, arguments),
        nr::SIGALTSTACK => signal::sigaltstack(&task, frame.sp, arguments),
        _ => route(&Call { task: &task, process: &task.process, arguments }, number),
    };
    match result {
        Ok(value) => frame.x[0] = value,
        Err(error) => {
            frame.x[0] = error.to_return();
            if error.is_restart() {
                task.own.lock().restart = Some(Restart { code: error, argument: arguments[0] });
                task.interrupt();
            }
        }
    }
}

fn route(call: &Call<'_>, number: usize) -> Result<u64, Errno> {
    let function: fn(&Call<'_>) -> Result<u64, Errno> = match number {
        // Files.
        nr::READ => file::read,
        nr::WRITE => file::write,
        nr::READV => file::readv,
        nr::WRITEV => file::writev,
        nr::PREAD64 => file::pread64,
        nr::PWRITE64 => file::pwrite64,
        nr::PREADV => file::preadv,
        nr::PWRITEV => file::pwritev,
        nr::LSEEK => file::lseek,
        nr::CLOSE => file::close,
        nr::CLOSE_RANGE => file::close_range,
        nr::DUP => file::dup,
        nr::DUP3 => file::dup3,
        nr::FCNTL => file::fcntl,
        nr::IOCTL => file::ioctl,
        nr::PIPE2 => file::pipe2,
        nr::GETDENTS64 => file::getdents64,
        nr::FTRUNCATE => file::ftruncate,
        nr::FALLOCATE => file::fallocate,
        nr::FSYNC => file::fsync,
        nr::FDATASYNC => file::fdatasync,
        nr::SYNC => file::sync,
        nr::SENDFILE => file::sendfile,
        nr::FLOCK => file::flock,
        nr::FADVISE64 => file::fadvise64,
        nr::SYNCFS => file::syncfs,
        nr::SYNC_FILE_RANGE => file::sync_file_range,
        nr::PREADV2 => file::preadv2,
        nr::PWRITEV2 => file::pwritev2,
        nr::COPY_FILE_RANGE => file::copy_file_range,
        // Paths.
        nr::OPENAT => path::openat,
        nr::NEWFSTATAT => path::newfstatat,
        nr::FSTAT => path::fstat,
        nr::STATX => path::statx,
        nr::STATFS => path::statfs,
        nr::FSTATFS => path::fstatfs,
        nr::FACCESSAT => path::faccessat,
        nr::FACCESSAT2 => path::faccessat2,
        nr::READLINKAT => path::readlinkat,
        nr::MKDIRAT => path::mkdirat,
        nr::MKNODAT => path::mknodat,
        nr::UNLINKAT => path::unlinkat,
        nr::SYMLINKAT => path::symlinkat,
        nr::LINKAT => path::linkat,
        nr::RENAMEAT => path::renameat,
        nr::RENAMEAT2 => path::renameat2,
        nr::TRUNCATE => path::truncate,
        nr::UTIMENSAT => path::utimensat,
        nr::FCHMOD => path::fchmod,
        nr::FCHMODAT => path::fchmodat,
        nr::FCHOWN => path::fchown,
        nr::FCHOWNAT => path::fchownat,
        nr::GETCWD => path::getcwd,
        nr::CHDIR => path::chdir,
        nr::FCHDIR => path::fchdir,
        nr::CHROOT => path::chroot,
        nr::UMASK => path::umask,
        nr::MOUNT => path::mount,
        nr::UMOUNT2 => path::umount2,
        // Extended attributes.
        nr::SETXATTR => xattr::setxattr,
        nr::LSETXATTR => xattr::lsetxattr,
        nr::FSETXATTR => xattr::fsetxattr,
        nr::GETXATTR => xattr::getxattr,
        nr::LGETXATTR => xattr::lgetxattr,
        nr::FGETXATTR => xattr::fgetxattr,
        nr::LISTXATTR => xattr::listxattr,
        nr::LLISTXATTR => xattr::llistxattr,
        nr::FLISTXATTR => xattr::flistxattr,
        nr::REMOVEXATTR => xattr::removexattr,
        nr::LREMOVEXATTR => xattr::lremovexattr,
        nr::FREMOVEXATTR => xattr::fremovexattr,
        // Waiting for several.
        nr::PPOLL => poll::ppoll,
        nr::PSELECT6 => poll::pselect6,
        _ => return route_rest(call, number),
    };
    function(call)
}

fn route_rest(call: &Call<'_>, number: usize) -> Result<u64, Errno> {
    let function: fn(&Call<'_>) -> Result<u64, Errno> = match number {
        // Processes.
        nr::WAIT4 => process::wait4,
        nr::WAITID => process::waitid,
        nr::GETPID => process::getpid,
        nr::GETPPID => process::getppid,
        nr::GETTID => process::gettid,
        nr::SET_TID_ADDRESS => process::set_tid_address,
        nr::SET_ROBUST_LIST => process::set_robust_list,
        nr::PRCTL => process::prctl,
        nr::PRLIMIT64 => process::prlimit64,
        nr::GETRLIMIT => process::getrlimit,
        nr::SETRLIMIT => process::setrlimit,
        nr::GETRUSAGE => process::getrusage,
        nr::TIMES => process::times,
        nr::SCHED_YIELD => process::sched_yield,
        nr::SCHED_GETAFFINITY => process::sched_getaffinity,
        nr::SCHED_SETAFFINITY => process::sched_setaffinity,
        nr::GETPRIORITY => process::getpriority,
        nr::SETPRIORITY => process::setpriority,
        nr::GETCPU => process::getcpu,
        nr::PERSONALITY => process::personality,
        // Who.
        nr::GETUID => identity::getuid,
        nr::GETEUID => identity::geteuid,
        nr::GETGID => identity::getgid,
        nr::GETEGID => identity::getegid,
        nr::GETRESUID => identity::getresuid,
        nr::GETRESGID => identity::getresgid,
        nr::SETUID => identity::setuid,
        nr::SETGID => identity::setgid,
        nr::SETREUID => identity::setreuid,
        nr::SETREGID => identity::setregid,
        nr::SETRESUID => identity::setresuid,
        nr::SETRESGID => identity::setresgid,
        nr::SETFSUID => identity::setfsuid,
        nr::SETFSGID => identity::setfsgid,
        nr::GETGROUPS => identity::getgroups,
        nr::SETGROUPS => identity::setgroups,
        nr::SETSID => identity::setsid,
        nr::GETSID => identity::getsid,
        nr::SETPGID => identity::setpgid,
        nr::GETPGID => identity::getpgid,
        nr::CAPGET => identity::capget,
        // Signals.
        nr::RT_SIGACTION => signal::rt_sigaction,
        nr::RT_SIGPROCMASK => signal::rt_sigprocmask,
        nr::RT_SIGPENDING => signal::rt_sigpending,
        nr::RT_SIGSUSPEND => signal::rt_sigsuspend,
        nr::RT_SIGTIMEDWAIT => signal::rt_sigtimedwait,
        nr::RT_SIGQUEUEINFO => signal::rt_sigqueueinfo,
        nr::KILL => signal::kill,
        nr::TKILL => signal::tkill,
        nr::TGKILL => signal::tgkill,
        nr::SETITIMER => signal::setitimer,
        nr::GETITIMER => signal::getitimer,
        // Memory.
        nr::BRK => memory::brk,
        nr::MMAP => memory::mmap,
        nr::MUNMAP => memory::munmap,
        nr::MPROTECT => memory::mprotect,
        nr::MREMAP => memory::mremap,
        nr::MADVISE => memory::madvise,
        nr::MSYNC => memory::msync,
        nr::MLOCK | nr::MUNLOCK | nr::MLOCKALL | nr::MUNLOCKALL => memory::mlock,
        nr::FUTEX => futex::futex,
        // Time.
        nr::CLOCK_GETTIME => time::clock_gettime,
        nr::CLOCK_SETTIME => time::clock_settime,
        nr::CLOCK_GETRES => time::clock_getres,
        nr::CLOCK_NANOSLEEP => time::clock_nanosleep,
        nr::NANOSLEEP => time::nanosleep,
        nr::RESTART_SYSCALL => time::restart_syscall,
        nr::GETTIMEOFDAY => time::gettimeofday,
        nr::SETTIMEOFDAY => time::settimeofday,
        // The system.
        nr::UNAME => system::uname,
        nr::SETHOSTNAME => system::sethostname,
        nr::SYSINFO => system::sysinfo,
        nr::SYSLOG => system::syslog,
        nr::GETRANDOM => system::getrandom,
        nr::REBOOT => system::reboot,
        // Accepted when it is there; its absence is part of the interface (rseq(2)).
        nr::RSEQ => return Err(Errno::ENOSYS),
        _ => return unknown(number),
    };
    function(call)
}

/// Counts the call, and logs it when it is the first of its number.
fn unknown(number: usize) -> Result<u64, Errno> {
    UNKNOWN.count.fetch_add(1, Ordering::Relaxed);
    let first = {
        let mut logged = UNKNOWN.logged.lock();
        // Numbers that Linux does not define share the last bit.
        let bit = number.min(logged.len() * 64 - 1);
        let word = &mut logged[bit / 64];
        let first = *word & 1 << (bit % 64) == 0;
        *word |= 1 << (bit % 64);
        first
    };
    if first {
        event!("syscall.unknown", number = number, name = nr::name(number).unwrap_or("none"));
    }
    Err(Errno::ENOSYS)
}
