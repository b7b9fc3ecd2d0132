//! Structs that cross the boundary, in the layout of arm64 Linux.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! structs {
    ($($(#[$meta:meta])* $name:ident: $size:literal { $($field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            #[allow(missing_docs)]
            pub struct $name { $(pub $field: $kind,)* }
            const _: () = assert!(size_of::<$name>() == $size);
        )*
    };
}

structs! {
    /// `struct stat` (include/uapi/asm-generic/stat.h).
    Stat: 128 {
        dev: u64, ino: u64, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u64, pad1: u64, size: i64, blksize: i32, pad2: i32,
        blocks: i64, atime: i64, atime_nsec: u64, mtime: i64, mtime_nsec: u64, ctime: i64, ctime_nsec: u64, unused: [u32; 2],
    }
    /// A time stamp of `statx`.
    StatxTime: 16 { sec: i64, nsec: u32, reserved: i32, }
    /// `struct statx`.
    Statx: 256 {
        mask: u32, blksize: u32, attributes: u64, nlink: u32, uid: u32, gid: u32, mode: u16, spare0: u16, ino: u64, size: u64,
        blocks: u64, attributes_mask: u64, atime: StatxTime, btime: StatxTime, ctime: StatxTime, mtime: StatxTime,
        rdev_major: u32, rdev_minor: u32, dev_major: u32, dev_minor: u32, mnt_id: u64, dio_mem_align: u32, dio_offset_align: u32,
        spare3: [u64; 12],
    }
    /// `struct statfs`.
    Statfs: 120 {
        kind: i64, bsize: i64, blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, fsid: [i32; 2], namelen: i64,
        frsize: i64, flags: i64, spare: [i64; 4],
    }
    /// `struct timespec`.
    Timespec: 16 { sec: i64, nsec: i64, }
    /// `struct timeval`.
    Timeval: 16 { sec: i64, usec: i64, }
    /// `struct itimerval`.
    Itimerval: 32 { interval: Timeval, value: Timeval, }
    /// `struct tms`.
    Tms: 32 { utime: i64, stime: i64, cutime: i64, cstime: i64, }
    /// The kernel's `struct termios` (19 control characters).
    Termios: 36 { iflag: u32, oflag: u32, cflag: u32, lflag: u32, line: u8, cc: [u8; 19], }
    /// `struct winsize`.
    Winsize: 8 { rows: u16, columns: u16, x_pixels: u16, y_pixels: u16, }
    /// `struct sysinfo`.
    Sysinfo: 112 {
        uptime: i64, loads: [u64; 3], totalram: u64, freeram: u64, sharedram: u64, bufferram: u64, totalswap: u64, freeswap: u64,
        procs: u16, pad: u16, pad2: u32, totalhigh: u64, freehigh: u64, mem_unit: u32, pad3: u32,
    }
    /// `struct rusage`.
    Rusage: 144 {
        utime: Timeval, stime: Timeval, maxrss: i64, ixrss: i64, idrss: i64, isrss: i64, minflt: i64, majflt: i64, nswap: i64,
        inblock: i64, oublock: i64, msgsnd: i64, msgrcv: i64, nsignals: i64, nvcsw: i64, nivcsw: i64,
    }
    /// `struct rlimit64`.
    Rlimit: 16 { current: u64, maximum: u64, }
    /// `struct iovec`.
    Iovec: 16 { base: u64, length: u64, }
    /// `struct pollfd`.
    PollFd: 8 { fd: i32, events: u16, revents: u16, }
    /// `struct robust_list_head`.
    RobustListHead: 24 { list: u64, futex_offset: i64, list_op_pending: u64, }
    /// `struct flock` (64-bit).
    Flock: 32 { kind: i16, whence: i16, pad: u32, start: i64, length: i64, pid: i32, pad2: i32, }
    /// The argument of `capget`: header.
    CapHeader: 8 { version: u32, pid: i32, }
    /// The argument of `capget`: one of two words of data.
    CapData: 12 { effective: u32, permitted: u32, inheritable: u32, }
}

/// Six NUL-padded strings of 65 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Utsname {
    fields: [[u8; 65]; 6],
}

