//! Memory in which a boot leaves something for the next: at the same place each time, kept out of everybody's use, and not changed here.

use lastboot::AREA;

use crate::memory::Pages;

/// Where it may lie: far above what firmwares use from the bottom of RAM, below what they use from its top; RAM of the machines that we run on begins at
/// 1 GiB (QEMU's `virt`, and what is rented). On others it is wherever one of these is free, or nowhere.
const PLACES: [u64; 6] = [0x4c00_0000, 0x5000_0000, 0x6000_0000, 0x8000_0000, 0x1_0000_0000, 0x80_0000_0000];

/// The place that a boot has used, or else the first that is free. `None`: there is none, and nothing is left for the next boot.
pub fn area() -> Option<Pages> {
    // Pages that are not chosen are given back when they are dropped.
    let mut free: alloc::vec::Vec<Pages> = PLACES.iter().filter_map(|place| Pages::take(*place, AREA)).collect();
    let used = free.iter().position(|pages| lastboot::is_used(pages.as_ref())).unwrap_or(0);
    (used < free.len()).then(|| free.swap_remove(used))
}
