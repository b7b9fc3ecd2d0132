//! `/dev/watchdog`: one opener, who feeds it (Linux, Documentation/watchdog/watchdog-api.rst).

use alloc::sync::Arc;

use linux::Errno;
use linux::flags::{
    POLLOUT, POLLWRNORM, WDIOC_GETBOOTSTATUS, WDIOC_GETSTATUS, WDIOC_GETSUPPORT, WDIOC_GETTIMELEFT, WDIOC_GETTIMEOUT,
    WDIOC_KEEPALIVE, WDIOC_SETOPTIONS, WDIOC_SETTIMEOUT, WDIOF_CARDRESET, WDIOF_KEEPALIVEPING, WDIOF_MAGICCLOSE,
    WDIOF_SETTIMEOUT, WDIOS_DISABLECARD, WDIOS_ENABLECARD,
};
use vfs::{Sink, Source};

use super::Kernel;
use ::watchdog::node;

use crate::drivers::watchdog;
use crate::mm::user;
use crate::process::current;

/// Bytes that are looked at at once for the letter that announces a close.
const CHUNK: usize = 64;
const IDENTITY_LENGTH: usize = 32;
/// `struct watchdog_info`: options, firmware version, name.
const INFO_LENGTH: usize = 8 + IDENTITY_LENGTH;

/// Opens it, which arms it.
///
/// # Errors
/// `EPERM` for all but root; `EBUSY` while somebody has it open.
pub fn open() -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
    if !current().process.credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    watchdog::change(node::Node::open).ok_or(Errno::EBUSY)?;
    Ok(Arc::new(Open))
}

struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        watchdog::change(|node| Some(node.close()));
    }
}

impl vfs::File<Kernel> for Open {
    fn read(&self, _offset: u64, _to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _flags: u32) -> Result<u64, Errno> {
        let mut first = true;
        while from.left() > 0 {
            let mut bytes = [0; CHUNK];
            let count = from.take(&mut bytes)?;
            watchdog::change(|node| Some(node.write(&bytes[..count], first)));
            first = false;
        }
        Ok(offset)
    }

    fn poll<'a>(&'a self, _watch: Option<&mut dyn vfs::Watch<'a, Kernel>>) -> u16 {
        POLLOUT | POLLWRNORM
    }

    fn ioctl(&self, request: u32, argument: u64, _flags: u32) -> Result<u64, Errno> {
        let facts = watchdog::facts();
        match request {
            WDIOC_GETSUPPORT => user::copy_out(argument, &info(facts.name))?,
            WDIOC_GETSTATUS => user::write(argument, &0_u32)?,
            WDIOC_GETBOOTSTATUS => {
                user::write(argument, &if facts.expired_before { WDIOF_CARDRESET } else { 0 })?;
            }
            WDIOC_SETOPTIONS => set_options(user::read(argument)?)?,
            WDIOC_KEEPALIVE => {
                watchdog::change(|_| Some(node::Do::Feed));
            }
            WDIOC_SETTIMEOUT => {
                let timeout: i32 = user::read(argument)?;
                let timeout = u32::try_from(timeout).map_err(|_| Errno::EINVAL)?;
                watchdog::change(|node| node.set_timeout(timeout)).ok_or(Errno::EINVAL)?;
                user::write(argument, &watchdog::facts().timeout)?;
            }
            WDIOC_GETTIMEOUT => user::write(argument, &facts.timeout)?,
            WDIOC_GETTIMELEFT => user::write(argument, &facts.left)?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}

fn set_options(options: u32) -> Result<(), Errno> {
    if options & (WDIOS_DISABLECARD | WDIOS_ENABLECARD) == 0 {
        return Err(Errno::EINVAL);
    }
    if options & WDIOS_DISABLECARD != 0 {
        watchdog::change(|node| Some(node.disable()));
    }
    if options & WDIOS_ENABLECARD != 0 {
        watchdog::change(|node| Some(node.enable()));
    }
    Ok(())
}

fn info(name: &str) -> [u8; INFO_LENGTH] {
    let mut bytes = [0; INFO_LENGTH];
    let options = WDIOF_SETTIMEOUT | WDIOF_MAGICCLOSE | WDIOF_KEEPALIVEPING | WDIOF_CARDRESET;
    bytes[..4].copy_from_slice(&options.to_le_bytes());
    // The last byte stays zero: it is a string of C.
    let length = name.len().min(IDENTITY_LENGTH - 1);
    bytes[8..8 + length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}
