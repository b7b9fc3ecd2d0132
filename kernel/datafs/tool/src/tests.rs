//! Operations one by one.

use crate::{MemoryDevice, Mounted};
use datafs::{Format, New, ROOT};

fn new(mode: u32) -> New<'static> {
    New { mode, user: 1, group: 2, device: 0, target: b"", time: 5 }
}

fn fresh(blocks: u64) -> Mounted<MemoryDevice> {
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

#[test]
fn files_come_back_after_a_remount() {
    let mut m = fresh(16384);
    let names: Vec<String> = (0..3000).map(|i| format!("file{i}")).collect();
    for name in &names {
        let inode = m.run(|v| v.create(ROOT, name.as_bytes(), &new(0o100_644))).unwrap();
        m.write(inode, 10, name.as_bytes()).unwrap();
    }
    m.commit().unwrap();
    let mut m = Mounted::open(m.device.clone()).unwrap();
    for name in &names {
        let found = m.run(|v| v.lookup(ROOT, name.as_bytes())).unwrap().unwrap();
        let contents = m.contents(found.inode).unwrap();
        assert_eq!(&contents[10..], name.as_bytes());
    }
    let mut position = Some(0);
    let mut count = 0;
    while let Some(at) = position {
        let mut entries = Vec::new();
        position = m
            .run(|v| {
                v.entries(ROOT, at, &mut |e| {
                    entries.push(e.name.to_vec());
                    true
                })
            })
            .unwrap();
        count += entries.len();
    }
    assert_eq!(count, names.len());
    for name in &names {
        m.remove(ROOT, name.as_bytes(), 9).unwrap();
    }
    println!("{:?}", m.volume.statistics());
    m.checkpoint().unwrap();
    println!("{:?}", m.volume.statistics());
    let m = Mounted::open(m.device).unwrap();
    println!("{:?}", m.volume);
}
