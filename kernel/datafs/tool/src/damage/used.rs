//! A volume that is used at random has nothing wrong, wherever a cut leaves it.

use datafs::{BLOCK, Bytes, Error, Format, InodeNumber, New, ROOT, SetXattr, Step};
use proptest::prelude::*;

use crate::{Device, Failure, MemoryDevice, Mounted, check_device};

const BLOCKS: u64 = 2 + 256 + 4000;

/// One use: what, and three numbers that say of which and how much.
type Use = (u8, u16, u16, u16);

fn new(mode: u32, target: &[u8]) -> New<'_> {
    New { mode, user: 1, group: 2, device: 0, target, time: 5 }
}

fn name_of(number: u16) -> Vec<u8> {
    format!("{:x<1$}", number % 24, usize::from(number % 24) * 10 + 2).into_bytes()
}

struct User {
    mounted: Mounted<MemoryDevice>,
    directories: Vec<InodeNumber>,
    held: Vec<InodeNumber>,
}

impl User {
    fn new() -> Self {
        let format = Format {
            blocks: BLOCKS,
            uuid: [5; 16],
            label: b"",
            hash_key: [9; 16],
            created: 1,
            log_blocks: Some(256),
            inodes_per_group: Some(256),
        };
        let mut mounted = Mounted::format(MemoryDevice::new(BLOCKS), &format, &new(0o755, b"")).unwrap();
        let mut directories = vec![ROOT];
        for (name, id) in [("a", 0), ("b", 3), ("c", 70)] {
            let inode = mounted.run(|v| v.create(ROOT, name.as_bytes(), &new(0o040_755, b""))).unwrap();
            mounted.run(|v| v.set_quota_id(inode, id, 0, 6)).unwrap();
            directories.push(inode);
        }
        mounted.run(|v| v.set_quota(3, 900, 50)).unwrap();
        Self { mounted, directories, held: Vec::new() }
    }

    /// Does something; that it cannot be done for want of a name or of space is no matter.
    fn act(&mut self, (what, which, much, place): Use) {
        let result = self.try_act(what % 14, which, much, place);
        if let Err(Failure::Volume(Error::Damaged(damage))) = result {
            panic!("{damage}");
        }
        assert!(!matches!(result, Err(Failure::Device(_) | Failure::Open(_))), "{result:?}");
    }

