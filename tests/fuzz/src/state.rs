//! Sequences of operations, against the plainest model of each.

use bootinfo::{MemoryMap, Region, RegionKind, check_memory_map};
use frames::{FRAMES_PER_SECTION, Frames, ORDER_MAX, Section, Store};
use handles::{Entry, Kind, Rights, Table};
use ldisc::{Discipline, Read, Settings};
use std::collections::BTreeMap;
use vmmap::{Area, Backing, Map, PAGE_SIZE, Protection};

/// Bytes are start, length, kind: painted on pages.
pub fn memory_map(data: &[u8]) {
    const KINDS: [RegionKind; 4] = [RegionKind::Usable, RegionKind::Kernel, RegionKind::Reserved, RegionKind::Device];
    let mut storage = [Region::default(); 24];
    let mut map = MemoryMap::new(&mut storage);
    let mut pages = [None; 512];
    for step in data.chunks_exact(3) {
        let (start, length) = (usize::from(step[0]), usize::from(step[1]));
        let kind = KINDS[usize::from(step[2] % 4)];
        if map.set(start as u64 * bootinfo::PAGE, length as u64 * bootinfo::PAGE, kind).is_ok() {
            pages[start..start + length].fill(Some(kind));
        }
    }
    assert!(check_memory_map(map.regions()).is_ok());
    let mut painted = [None; 512];
    for region in map.regions() {
        let first = (region.start / bootinfo::PAGE) as usize;
        painted[first..first + (region.length / bootinfo::PAGE) as usize].fill(region.kind());
    }
    assert_eq!(pages, painted);
}

/// Against a list of what is out: nothing twice, nothing outside, nothing lost.
pub fn frames(data: &[u8]) {
    #[derive(Default)]
    struct Records(BTreeMap<u32, Section>);
    impl Store for Records {
        fn open(&mut self, index: u32, _fresh: &mut Section) -> bool {
            self.0.insert(index, Section::default()).is_none()
        }
        fn section(&mut self, index: u32) -> &mut Section {
            self.0.get_mut(&index).expect("only open sections are asked for")
        }
    }
    let Some((layout, rest)) = data.split_first_chunk::<6>() else { return };
    let mut frames = Frames::new();
    let mut regions = Vec::new();
    let mut at = 0;
    for pair in layout.chunks_exact(2) {
        let start = at + u64::from(pair[0]) * 4;
        at = start + u64::from(pair[1]) * 8;
        if frames.add(frames::Region { start, end: at }) {
            regions.push(start..at);
        }
    }
    let total = frames.free_frames();
    let mut store = Records::default();
    let mut out: BTreeMap<u64, u32> = BTreeMap::new();
    for step in rest.chunks_exact(2) {
        let order = u32::from(step[1]) % (ORDER_MAX + 2);
        if step[0] & 1 == 0 {
            let Some(first) = frames.allocate(&mut store, order) else { continue };
            let end = first + (1 << order);
            assert!(first.is_multiple_of(1 << order) && first / FRAMES_PER_SECTION == (end - 1) / FRAMES_PER_SECTION);
            assert!((first..end).all(|frame| regions.iter().any(|region| region.contains(&frame))));
            let before = out.range(..end).next_back();
            assert!(before.is_none_or(|(start, order)| start + (1 << order) <= first));
            out.insert(first, order);
        } else if let Some((&first, &order)) = out.iter().nth(usize::from(step[1]) % out.len().max(1)) {
            frames.release(&mut store, first, order);
            out.remove(&first);
        }
        assert_eq!(frames.free_frames() + out.values().map(|order| 1 << order).sum::<u64>(), total);
    }
}

/// Against a map from index to (number, rights).
pub fn handles(data: &[u8]) {
    const LIMIT: usize = 130;
    let rights = |bits: u8| {
        let all = [Rights::READ, Rights::WRITE, Rights::DUPLICATE, Rights::TRANSFER];
        all.into_iter()
            .enumerate()
            .fold(Rights::NONE, |sum, (i, r)| if bits >> i & 1 != 0 { sum.union(r) } else { sum })
    };
    let mut table = Table::new(LIMIT);
    let mut model: BTreeMap<usize, (usize, Rights)> = BTreeMap::new();
    for (number, step) in data.chunks_exact(3).enumerate() {
        let (index, with) = (usize::from(step[1]), rights(step[2]));
        match step[0] % 4 {
            0 => {
                let free = (index..LIMIT).find(|i| !model.contains_key(i));
                let got = table.insert(Entry::new(number, Kind::File, with), index).ok();
                assert_eq!(got, free);
                got.map(|i| model.insert(i, (number, with)));
            }
            1 => {
                let before = table.remove(index).ok().map(|entry| (entry.object, entry.rights()));
                assert_eq!(before, model.remove(&index));
            }
            2 => {
                let placed = table.replace(index, Entry::new(number, Kind::Pipe, with));
                assert_eq!(placed.is_ok(), index < LIMIT);
                if let Ok(old) = placed {
                    assert_eq!(old.map(|entry| entry.object), model.insert(index, (number, with)).map(|(n, _)| n));
                }
            }
            _ => {
                let known = model.get(&index);
                match table.duplicate(index, with) {
                    Ok(copy) => {
                        let (object, had) = known.expect("only what is there");
                        assert!(copy.object == *object && had.contains(copy.rights()) && with.contains(copy.rights()));
                    }
                    Err(_) => assert!(known.is_none_or(|(_, had)| !had.contains(Rights::DUPLICATE))),
                }
            }
        }
        assert!(
            table.iter().map(|(i, entry)| (i, entry.object)).eq(model.iter().map(|(i, (object, _))| (*i, *object)))
        );
    }
}

