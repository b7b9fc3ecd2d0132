//! Becoming another user.

use alloc::vec::Vec;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

/// A user with its groups; `None` is root, whom a service's parent is already.
#[derive(Clone, Debug)]
pub struct Identity(Option<(u32, Vec<u32>)>);

/// The user of this name, by /etc/passwd and /etc/group; `SRCH`: there is none.
pub fn of(user: &str) -> Result<Identity, Errno> {
    if user == "root" {
        return Ok(Identity(None));
    }
    let passwd = crate::fs::read_text("/etc/passwd", accounts::FILE_MAX)?;
    let group = crate::fs::read_text("/etc/group", accounts::FILE_MAX)?;
    let user = accounts::user(&passwd, user).ok_or(Errno::SRCH)?;
    Ok(Identity(Some((user.uid, accounts::groups_of(&user, &group)))))
}

impl Identity {
    /// This process becomes that user. Groups first: afterwards the right to change them is gone.
    pub fn take_on(&self) -> Result<(), Errno> {
        let Some((uid, groups)) = &self.0 else { return Ok(()) };
        let all: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
        set_thread_groups(&all)?;
        set_thread_gid(all[0])?;
        set_thread_uid(Uid::from_raw(*uid))
    }
}
