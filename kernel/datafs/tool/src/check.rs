//! Checks the volume of a device.

use datafs::Bytes;
use datafs::check::{Report, Source, Unreadable, check};

use crate::device::Device;

/// A device as the check reads it.
#[derive(Debug)]
struct Blocks<'a, D>(&'a D);

impl<D: Device> Source for Blocks<'_, D> {
    fn read(&mut self, block: u64, into: &mut Bytes) -> Result<(), Unreadable> {
        self.0.read(block, into).map_err(|_| Unreadable)
    }
}

/// What is wrong with the volume of a device, which is only read.
pub fn check_device<D: Device>(device: &D) -> Report {
    check(&mut Blocks(device), device.blocks())
}