/// The first bytes set it up, the rest are received, written and read.
pub fn ldisc(data: &[u8]) {
    let Some((setup, rest)) = data.split_first_chunk::<16>() else { return };
    let mut terminal = Discipline::new(settings(setup));
    let mut line = 0usize;
    for step in rest.chunks_exact(2) {
        match step[0] % 8 {
            0 => {
                let mut buffer = [0; 40];
                let wanted = usize::from(step[1]) % (buffer.len() + 1);
                let before = terminal.available();
                if let Read::Bytes(count) = terminal.read(&mut buffer[..wanted]) {
                    assert!(count <= wanted && count <= before.max(count));
                }
            }
            1 => terminal.write(&[step[1], b'\t', b'\n'], &mut |_| line += 1),
            2 if step[1] == 0 => terminal.flush(),
            2 => {
                let mut other = *terminal.settings();
                other.local ^= u32::from(step[1]);
                terminal.set(other);
            }
            _ => {
                let before = line;
                terminal.receive(step[1], &mut |_| line += 1);
                // Kill and reprint echo a whole line, each character at most as a tab.
                assert!(line - before <= 16 * (ldisc::INPUT_MAX + 4));
            }
        }
        assert!(terminal.available() <= ldisc::INPUT_MAX);
    }
}

fn settings(setup: &[u8; 16]) -> Settings {
    let mut settings = Settings::default();
    if setup[0] & 1 != 0 {
        let word = |at: usize| u32::from(u16::from_le_bytes([setup[at], setup[at + 1]]));
        (settings.input, settings.output, settings.local) = (word(2), word(4), word(6));
        settings.cc[..8].copy_from_slice(&setup[8..16]);
    }
    settings
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u64);

impl Backing for At {
    fn advanced(&self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }

    fn continues(&self, length: u64, next: &Self) -> bool {
        self.0 + length == next.0
    }
}

/// Against one entry per page.
pub fn vmmap(data: &[u8]) {
    const PAGES: u64 = 300;
    let mut map = Map::new(0..PAGES * PAGE_SIZE);
    let mut model: [Option<(Protection, u64)>; PAGES as usize] = [None; PAGES as usize];
    for step in data.chunks_exact(4) {
        let (first, count) = (u64::from(step[1]), u64::from(step[2] % 40) + 1);
        let (start, end) = (first * PAGE_SIZE, (first + count) * PAGE_SIZE);
        let protection = Protection { read: step[3] & 1 != 0, write: step[3] & 2 != 0, execute: step[3] & 4 != 0 };
        let pages = first as usize..((first + count) as usize).min(model.len());
        let inside = first + count <= PAGES;
        match step[0] % 3 {
            0 => {
                let backing = At(u64::from(step[3] >> 3) * PAGE_SIZE);
                let fits = inside && model[pages.clone()].iter().all(Option::is_none);
                assert_eq!(map.insert(Area { start, end, protection, backing }).is_ok(), fits);
                if fits {
                    for (i, page) in model[pages].iter_mut().enumerate() {
                        *page = Some((protection, backing.0 + i as u64 * PAGE_SIZE));
                    }
                }
            }
            1 => {
                if map.remove(start, end).is_ok() {
                    model[pages].fill(None);
                }
            }
            _ => {
                let all = inside && model[pages.clone()].iter().all(Option::is_some);
                assert_eq!(map.protect(start, end, protection).is_ok(), all);
                if all {
                    model[pages].iter_mut().flatten().for_each(|page| page.0 = protection);
                }
            }
        }
    }
    for (index, page) in model.iter().enumerate() {
        let address = index as u64 * PAGE_SIZE;
        let found = map.find(address).map(|area| (area.protection, area.backing.advanced(address - area.start).0));
        assert_eq!(found, *page);
    }
    let areas: Vec<_> = map.areas().collect();
    assert!(areas.windows(2).all(|pair| pair[0].end <= pair[1].start));
}