    fn try_act(&mut self, what: u8, which: u16, much: u16, place: u16) -> Result<(), Failure> {
        let directory = self.directories[usize::from(which) % self.directories.len()];
        let other = self.directories[usize::from(place) % self.directories.len()];
        let m = &mut self.mounted;
        let name = name_of(which / 4);
        let found = m.run(|v| v.lookup(directory, &name))?.map(|found| found.inode);
        let offset = u64::from(place) * 1000;
        match (what, found) {
            (0 | 1, None) => drop(m.run(|v| v.create(directory, &name, &new(0o100_644, b"")))?),
            (2, None) => {
                let target = vec![b'y'; 1 + usize::from(much) % 4095];
                m.run(|v| v.create(directory, &name, &new(0o120_777, &target)))?;
            }
            (3, None) if self.directories.len() < 20 => {
                self.directories.push(m.run(|v| v.create(directory, &name, &new(0o040_755, b"")))?);
            }
            (0 | 4 | 5, Some(inode)) => m.write(inode, offset, &vec![7; usize::from(much) % (20 * BLOCK)])?,
            (1, Some(inode)) => m.truncate(inode, offset, 7)?,
            (6, Some(inode)) => {
                while m.run(|v| v.punch(inode, u32::from(place / 4), u32::from(much % 64) + 1))?
                    == datafs::Progress::More
                {}
            }
            (7, Some(inode)) => {
                let mut allocation = m.run(|v| v.allocate(inode, u32::from(place / 4), u32::from(much % 64) + 1))?;
                let result = m.run(|v| v.attach_unwritten(&mut allocation, 0, 0));
                m.volume.cancel(allocation);
                result?;
            }
            (8, Some(inode)) => {
                let value = vec![1; usize::from(much) % 2000];
                m.run(|v| v.set_xattr(inode, &[b'a' + (place % 4) as u8], &value, SetXattr::Any, 8))?;
            }
            (9, Some(inode)) => m.run(|v| v.link(inode, other, &name_of(much), 8))?,
            (10, Some(inode)) if !self.directories.contains(&inode) => m.remove(directory, &name, 9)?,
            (11, Some(inode)) if !self.directories.contains(&inode) => {
                m.rename((directory, &name), (other, &name_of(much)), 9)?;
            }
            (12, _) if self.held.len() < 4 => {
                let inode = m.run(|v| v.create_unnamed(directory, &new(0o100_600, b"")))?;
                self.held.push(inode);
                m.write(inode, 0, &vec![3; usize::from(much) % (9 * BLOCK)])?;
            }
            (13, _) if !self.held.is_empty() => {
                let inode = self.held.swap_remove(usize::from(which) % self.held.len());
                m.reclaim(inode)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn assert_clean(device: &MemoryDevice, when: &str) {
        let report = check_device(device);
        let words: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(report.is_clean(), "{when}\n{}", words.join("\n"));
    }

    /// Checkpoints; a cut after some of the writes, one of them torn, leaves nothing wrong either.
    fn checkpoint(&mut self, cut: usize) {
        let plan = loop {
            match self.mounted.volume.checkpoint() {
                Ok(plan) => break plan,
                Err(datafs::Stop::Missing(missing)) => {
                    let mut bytes = [0; BLOCK];
                    self.mounted.device.read(missing.block, &mut bytes).unwrap();
                    self.mounted.volume.supply(missing, &bytes).unwrap();
                }
                Err(stop) => panic!("{stop:?}"),
            }
        };
        let Some(plan) = plan else { return };
        let mut device = self.mounted.device.clone();
        let writes: Vec<(u64, &Bytes)> = plan.steps().iter().flat_map(of).collect();
        let cut = cut % writes.len();
        writes[..cut].iter().for_each(|(block, bytes)| device.write(*block, bytes).unwrap());
        let (block, bytes) = writes[cut];
        let mut torn = [0; BLOCK];
        device.read(block, &mut torn).unwrap();
        torn[..512 * (cut % 8)].copy_from_slice(&bytes[..512 * (cut % 8)]);
        device.write(block, &torn).unwrap();
        // A torn copy of the superblock is the only thing that is told of a cut.
        let report = check_device(&device);
        let is_told = |finding: &&datafs::check::Finding| finding.fault != datafs::check::Fault::SuperblockCopy;
        let words: Vec<String> = report.findings.iter().filter(is_told).map(ToString::to_string).collect();
        assert!(words.is_empty(), "cut at write {cut} of {}\n{}", writes.len(), words.join("\n"));
        self.mounted.execute(plan).unwrap();
    }
}

fn of(step: &Step) -> Vec<(u64, &Bytes)> {
    match step {
        Step::Write(writes) => writes.iter().map(|(block, bytes)| (*block, &**bytes)).collect(),
        Step::Flush => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_used_volume_is_clean(uses in prop::collection::vec(any::<Use>(), 1..400), cut in any::<u16>()) {
        let mut user = User::new();
        for (at, &one) in uses.iter().enumerate() {
            user.act(one);
            match at % 97 {
                31 => {
                    user.mounted.commit().unwrap();
                    User::assert_clean(&user.mounted.device, "after a commit");
                }
                96 => user.checkpoint(usize::from(cut)),
                _ => {}
            }
        }
        user.mounted.commit().unwrap();
        User::assert_clean(&user.mounted.device, "after the last commit");
        user.checkpoint(usize::from(cut / 3));
        User::assert_clean(&user.mounted.device, "after a checkpoint");
        let again = Mounted::open(user.mounted.device).unwrap();
        User::assert_clean(&again.device, "opened again");
    }
}
