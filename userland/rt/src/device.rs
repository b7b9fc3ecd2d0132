//! What block devices are asked for beyond reading and writing.

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{NoArg, ioctl, opcode};

/// Nothing of the device is kept in memory any more: what is read next comes from the device (BLKFLSBUF, Linux's include/uapi/linux/fs.h).
pub fn forget(device: impl AsFd) -> Result<()> {
    // SAFETY: the request has no argument, and changes no memory of this process.
    unsafe { ioctl(device, NoArg::<{ opcode::none(0x12, 97) }>::new()) }
}

/// The second loader file of /dev/loader becomes the one that the firmware starts (docs/formats/bootctl.md): a request of this system's own kernel.
pub fn swap_loaders(device: impl AsFd) -> Result<()> {
    // SAFETY: the request has no argument, and changes no memory of this process.
    unsafe { ioctl(device, NoArg::<{ opcode::none(0xe5, 1) }>::new()) }
}
