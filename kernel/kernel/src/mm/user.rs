//! Copies between the kernel and the current program's memory. A pointer from a program is an allegation: it becomes bytes only here.
//!
//! All of these may sleep (a page may have to be brought in): no spinlock may be held.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use linux::Errno;
use paging::PAGE_SIZE;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::PageRef;
use super::kmap;
use super::layout::USER_END;
use crate::arch::trap::Access;
use crate::arch::user;
use crate::sched;

/// The range lies in the users' half. The hardware checks the rest.
fn check(address: u64, length: usize) -> Result<u64, Errno> {
    // The top byte is the program's own (TCR_EL1.TBI0).
    let address = address & 0x00ff_ffff_ffff_ffff;
    let end = address.checked_add(length as u64).ok_or(Errno::EFAULT)?;
    debug_assert!(crate::arch::cpu::this().held_ranks.load(Ordering::Relaxed) == 0, "user copy with a spinlock held");
    if end <= USER_END { Ok(address) } else { Err(Errno::EFAULT) }
}

/// Copies from the program.
///
/// # Errors
/// `EFAULT`; part of `bytes` may have been filled.
pub fn copy_in(bytes: &mut [u8], address: u64) -> Result<(), Errno> {
    let address = check(address, bytes.len())?;
    if user::copy_in(address, bytes) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies to the program.
///
/// # Errors
/// `EFAULT`; part may have been written.
pub fn copy_out(address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let address = check(address, bytes.len())?;
    if user::copy_out(address, bytes) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Reads a value.
///
/// # Errors
/// `EFAULT`.
pub fn read<T: FromBytes + IntoBytes>(address: u64) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    copy_in(value.as_mut_bytes(), address)?;
    Ok(value)
}

/// Writes a value.
///
/// # Errors
/// `EFAULT`.
pub fn write<T: IntoBytes + Immutable>(address: u64, value: &T) -> Result<(), Errno> {
    copy_out(address, value.as_bytes())
}

/// Reads a string up to its zero, which is not in the result.
///
/// # Errors
/// `EFAULT`; `ENAMETOOLONG` when there is no zero in `length_max` bytes.
pub fn read_cstr(address: u64, length_max: usize) -> Result<Vec<u8>, Errno> {
    const STEP: usize = 128;
    let mut text = Vec::new();
    let mut piece = [0; STEP];
    while text.len() < length_max {
        let room = STEP.min(length_max - text.len());
        let from = check(address + text.len() as u64, 1)?;
        let length = user::copy_string(from, &mut piece[..room]).ok_or(Errno::EFAULT)?;
        text.extend_from_slice(&piece[..length]);
        if length < room {
            return Ok(text);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

/// Reads an aligned word at once.
///
/// # Errors
/// `EFAULT`.
pub fn read_word(address: u64) -> Result<u32, Errno> {
    let address = check(address, 4)?;
    user::load_word(address).ok_or(Errno::EFAULT)
}

/// Changes an aligned word atomically, if it is `expected`; gives what it was.
///
/// # Errors
/// `EINVAL`: not aligned. `EFAULT`.
pub fn exchange_word(address: u64, expected: u32, new: u32) -> Result<u32, Errno> {
    let address = check(address, 4)?;
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let space = sched::current().space().ok_or(Errno::EFAULT)?;
    let exchange = |page: &PageRef| {
        let word = (kmap::to_virtual(page.physical()) + address % PAGE_SIZE) as *mut u32;
        // SAFETY: an aligned word in a page of RAM that the space keeps; programs change it only as memory, so every access is as good as atomic.
        let word = unsafe { AtomicU32::from_ptr(word) };
        word.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|found| found)
    };
    space.with_page(address, Access::Write, exchange).map_err(|_| Errno::EFAULT)
}
