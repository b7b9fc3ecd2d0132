//! `futex`.

use linux::Errno;
use linux::flags::*;
use linux::types::Timespec;

use super::Call;
use crate::mm::user;
use crate::process::{futex, time};

pub fn futex(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, operation, value, timeout, second, third] = call.arguments;
    let operation = operation as u32;
    let private = operation & FUTEX_PRIVATE_FLAG != 0;
    let count = value as u32 as usize;
    match operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) {
        command @ (FUTEX_WAIT | FUTEX_WAIT_BITSET) => {
            let bits = if command == FUTEX_WAIT { futex::ANY } else { third as u32 };
            let deadline = if timeout == 0 {
                None
            } else {
                let limit: Timespec = user::read(timeout)?;
                let clock = if operation & FUTEX_CLOCK_REALTIME != 0 { CLOCK_REALTIME } else { CLOCK_MONOTONIC };
                // The plain wait's limit is a span, the other's a point in time (futex(2)).
                Some(if command == FUTEX_WAIT { time::after(limit)? } else { time::deadline(clock, limit)? })
            };
            futex::wait(address, value as u32, bits, private, deadline).map(|()| 0)
        }
        FUTEX_WAKE => futex::wake(address, count, futex::ANY, private),
        FUTEX_WAKE_BITSET => futex::wake(address, count, third as u32, private),
        FUTEX_REQUEUE => futex::requeue(address, second, (count, timeout as u32 as usize), private, None),
        FUTEX_CMP_REQUEUE => {
            futex::requeue(address, second, (count, timeout as u32 as usize), private, Some(third as u32))
        }
        _ => Err(Errno::ENOSYS),
    }
}
