//! Users, groups, process groups, sessions.

use alloc::sync::Arc;
use alloc::vec;

use linux::Errno;
use linux::types::{CapData, CapHeader};
use zerocopy::{FromBytes, IntoBytes};

use super::Call;
use crate::mm::user;
use crate::process::credentials::{Credentials, GROUPS_MAX};
use crate::process::{job, table};

fn change(call: &Call<'_>, to: impl FnOnce(&Credentials) -> Result<Credentials, Errno>) -> Result<u64, Errno> {
    let mut fields = call.process.fields.lock();
    let new = Arc::new(to(&fields.credentials)?);
    let old = core::mem::replace(&mut fields.credentials, new);
    drop(fields);
    drop(old);
    Ok(0)
}

pub fn getuid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.credentials().uid))
}

pub fn geteuid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.credentials().euid))
}

pub fn getgid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.credentials().gid))
}

pub fn getegid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.credentials().egid))
}

fn write_three(call: &Call<'_>, values: [u32; 3]) -> Result<u64, Errno> {
    for (address, value) in call.arguments.into_iter().zip(values) {
        user::write(address, &value)?;
    }
    Ok(0)
}

pub fn getresuid(call: &Call<'_>) -> Result<u64, Errno> {
    let who = call.process.credentials();
    write_three(call, [who.uid, who.euid, who.suid])
}

pub fn getresgid(call: &Call<'_>) -> Result<u64, Errno> {
    let who = call.process.credentials();
    write_three(call, [who.gid, who.egid, who.sgid])
}

pub fn setuid(call: &Call<'_>) -> Result<u64, Errno> {
    change(call, |who| who.setuid(call.arguments[0] as u32))
}

pub fn setgid(call: &Call<'_>) -> Result<u64, Errno> {
    change(call, |who| who.setgid(call.arguments[0] as u32))
}

pub fn setreuid(call: &Call<'_>) -> Result<u64, Errno> {
    let [real, effective, ..] = call.arguments;
    change(call, |who| who.setreuid(real as u32, effective as u32))
}

pub fn setregid(call: &Call<'_>) -> Result<u64, Errno> {
    let [real, effective, ..] = call.arguments;
    change(call, |who| who.setregid(real as u32, effective as u32))
}

pub fn setresuid(call: &Call<'_>) -> Result<u64, Errno> {
    let [real, effective, saved, ..] = call.arguments;
    change(call, |who| who.setresuid((real as u32, effective as u32, saved as u32)))
}

pub fn setresgid(call: &Call<'_>) -> Result<u64, Errno> {
    let [real, effective, saved, ..] = call.arguments;
    change(call, |who| who.setresgid((real as u32, effective as u32, saved as u32)))
}

pub fn setfsuid(call: &Call<'_>) -> Result<u64, Errno> {
    let old = call.process.credentials().fsuid;
    change(call, |who| Ok(who.setfsuid(call.arguments[0] as u32)))?;
    Ok(u64::from(old))
}

pub fn setfsgid(call: &Call<'_>) -> Result<u64, Errno> {
    let old = call.process.credentials().fsgid;
    change(call, |who| Ok(who.setfsgid(call.arguments[0] as u32)))?;
    Ok(u64::from(old))
}

pub fn getgroups(call: &Call<'_>) -> Result<u64, Errno> {
    let [size, list, ..] = call.arguments;
    let groups = call.process.credentials().groups.clone();
    let size = usize::try_from(size as i32).map_err(|_| Errno::EINVAL)?;
    if size != 0 {
        if size < groups.len() {
            return Err(Errno::EINVAL);
        }
        user::copy_out(list, groups.as_bytes())?;
    }
    Ok(groups.len() as u64)
}

pub fn setgroups(call: &Call<'_>) -> Result<u64, Errno> {
    let [size, list, ..] = call.arguments;
    if !call.process.credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    let size = usize::try_from(size as i32).ok().filter(|size| *size <= GROUPS_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; size * 4];
    user::copy_in(&mut bytes, list)?;
    let groups: vec::Vec<u32> = bytes.chunks_exact(4).filter_map(|id| u32::read_from_bytes(id).ok()).collect();
    change(call, |who| who.setgroups(&groups))
}

pub fn setsid(call: &Call<'_>) -> Result<u64, Errno> {
    job::set_session(call.process).map(u64::from)
}

fn pid_or_own(call: &Call<'_>) -> u32 {
    match call.arguments[0] as u32 {
        0 => call.process.pid,
        pid => pid,
    }
}

pub fn getsid(call: &Call<'_>) -> Result<u64, Errno> {
    table::lock().get(pid_or_own(call)).map(|entry| u64::from(entry.session)).ok_or(Errno::ESRCH)
}

pub fn getpgid(call: &Call<'_>) -> Result<u64, Errno> {
    table::lock().get(pid_or_own(call)).map(|entry| u64::from(entry.group)).ok_or(Errno::ESRCH)
}

pub fn setpgid(call: &Call<'_>) -> Result<u64, Errno> {
    let [pid, group, ..] = call.arguments;
    let (pid, group) = (pid as i32, group as i32);
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    job::set_group(call.process, pid, group.unsigned_abs())?;
    Ok(0)
}

/// The superuser has every capability, others none (capabilities(7)).
pub fn capget(call: &Call<'_>) -> Result<u64, Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    const ALL: [u32; 2] = [u32::MAX, 0x1ff];
    let [header_address, data_address, ..] = call.arguments;
    let header: CapHeader = user::read(header_address)?;
    if header.version != VERSION_3 {
        user::write(header_address, &CapHeader { version: VERSION_3, ..header })?;
        return if data_address == 0 { Ok(0) } else { Err(Errno::EINVAL) };
    }
    let target = match header.pid {
        0 => call.process.clone(),
        pid => u32::try_from(pid).ok().and_then(table::find).ok_or(Errno::ESRCH)?,
    };
    if data_address != 0 {
        let privileged = target.credentials().is_privileged();
        let word = |bits: u32| if privileged { bits } else { 0 };
        let data = ALL.map(|bits| CapData { effective: word(bits), permitted: word(bits), inheritable: 0 });
        user::copy_out(data_address, data.as_bytes())?;
    }
    Ok(0)
}
