//! Operations one by one.

use crate::mounted::read_log;
use crate::sweep::oracle::look;
use crate::sweep::record::{Event, Recorder};
use crate::{Device, MemoryDevice, Mounted};
use datafs::{BLOCK, Change, Format, InodeNumber, New, ROOT, Step};

fn new(mode: u32) -> New<'static> {
    New { mode, user: 1, group: 2, device: 0, target: b"", time: 5 }
}

pub(crate) fn fresh(blocks: u64) -> Mounted<MemoryDevice> {
    let format = Format {
        blocks,
        uuid: [7; 16],
        label: b"test",
        hash_key: [3; 16],
        created: 1,
        log_blocks: Some(256),
        inodes_per_group: None,
    };
    Mounted::format(MemoryDevice::new(blocks), &format, &new(0o755)).unwrap()
}

fn create<D: Device>(mounted: &mut Mounted<D>, name: &str) -> InodeNumber {
    mounted.run(|volume| volume.create(ROOT, name.as_bytes(), &new(0o100_644))).unwrap()
}

#[test]
fn files_come_back_after_a_remount() {
    let mut mounted = fresh(16384);
    let names: Vec<String> = (0..3000).map(|at| format!("file{at}")).collect();
    for name in &names {
        let inode = create(&mut mounted, name);
        mounted.write(inode, 10, name.as_bytes()).unwrap();
    }
    mounted.commit().unwrap();
    let mut mounted = Mounted::open(mounted.device.clone()).unwrap();
    for name in &names {
        let found = mounted.run(|volume| volume.lookup(ROOT, name.as_bytes())).unwrap().unwrap();
        assert_eq!(&mounted.contents(found.inode).unwrap()[10..], name.as_bytes());
    }
    let full = mounted.volume.statistics();
    for name in &names {
        mounted.remove(ROOT, name.as_bytes(), 9).unwrap();
    }
    mounted.checkpoint().unwrap();
    let empty = Mounted::open(mounted.device).unwrap().volume.statistics();
    assert_eq!(empty.inodes_free - full.inodes_free, 3000);
    assert!(empty.free >= full.free + 3000);
}

/// Inodes beside one that was made, in a block that the log gave whole, stay as blank as they were.
#[test]
fn inodes_are_made_in_a_block_that_was_replayed() {
    let mut mounted = fresh(2000);
    for at in 0..20 {
        create(&mut mounted, &format!("before{at}"));
    }
    mounted.commit().unwrap();
    let mut mounted = Mounted::open(mounted.device).unwrap();
    mounted.checkpoint().unwrap();
    let mut mounted = Mounted::open(mounted.device).unwrap();
    for at in 0..20 {
        create(&mut mounted, &format!("behind{at}"));
    }
}

/// A file that gets longer within its last block: the bytes behind the old end are flushed before the record with the new size.
#[test]
fn bytes_come_before_the_size_that_counts_them() {
    type Longer = fn(&mut Mounted<Recorder<MemoryDevice>>, InodeNumber);
    let ways: [Longer; 3] = [
        |mounted, inode| mounted.write(inode, 100, b"more").unwrap(),
        |mounted, inode| mounted.truncate(inode, 5000, 6).unwrap(),
        |mounted, inode| {
            let change = Change { size: Some(200), ..Change::default() };
            mounted.run(|volume| volume.change(inode, &change)).unwrap();
        },
    ];
    for longer in ways {
        let Mounted { device, volume } = fresh(2000);
        let mut mounted = Mounted { device: Recorder::new(device), volume };
        let inode = create(&mut mounted, "a");
        mounted.write(inode, 0, &[1; 100]).unwrap();
        mounted.sync().unwrap();
        longer(&mut mounted, inode);
        mounted.device.log.clear();
        mounted.sync().unwrap();
        assert!(matches!(mounted.device.log[0], Event::Flush));
    }
}

/// Getting shorter leaves the last block alone; getting longer again shows zeroes.
#[test]
fn what_was_cut_off_does_not_come_back() {
    let mut mounted = fresh(2000);
    let inode = create(&mut mounted, "a");
    for longer in [true, false] {
        mounted.write(inode, 0, &[1; 3000]).unwrap();
        mounted.truncate(inode, 100, 6).unwrap();
        if longer {
            mounted.truncate(inode, 5000, 6).unwrap();
        } else {
            mounted.write(inode, 4999, &[0]).unwrap();
        }
        let bytes = mounted.contents(inode).unwrap();
        assert_eq!((bytes.len(), &bytes[..100]), (5000, &[1; 100][..]));
        assert!(bytes[100..].iter().all(|&byte| byte == 0));
        mounted.truncate(inode, 0, 6).unwrap();
    }
}

/// Looking does not write, and sees what the log holds.
#[test]
fn a_volume_that_is_only_read_shows_the_log() {
    let mut mounted = fresh(2000);
    let inode = create(&mut mounted, "a");
    mounted.commit().unwrap();
    let device = mounted.device;
    let volume = read_log(&device, look(device.blocks())).unwrap();
    let mut mounted = Mounted { device, volume };
    let found = mounted.run(|volume| volume.lookup(ROOT, b"a")).unwrap();
    assert_eq!(found.map(|found| found.inode), Some(inode));
    assert!(mounted.run(|volume| volume.remove(ROOT, b"a", 1)).is_err());
}

/// docs/decisions/0009 counts on it.
#[test]
fn a_commit_is_one_block() {
    let mut m = fresh(16384);
    let inode = m.run(|v| v.create(ROOT, b"file", &new(0o100_644))).unwrap();
    m.checkpoint().unwrap();
    for at in 0..10 {
        m.write(inode, at * BLOCK as u64, &[1; BLOCK]).unwrap();
        let plan = m.volume.commit().unwrap().unwrap();
        let steps: Vec<usize> = plan
            .steps()
            .iter()
            .map(|step| match step {
                Step::Write(writes) => writes.len(),
                Step::Flush => 0,
            })
            .collect();
        assert_eq!(steps, [0, 1, 0], "flush, one block, flush");
        m.execute(plan).unwrap();
        // in place: nothing of the metadata changes
        m.write(inode, at * BLOCK as u64, &[2; BLOCK]).unwrap();
        assert!(m.volume.commit().unwrap().is_none());
    }
}