/// What `uname` tells.
#[derive(Clone, Copy, Debug)]
pub struct UtsFields<'a> {
    /// Operating system.
    pub sysname: &'a str,
    /// This machine.
    pub nodename: &'a str,
    /// Kernel release.
    pub release: &'a str,
    /// Build.
    pub version: &'a str,
    /// Architecture.
    pub machine: &'a str,
    /// NIS domain.
    pub domain: &'a str,
}

impl Utsname {
    /// The struct; a string that is too long is cut.
    #[must_use]
    pub fn new(from: &UtsFields<'_>) -> Self {
        let mut fields = [[0; 65]; 6];
        let texts = [from.sysname, from.nodename, from.release, from.version, from.machine, from.domain];
        for (field, text) in fields.iter_mut().zip(texts) {
            let length = text.len().min(64);
            field[..length].copy_from_slice(&text.as_bytes()[..length]);
        }
        Self { fields }
    }
}

impl Timespec {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { sec: (nanos / 1_000_000_000) as i64, nsec: (nanos % 1_000_000_000) as i64 }
    }

    /// Nanoseconds, saturating; `None` when negative or when the nanoseconds are out of range.
    #[must_use]
    pub const fn to_nanos(self) -> Option<u64> {
        if self.sec < 0 || self.nsec < 0 || self.nsec >= 1_000_000_000 {
            return None;
        }
        Some((self.sec as u64).saturating_mul(1_000_000_000).saturating_add(self.nsec as u64))
    }
}

impl Timeval {
    /// From nanoseconds, rounded down.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { sec: (nanos / 1_000_000_000) as i64, usec: (nanos % 1_000_000_000 / 1000) as i64 }
    }

    /// Nanoseconds, saturating; `None` when negative or out of range.
    #[must_use]
    pub const fn to_nanos(self) -> Option<u64> {
        if self.sec < 0 || self.usec < 0 || self.usec >= 1_000_000 {
            return None;
        }
        Some((self.sec as u64).saturating_mul(1_000_000_000).saturating_add(self.usec as u64 * 1000))
    }
}

/// A device number as `st_rdev` carries it (`new_encode_dev`).
#[must_use]
pub const fn device(major: u32, minor: u32) -> u64 {
    (minor & 0xff | (major & 0xfff) << 8 | (minor & !0xff) << 12) as u64
}

/// Major and minor of a device number that [`device`] made.
#[must_use]
pub const fn device_parts(number: u64) -> (u32, u32) {
    ((number >> 8) as u32 & 0xfff, (number & 0xff | number >> 12 & 0xf_ff00) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_come_apart_again() {
        for (major, minor) in [(0, 0), (8, 1), (0xfff, 0xff), (254, 0xf_ffff), (1, 0x1_0300)] {
            assert_eq!(device_parts(device(major, minor)), (major, minor));
        }
    }

    #[test]
    fn times_convert_and_reject() {
        assert_eq!(Timespec::from_nanos(1_500_000_001), Timespec { sec: 1, nsec: 500_000_001 });
        assert_eq!(Timespec { sec: 1, nsec: 5 }.to_nanos(), Some(1_000_000_005));
        assert_eq!(Timespec { sec: i64::MAX, nsec: 0 }.to_nanos(), Some(u64::MAX));
        assert_eq!(Timespec { sec: 0, nsec: 1_000_000_000 }.to_nanos(), None);
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_nanos(), None);
        assert_eq!(Timeval { sec: 2, usec: 3 }.to_nanos(), Some(2_000_003_000));
        assert_eq!(Timeval { sec: 0, usec: -1 }.to_nanos(), None);
    }

    #[test]
    fn uname_cuts_what_is_too_long() {
        let long = "x".repeat(100);
        let name = Utsname::new(&UtsFields {
            sysname: "Linux",
            nodename: &long,
            release: "",
            version: "",
            machine: "aarch64",
            domain: "",
        });
        let bytes = zerocopy::IntoBytes::as_bytes(&name);
        assert_eq!(bytes.len(), 390);
        assert_eq!(&bytes[..6], b"Linux\0");
        assert_eq!(bytes[65 + 63], b'x');
        assert_eq!(bytes[65 + 64], 0);
        assert_eq!(&bytes[260..267], b"aarch64");
    }

    #[test]
    fn device_numbers() {
        assert_eq!(device(1, 3), 0x103);
        assert_eq!(device(204, 64), 0xcc40);
    }
}
