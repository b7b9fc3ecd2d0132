//! Futexes: sleeping on a word of memory (futex(2)).
//!
//! A word is known by its address space and address, or, in shared memory, by its physical page. Waiters stand in buckets; a
//! wait compares the word with the bucket locked, so a wake between comparing and sleeping is not lost. Two buckets are locked one after
//! the other in the order of their index.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use linux::Errno;
use linux::flags::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use linux::types::RobustListHead;

use paging::PAGE_SIZE;
use vmmap::Area;

use super::current;
use super::task::Task;
use crate::arch::trap::Access;
use crate::mm::{AddressSpace, Backing, PageRef, Sharing, user};
use crate::sched::{WaitError, WaitQueue};
use crate::sync::{Mutex, mutex};

/// What identifies a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    space: u64,
    address: u64,
}

struct Waiter {
    queue: WaitQueue,
    woken: AtomicBool,
}

struct Place {
    key: Key,
    bits: u32,
    waiter: Arc<Waiter>,
}

const BUCKETS: usize = 64;
/// Robust futexes of one thread, at most (ROBUST_LIST_LIMIT).
const ROBUST_MAX: usize = 2048;

static TABLE: [Mutex<Vec<Place>>; BUCKETS] = [const { mutex(Vec::new()) }; BUCKETS];

/// Matches every waiter.
pub const ANY: u32 = u32::MAX;

fn bucket(key: &Key) -> usize {
    // Fibonacci hashing of what differs between words.
    let mixed = (key.address >> 2 ^ key.space << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize
}

/// The key of the word at `address` in the caller's memory.
fn key_of(address: u64, private: bool) -> Result<Key, Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let space = current().process.space()?;
    if !private && is_shared(&space, address) {
        let physical = |page: &PageRef| page.physical() + address % PAGE_SIZE;
        let word = space.with_page(address, Access::Read, physical).map_err(|_| Errno::EFAULT)?;
        return Ok(Key { space: 0, address: word });
    }
    Ok(Key { space: Arc::as_ptr(&space) as *const () as u64, address })
}

fn is_shared(space: &AddressSpace, address: u64) -> bool {
    let is_there = |area: &Area<Backing>| area.range().contains(&address);
    let area = space.areas().into_iter().find(is_there);
    area.is_some_and(|area| matches!(area.backing, Backing::Object { sharing: Sharing::Shared, .. }))
}

/// Sleeps until woken, if the word still has `expected`.
pub fn wait(address: u64, expected: u32, bits: u32, private: bool, deadline: Option<Duration>) -> Result<(), Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key_of(address, private)?;
    let waiter = Arc::new(Waiter { queue: WaitQueue::new(), woken: AtomicBool::new(false) });
    {
        let mut places = TABLE[bucket(&key)].lock();
        let value = user::read_word(address)?;
        if value != expected {
            return Err(Errno::EAGAIN);
        }
        places.push(Place { key, bits, waiter: waiter.clone() });
    }
    let woken = || waiter.woken.load(Ordering::SeqCst).then_some(());
    let Err(error) = waiter.queue.wait_until(woken, deadline, true) else { return Ok(()) };
    // It may have been moved to another word meanwhile, so every bucket is looked at; and woken just now.
    for bucket in &TABLE {
        bucket.lock().retain(|place| !Arc::ptr_eq(&place.waiter, &waiter));
    }
    if waiter.woken.load(Ordering::SeqCst) {
        return Ok(());
    }
    Err(match error {
        WaitError::TimedOut => Errno::ETIMEDOUT,
        // With a time limit the call is not repeated, for the limit would start anew (Linux: restart block; absolute ones are).
        WaitError::Interrupted => Errno::ERESTARTSYS,
    })
}

fn wake_in(places: &mut Vec<Place>, key: &Key, bits: u32, count: usize) -> usize {
    let mut woken = 0;
    places.retain(|place| {
        if woken == count || place.key != *key || place.bits & bits == 0 {
            return true;
        }
        place.waiter.woken.store(true, Ordering::SeqCst);
        place.waiter.queue.wake_one();
        woken += 1;
        false
    });
    woken
}

/// Wakes up to `count` sleepers whose bits meet `bits`.
pub fn wake(address: u64, count: usize, bits: u32, private: bool) -> Result<u64, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key_of(address, private)?;
    Ok(wake_in(&mut TABLE[bucket(&key)].lock(), &key, bits, count) as u64)
}

/// Wakes one sleeper of a word of which it is not known whether it is shared.
pub fn wake_address(address: u64) {
    let _ = wake(address, 1, ANY, false);
}

/// Wakes some sleepers of one word and moves others to a second, if the first still has `expected` (when one is given).
pub fn requeue(
    from: u64,
    to: u64,
    (wake_count, move_count): (usize, usize),
    private: bool,
    expected: Option<u32>,
) -> Result<u64, Errno> {
    let (source, target) = (key_of(from, private)?, key_of(to, private)?);
    let (first, second) = (bucket(&source), bucket(&target));
    let mut low = TABLE[first.min(second)].lock();
    let mut high = if first == second { None } else { Some(TABLE[first.max(second)].lock()) };
    if let Some(expected) = expected {
        let value = user::read_word(from)?;
        if value != expected {
            return Err(Errno::EAGAIN);
        }
    }
    let places: &mut Vec<Place> =
        if first <= second { &mut low } else { high.as_deref_mut().unwrap_or_else(|| unreachable!()) };
    let woken = wake_in(places, &source, ANY, wake_count);
    let mut moved = Vec::new();
    let mut index = 0;
    while index < places.len() && moved.len() < move_count {
        if places[index].key == source {
            let mut place = places.remove(index);
            place.key = target;
            moved.push(place);
        } else {
            index += 1;
        }
    }
    let count = moved.len();
    match (first.cmp(&second), &mut high) {
        (core::cmp::Ordering::Less, Some(high)) => high.append(&mut moved),
        _ => low.append(&mut moved),
    }
    Ok((woken + count) as u64)
}

/// The thread ends: those who wait for a robust futex that it holds are told that its owner died (get_robust_list(2)).
pub fn leave_robust_list(task: &Task) {
    let head_address = task.robust_list.swap(0, Ordering::Relaxed);
    if head_address == 0 {
        return;
    }
    let Ok(head) = user::read::<RobustListHead>(head_address) else { return };
    let futex_of = |entry: u64| (entry & !1).wrapping_add_signed(head.futex_offset);
    let mut entry = head.list;
    for _ in 0..ROBUST_MAX {
        if entry & !1 == head_address {
            break;
        }
        // The next is read first: waking may free the entry.
        let next = user::read::<u64>(entry & !1);
        if entry != head.list_op_pending {
            owner_died(task, futex_of(entry));
        }
        match next {
            Ok(next) => entry = next,
            Err(_) => break,
        }
    }
    if head.list_op_pending != 0 {
        owner_died(task, futex_of(head.list_op_pending));
    }
}

fn owner_died(task: &Task, address: u64) {
    let died = |value: u32| (value & FUTEX_TID_MASK == task.tid).then_some(value & FUTEX_WAITERS | FUTEX_OWNER_DIED);
    let Ok(mut seen) = user::read_word(address) else { return };
    while let Some(new) = died(seen) {
        match user::exchange_word(address, seen, new) {
            Ok(found) if found == seen => {
                if seen & FUTEX_WAITERS != 0 {
                    wake_address(address);
                }
                return;
            }
            Ok(found) => seen = found,
            Err(_) => return,
        }
    }
}
