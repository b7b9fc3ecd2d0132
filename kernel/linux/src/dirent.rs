//! `getdents64` records.

/// Types of an entry (`d_type`): the file type bits of `st_mode`, shifted.
#[must_use]
pub const fn type_of_mode(mode: u32) -> u8 {
    ((mode & 0o170_000) >> 12) as u8
}

const HEADER: usize = 19;

/// Writes records one behind the other into a buffer of fixed size.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, used: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Adds one record; `next` is the position from which a later call goes on. False when it does not fit.
    #[must_use]
    pub fn push(&mut self, inode: u64, next: u64, kind: u8, name: &[u8]) -> bool {
        let length = (HEADER + name.len() + 1).next_multiple_of(8);
        let Some(record) = self.buffer.get_mut(self.used..self.used + length) else { return false };
        record.fill(0);
        record[0..8].copy_from_slice(&inode.to_le_bytes());
        record[8..16].copy_from_slice(&next.to_le_bytes());
        record[16..18].copy_from_slice(&(length as u16).to_le_bytes());
        record[18] = kind;
        record[HEADER..HEADER + name.len()].copy_from_slice(name);
        self.used += length;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn records_read_back(names in prop::collection::vec("[a-z.]{1,60}", 0..20), room in 0usize..2000) {
            let mut buffer = std::vec![0xaa; room];
            let mut writer = Writer::new(&mut buffer);
            let mut written = 0;
            for (index, name) in names.iter().enumerate() {
                if !writer.push(index as u64 + 1, index as u64 + 7, 8, name.as_bytes()) {
                    break;
                }
                written += 1;
            }
            let used = writer.used();
            prop_assert!(used <= room);
            let mut at = 0;
            let mut seen = Vec::new();
            while at < used {
                let length = usize::from(u16::from_le_bytes([buffer[at + 16], buffer[at + 17]]));
                prop_assert!(length % 8 == 0 && at + length <= used);
                let tail = &buffer[at + HEADER..at + length];
                let end = tail.iter().position(|&b| b == 0).unwrap();
                seen.push(std::string::String::from_utf8(tail[..end].to_vec()).unwrap());
                at += length;
            }
            prop_assert_eq!(&seen[..], &names[..written]);
        }
    }
}
