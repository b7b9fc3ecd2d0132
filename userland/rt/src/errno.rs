//! Error numbers in words.

use rustix::io::Errno;

/// What an error means, for people; the numbers that our programs meet.
pub fn text(error: Errno) -> &'static str {
    match error {
        Errno::PERM => "operation not permitted",
        Errno::NOENT => "no such file or directory",
        Errno::SRCH => "no such process",
        Errno::INTR => "interrupted",
        Errno::IO => "input/output error",
        Errno::NXIO => "no such device or address",
        Errno::TOOBIG => "argument list too long",
        Errno::NOEXEC => "not a program that this machine runs",
        Errno::BADF => "bad file descriptor",
        Errno::AGAIN => "try again",
        Errno::NOMEM => "out of memory",
        Errno::ACCESS => "permission denied",
        Errno::BUSY => "device or resource busy",
        Errno::EXIST => "file exists",
        Errno::NODEV => "no such device",
        Errno::NOTDIR => "not a directory",
        Errno::ISDIR => "is a directory",
        Errno::INVAL => "invalid argument",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::NOTTY => "not a terminal",
        Errno::FBIG => "file too large",
        Errno::NOSPC => "no space left",
        Errno::ROFS => "read-only file system",
        Errno::PIPE => "broken pipe",
        Errno::LOOP => "too many symbolic links",
        Errno::NAMETOOLONG => "name too long",
        Errno::DQUOT => "disk quota exceeded",
        Errno::OPNOTSUPP => "not supported by the file system",
        Errno::NOSYS => "not implemented by the kernel",
        Errno::ILSEQ => "not valid UTF-8",
        _ => "unexpected error",
    }
}
