//! Volumes of datafs that were tampered with: the input says which bytes of a good one change, and what is done with it then. Logs of a disk's writes.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::LazyLock;

use datafs::check::FINDINGS_MAX;
use datafs::layout::geometry::Geometry;
use datafs::layout::inode::{SIZE, is_blank, seal as seal_inode};
use datafs::layout::{Kind, Seed, crc32c, seal};
use datafs::{BLOCK, Bytes, Error, Format, InodeNumber, New, OpenError, Progress, ROOT, SetXattr, Stop, Volume};
use datatool::mounted::Result;
use datatool::sweep::record::Event;
use datatool::sweep::writelog;
use datatool::{Device, Failure, MemoryDevice, Mounted, check_device};

const GEOMETRY: Geometry = Geometry { log_blocks: 256, inodes_per_group: 64 };
const BLOCKS: u64 = 2 + 256 + 1500;
const UUID: [u8; 16] = [7; 16];
/// What comes behind so many bytes of the input is left out.
const INPUT_MAX: usize = 1024;
/// Steps of what must come to an end.
const STEPS_MAX: u64 = 20_000;

/// A good volume, and its blocks of metadata that are not zero.
struct Base {
    device: MemoryDevice,
    blocks: Vec<u64>,
}

/// All of it home; with records in the log; with a checkpoint that was cut in the middle of its writes.
static BASES: LazyLock<[Base; 3]> = LazyLock::new(|| {
    let mut mounted = populated();
    let home = mounted.device.clone();
    for name in ["x", "y"] {
        let inode = mounted.run(|v| v.create(ROOT, name.as_bytes(), &new(0o100_600))).expect("there is room");
        mounted.write(inode, 0, &[1; 3 * BLOCK]).expect("there is room");
        mounted.commit().expect("the device is good");
    }
    let log = mounted.device.clone();
    let plan = mounted.volume.checkpoint().ok().flatten().expect("there is something to write home");
    let mut cut = log.clone();
    let writes = plan.steps().iter().filter_map(|step| match step {
        datafs::Step::Write(writes) => Some(writes),
        datafs::Step::Flush => None,
    });
    let mut left = 6;
    for (block, bytes) in writes.flatten() {
        if left > 0 {
            cut.write(*block, bytes).expect("the device is good");
            left -= 1;
        }
    }
    [home, log, cut].map(|device| {
        let mut bytes = [0; BLOCK];
        let blocks = (0..BLOCKS).filter(|&block| {
            device.read(block, &mut bytes).expect("the device is good");
            let is_metadata = block < GEOMETRY.group_start(0) || GEOMETRY.first_inode(block).is_some();
            (is_metadata || Kind::of(&bytes).is_some()) && bytes.iter().any(|&byte| byte != 0)
        });
        Base { blocks: blocks.collect(), device: device.clone() }
    })
});

fn new(mode: u32) -> New<'static> {
    New { mode, user: 1, group: 2, device: 0, target: b"", time: 5 }
}

fn populated() -> Mounted<MemoryDevice> {
    populate().expect("everything fits")
}

