//! Reading the boot-control block. A copy that cannot be read is not a damaged one: it may be the one that counts.

use alloc::boxed::Box;
use alloc::string::String;

use bootctl::{Current, OFFSETS, SIZE};

/// A copy is read so often before it counts as unreadable.
pub const ATTEMPTS: usize = 3;

/// What was found of the boot-control block.
pub struct Control {
    /// Of the copies that could be read, the one that counts.
    pub current: Option<Box<Current>>,
    /// Of each copy that could not be read, why. With one of them nothing is written: neither the copy itself, nor one that would then be newer than it.
    pub unread: [Option<String>; OFFSETS.len()],
}

impl Control {
    /// Reads both copies through `read`, which is given the number of a copy.
    pub fn read(mut read: impl FnMut(usize, &mut [u8]) -> Result<(), String>) -> Self {
        let mut bytes = Box::new([[0; SIZE]; OFFSETS.len()]);
        let unread = core::array::from_fn(|copy| {
            let mut failure = None;
            for _ in 0..ATTEMPTS {
                match read(copy, &mut bytes[copy]) {
                    Ok(()) => return None,
                    Err(why) => failure = Some(why),
                }
            }
            // What a read that failed has left is nothing.
            bytes[copy].fill(0);
            failure
        });
        Self { current: Current::of([&bytes[0], &bytes[1]]).map(Box::new), unread }
    }

    /// Whether both copies are known.
    pub fn is_whole(&self) -> bool {
        self.unread.iter().all(Option::is_none)
    }
}
