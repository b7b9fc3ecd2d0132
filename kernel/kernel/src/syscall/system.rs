//! The system as a whole.

use linux::Errno;
use linux::flags::*;
use linux::types::{Sysinfo, UtsFields, Utsname};

use super::Call;
use crate::arch::{cpu, psci, timer};
use crate::drivers::watchdog;
use crate::event;
use crate::fs::proc::system as names;
use crate::lastboot::{self, End};
use crate::mm::{frames, user};
use crate::process::table;
use crate::{events, random, sched};

const NAME_MAX: usize = 64;
/// Random bytes made at once.
const CHUNK: usize = 256;

pub fn uname(call: &Call<'_>) -> Result<u64, Errno> {
    let fields = UtsFields {
        // The ABI is Linux's, and programs ask which one it is; the version says whose kernel this is.
        sysname: "Linux",
        nodename: &names::hostname(),
        release: names::RELEASE,
        version: &names::version_name(),
        machine: "aarch64",
        domain: "(none)",
    };
    user::write(call.arguments[0], &Utsname::new(&fields))?;
    Ok(0)
}

pub fn sethostname(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, length, ..] = call.arguments;
    if !call.process.credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= NAME_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = [0; NAME_MAX];
    user::copy_in(&mut bytes[..length], address)?;
    names::set_hostname(&bytes[..length])?;
    Ok(0)
}

pub fn sysinfo(call: &Call<'_>) -> Result<u64, Errno> {
    let processes = table::lock().iter().count();
    let info = Sysinfo {
        uptime: timer::now().as_secs() as i64,
        totalram: frames::total_bytes(),
        freeram: frames::free_bytes(),
        sharedram: names::shared_bytes(),
        procs: processes as u16,
        mem_unit: 1,
        ..Sysinfo::default()
    };
    user::write(call.arguments[0], &info)?;
    Ok(0)
}

/// `klogctl`: the kernel's log is its events.
pub fn syslog(call: &Call<'_>) -> Result<u64, Errno> {
    const READ_ALL: u32 = 3;
    const READ_CLEAR: u32 = 4;
    const SIZE_BUFFER: u32 = 10;
    let [action, address, length, ..] = call.arguments;
    match action as u32 {
        READ_ALL | READ_CLEAR => {
            let text = events::text();
            let start = text.len().saturating_sub(length as u32 as usize);
            user::copy_out(address, &text[start..])?;
            Ok((text.len() - start) as u64)
        }
        SIZE_BUFFER => Ok(events::text().len() as u64),
        0 | 1 | 5..=8 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub fn getrandom(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, length, flags, ..] = call.arguments;
    let flags = flags as u32;
    if flags & !(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) != 0
        || flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE
    {
        return Err(Errno::EINVAL);
    }
    if !random::is_seeded() && flags & GRND_INSECURE == 0 {
        if flags & GRND_NONBLOCK != 0 {
            return Err(Errno::EAGAIN);
        }
        random::wait_seeded()?;
    }
    let length = (length as usize).min(i32::MAX as usize);
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < length {
        let count = CHUNK.min(length - done);
        random::fill(&mut chunk[..count]);
        if let Err(error) = user::copy_out(address.wrapping_add(done as u64), &chunk[..count]) {
            return if done > 0 { Ok(done as u64) } else { Err(error) };
        }
        done += count;
        sched::checkpoint();
    }
    Ok(done as u64)
}

pub fn reboot(call: &Call<'_>) -> Result<u64, Errno> {
    let [magic, second, command, ..] = call.arguments;
    if !call.process.credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    let seconds = [REBOOT_MAGIC2, REBOOT_MAGIC2A, REBOOT_MAGIC2B, REBOOT_MAGIC2C];
    if magic as u32 != REBOOT_MAGIC1 || !seconds.contains(&(second as u32)) {
        return Err(Errno::EINVAL);
    }
    match command as u32 {
        REBOOT_CAD_ON | REBOOT_CAD_OFF => return Ok(0),
        REBOOT_RESTART | REBOOT_HALT | REBOOT_POWER_OFF => crate::fs::data::close_all(),
        _ => return Err(Errno::EINVAL),
    }
    match command as u32 {
        REBOOT_RESTART => {
            event!("system.reboot");
            lastboot::end(End::Restart, &"by order");
            psci::system_reset();
        }
        command => {
            // It is to stand still, and is not to be started again for that.
            watchdog::stand_down();
            sched::vigil::end();
            event!("system.halt");
            lastboot::end(End::Stop, &"by order");
            if command == REBOOT_POWER_OFF {
                psci::system_off();
            }
        }
    }
    // A halt, or firmware that did not do it: the machine stands still.
    cpu::halt()
}