fn populate() -> Result<Mounted<MemoryDevice>> {
    let format = Format {
        blocks: BLOCKS,
        uuid: UUID,
        label: b"fuzz",
        hash_key: [3; 16],
        created: 1,
        log_blocks: Some(GEOMETRY.log_blocks),
        inodes_per_group: Some(GEOMETRY.inodes_per_group),
    };
    let mut m = Mounted::format(MemoryDevice::new(BLOCKS), &format, &new(0o755))?;
    let sub = m.run(|v| v.create(ROOT, b"sub", &new(0o040_755)))?;
    m.run(|v| v.set_quota_id(sub, 5, 0, 6))?;
    let inner = m.run(|v| v.create(sub, b"inner", &new(0o040_755)))?;
    for name in ["a", "b", "c"] {
        let file = m.run(|v| v.create(inner, name.as_bytes(), &new(0o100_644)))?;
        m.write(file, 0, &[2; 5 * BLOCK])?;
        m.run(|v| v.set_xattr(file, b"user.name", b"value", SetXattr::Any, 6))?;
    }
    let big = m.run(|v| v.create(ROOT, b"big", &new(0o100_644)))?;
    for at in 0..300 {
        m.write(big, at * 2 * BLOCK as u64, b"piece")?;
    }
    let mut allocation = m.run(|v| v.allocate(big, 700, 20))?;
    m.run(|v| v.attach_unwritten(&mut allocation, 0, 0))?;
    m.run(|v| v.link(big, ROOT, b"again", 6))?;
    for count in 0..220 {
        m.run(|v| v.link(big, ROOT, format!("{count:0>200}").as_bytes(), 6))?;
    }
    m.run(|v| v.create(ROOT, b"short", &New { target: b"sub", ..new(0o120_777) }))?;
    m.run(|v| v.create(ROOT, b"long", &New { target: &[b'x'; 4095], ..new(0o120_777) }))?;
    for _ in 0..2 {
        let inode = m.run(|v| v.create_unnamed(ROOT, &new(0o100_600)))?;
        m.write(inode, 0, b"held")?;
    }
    m.checkpoint()?;
    Ok(m)
}

/// A base with changes.
struct Tampered {
    base: &'static Base,
    changed: HashMap<u64, Box<Bytes>>,
}

