//! Text to a descriptor, buffered: one write per line or per screen, not one per fragment.

use alloc::vec::Vec;
use core::fmt;
use rustix::fd::BorrowedFd;

/// Longer text is written in parts of this size.
const BUFFER: usize = 4096;

/// A buffered writer. What it holds is written by `flush` and when it is dropped.
pub struct Out {
    fd: BorrowedFd<'static>,
    text: Vec<u8>,
    failed: bool,
}

/// Standard output.
pub fn stdout() -> Out {
    // SAFETY: descriptors 0 to 2 are never closed by our programs.
    Out::new(unsafe { BorrowedFd::borrow_raw(1) })
}

/// Standard error.
pub fn stderr() -> Out {
    // SAFETY: as above.
    Out::new(unsafe { BorrowedFd::borrow_raw(2) })
}

impl Out {
    /// A writer to `fd`.
    pub fn new(fd: BorrowedFd<'static>) -> Self {
        Self { fd, text: Vec::new(), failed: false }
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= BUFFER {
            self.flush();
        }
    }

    /// Writes what is held. False if this or an earlier write failed (a closed pipe, a full disk).
    pub fn flush(&mut self) -> bool {
        self.failed = self.failed || write_all(self.fd, &self.text).is_err();
        self.text.clear();
        !self.failed
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Writes all of it, through short writes and interruptions.
pub fn write_all(fd: BorrowedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(rustix::io::Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// One formatted piece to standard output.
#[macro_export]
macro_rules! out {
    ($($words:tt)*) => {{
        let mut out = $crate::out::stdout();
        let _ = core::fmt::Write::write_fmt(&mut out, format_args!($($words)*));
        out.flush()
    }};
}

/// One formatted line to standard error: `program: what went wrong`.
#[macro_export]
macro_rules! errln {
    ($($words:tt)*) => {{
        let mut err = $crate::out::stderr();
        let _ = core::fmt::Write::write_fmt(&mut err, format_args!($($words)*));
        err.bytes(b"\n");
    }};
}