impl Device for Tampered {
    fn blocks(&self) -> u64 {
        BLOCKS
    }

    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()> {
        match self.changed.get(&block) {
            Some(bytes) => {
                into.copy_from_slice(&bytes[..]);
                Ok(())
            }
            None => self.base.device.read(block, into),
        }
    }

    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()> {
        assert!(block < BLOCKS, "a write behind the end");
        self.changed.insert(block, Box::new(*bytes));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tampered {
    /// Changes bytes; makes checksums right again when asked.
    fn edit(&mut self, edit: &[u8; 6], bytes: &[u8]) {
        let [kind, low, high, at_low, at_high, _] = *edit;
        let which = usize::from(u16::from_le_bytes([low, high]));
        let block = self.base.blocks[which % self.base.blocks.len()];
        let mut contents = [0; BLOCK];
        let _ = self.read(block, &mut contents);
        let at = usize::from(u16::from_le_bytes([at_low, at_high]) % BLOCK as u16);
        for (into, &byte) in contents[at..].iter_mut().zip(bytes) {
            *into = if kind & 1 == 0 { byte } else { *into ^ byte };
        }
        if kind & 2 == 0 {
            self.seal(block, &mut contents);
        }
        self.changed.insert(block, Box::new(contents));
    }

    fn seal(&self, block: u64, bytes: &mut Bytes) {
        let seed = Seed::new(&UUID);
        if block < 2 {
            let sum = crc32c(&bytes[12..]);
            bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        } else if block < GEOMETRY.groups_start() {
            self.seal_record(block, bytes, &seed);
        } else if GEOMETRY.first_inode(block).is_some() {
            bytes.chunks_exact_mut(SIZE).filter(|inode| !is_blank(inode)).for_each(|inode| seal_inode(inode, &seed));
        } else {
            seal(bytes, &seed);
        }
    }

    /// A record that begins in a block.
    fn seal_record(&self, block: u64, bytes: &mut Bytes, seed: &Seed) {
        let mut whole = bytes.to_vec();
        let length = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]) as usize;
        if !(8..=16 * BLOCK).contains(&length) {
            return;
        }
        let mut next = [0; BLOCK];
        for further in 1..length.div_ceil(BLOCK) as u64 {
            let _ = self.read(block + further, &mut next);
            whole.extend_from_slice(&next);
        }
        let sum = seed.of(&whole[8..length]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Which base, then changes ({how, which block u16, offset u16, count} and the bytes), then, behind a `how` of 0x80 and more, what is done.
///
/// A volume in which the check finds nothing is opened, nothing in it is called damaged, and nothing is wrong when all was done. Any other is refused, or used as
/// far as it goes; but nothing panics, and everything comes to an end.
pub fn datafs(data: &[u8]) {
    let Some((&base, mut data)) = data[..data.len().min(INPUT_MAX)].split_first() else { return };
    let base = &BASES[usize::from(base) % BASES.len()];
    let mut device = Tampered { base, changed: HashMap::new() };
    while let Some((edit, rest)) = data.split_first_chunk::<6>() {
        data = rest;
        if edit[0] & 0x80 != 0 {
            break;
        }
        let (bytes, rest) = data.split_at(data.len().min(usize::from(edit[5] % 33)));
        device.edit(edit, bytes);
        data = rest;
    }
    let report = check_device(&device);
    assert!(report.findings.len() <= FINDINGS_MAX);
    let is_clean = report.is_clean();
    let mut user = match Mounted::open(device) {
        Ok(mounted) => User { mounted, is_clean },
        Err(error) => {
            assert!(!is_clean, "what is clean cannot be opened: {error}");
            assert!(!matches!(error, Failure::Open(OpenError::NoMemory)));
            return;
        }
    };
    user.walk();
    for step in data.chunks_exact(6) {
        let result = user.act(step);
        user.judge(result);
    }
    user.walk();
    let result = user.mounted.checkpoint();
    if user.judge(result).is_none() {
        return;
    }
    if is_clean && !user.mounted.volume.is_read_only() {
        let report = check_device(&user.mounted.device);
        let words: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(report.is_clean(), "clean before\n{}", words.join("\n"));
    }
    let again = Mounted::open(user.mounted.device).map(|_| ());
    assert!(!matches!(again, Err(Failure::Open(_))), "what was opened once is opened again: {again:?}");
}

struct User {
    mounted: Mounted<Tampered>,
    is_clean: bool,
}

impl User {
    fn judge<T>(&self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Failure::Volume(Error::Damaged(damage))) => {
                assert!(!self.is_clean, "the check found nothing, and there is damage: {damage}");
                None
            }
            Err(Failure::Volume(_)) => None,
            Err(error) => {
                assert!(!self.is_clean, "{error}");
                None
            }
        }
    }

    fn try_run<T>(&mut self, operation: impl FnMut(&mut Volume) -> std::result::Result<T, Stop>) -> Option<T> {
        let result = self.mounted.run(operation);
        self.judge(result)
    }

    /// Looks at everything.
    fn walk(&mut self) {
        for inode in 1..=GEOMETRY.inodes_per_group + 1 {
            let Some(attributes) = self.try_run(|v| v.attributes(inode)) else { continue };
            self.try_run(|v| v.xattr_names(inode));
            self.try_run(|v| v.quota(attributes.quota));
            match attributes.mode & 0o170_000 {
                0o040_000 => self.walk_names(inode),
                0o100_000 => self.walk_extents(inode),
                0o120_000 => drop(self.try_run(|v| v.target(inode))),
                _ => {}
            }
        }
    }

    fn walk_names(&mut self, inode: InodeNumber) {
        let (mut at, mut steps) = (0, 0);
        let mut names = BTreeSet::new();
        loop {
            let next = self.try_run(|v| {
                v.entries(inode, at, &mut |entry| {
                    assert!(entry.next > at && !entry.name.is_empty());
                    names.insert(entry.name.to_vec());
                    true
                })
            });
            let Some(Some(next)) = next else { break };
            assert!(next > at, "a directory's positions grow");
            at = next;
            steps += 1;
            assert!(steps < STEPS_MAX);
        }
        for name in names {
            let found = self.try_run(|v| v.lookup(inode, &name));
            assert!(!self.is_clean || matches!(found, Some(Some(_))), "a listed name is found");
        }
    }

    fn walk_extents(&mut self, inode: InodeNumber) {
        let mut at = 0;
        for _ in 0..64 {
            let Some(extent) = self.try_run(|v| v.extent(inode, at, 1 << 20)) else { break };
            assert!(extent.logical == at && extent.count > 0 && extent.count <= 1 << 20);
            at += extent.count;
        }
        self.try_run(|v| v.extent(inode, u32::MAX - 1, 1));
        let mut bytes = [0; 100];
        let _ = self.mounted.read(inode, 4000, &mut bytes);
    }

    /// What can be done with a volume.
    fn act(&mut self, step: &[u8]) -> Result<()> {
        let (inode, other) = (1 + u32::from(step[1] % 40), 1 + u32::from(step[2] % 40));
        let (number, name) = (u32::from(u16::from_le_bytes([step[3], step[4]])), [b'a' + step[5] % 8]);
        let m = &mut self.mounted;
        match step[0] % 16 {
            0 => drop(m.run(|v| v.create(inode, &name, &new(0o100_644)))?),
            1 => drop(m.run(|v| v.create(inode, &name, &new(0o040_755)))?),
            2 => m.remove(inode, &name, 9)?,
            // that a directory does not come into itself is the caller's business
            3 if m.run(|v| v.attributes(inode))?.mode & 0o170_000 != 0o040_000 => {
                m.run(|v| v.link(inode, other, &name, 9))?;
            }
            4 => m.write(inode, u64::from(number) * 100, &[4; 5000])?,
            5 => m.truncate(inode, u64::from(number) * 100, 9)?,
            6 => while m.run(|v| v.punch(inode, number % 128, 1 + u32::from(step[2])))? == Progress::More {},
            7 => m.run(|v| v.set_xattr(inode, &name, &vec![1; number as usize % 3000], SetXattr::Any, 9))?,
            8 => m.run(|v| v.remove_xattr(inode, &name, 9))?,
            9 => m.run(|v| v.set_quota_id(inode, number % 200, 0, 9))?,
            10 => {
                let mut allocation = m.run(|v| v.allocate(inode, number % 200, 1 + u32::from(step[2])))?;
                let result = m.run(|v| v.attach_unwritten(&mut allocation, 0, 0));
                m.volume.cancel(allocation);
                result?;
            }
            11 => drop(m.run(|v| v.create_unnamed(inode, &new(0o100_600)))?),
            12 => m.reclaim(inode)?,
            13 => m.commit()?,
            14 => m.checkpoint()?,
            _ => self.rename(inode, other, &name, &[b'a' + step[3] % 8])?,
        }
        Ok(())
    }

    /// Moves what is no directory.
    fn rename(&mut self, from: InodeNumber, to: InodeNumber, name: &[u8], new_name: &[u8]) -> Result<()> {
        let found = self.mounted.run(|v| v.lookup(from, name))?;
        if found.is_some_and(|found| found.kind != 0o040_000) {
            self.mounted.rename((from, name), (to, new_name), 9)?;
        }
        Ok(())
    }
}

/// A log of writes: what it gives of a disk is what it gives of the disk's two halves, one after the other.
pub fn writelog(data: &[u8]) {
    const HALF: u64 = 8;
    let parts = [(0, 2 * HALF), (0, HALF), (HALF, HALF)];
    let logs = parts.map(|(first, blocks)| writelog::events(data, first * BLOCK as u64, blocks));
    let [Ok(whole), Ok(low), Ok(high)] = logs else {
        assert!(parts.iter().all(|(first, blocks)| writelog::events(data, first * BLOCK as u64, *blocks).is_err()));
        return;
    };
    let writes = |log: &writelog::Log, first: u64| -> Vec<(u64, Vec<u8>, u8)> {
        let write = |event: &Event| match event {
            Event::Write { block, bytes, sectors } => Some((first + block, bytes.to_vec(), *sectors)),
            Event::Flush => None,
        };
        log.events.iter().filter_map(write).collect()
    };
    let mut both = [writes(&low, 0), writes(&high, HALF)].concat();
    let mut all = writes(&whole, 0);
    assert!(all.iter().all(|(block, _, sectors)| *block < 2 * HALF && *sectors != 0));
    both.sort();
    all.sort();
    assert_eq!(all, both);
    assert!(whole.events.len() * 512 <= data.len());
    assert_eq!(whole.marks.len(), low.marks.len());
}
