//! Bytes that come from firmware or devices.

use pci::{Address, Buses, ConfigAccess, Pools, Window};
use platform::{Platform, acpi::PhysicalMemory};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use virtio::pci::ConfigSpace;
use virtio::queue::{Buffer, Error, Layout, Queue, QueueMemory};

pub fn fdt(data: &[u8]) {
    let mut platform = Platform::new();
    if platform.read_fdt(data).is_ok() {
        assert!(platform.gic.is_some() && platform.timer.is_some() && platform.cpus.iter().any(|cpu| cpu.enabled));
    }
}

struct Tables(Vec<u8>);

const BASE: u64 = 0x1000;

impl PhysicalMemory for Tables {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(address.checked_sub(BASE)?).ok()?;
        self.0.get(at..at.checked_add(length)?)
    }
}

fn checksum(table: &mut [u8], at: usize) {
    table[at] = 0;
    table[at] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// The input is a list of tables: kind, length, body. Signatures, lengths and checksums are made right, and the pointers to them.
pub fn acpi(data: &[u8]) {
    const KINDS: [&[u8; 4]; 7] = [b"APIC", b"GTDT", b"FACP", b"SPCR", b"MCFG", b"XXXX", b"IORT"];
    let mut tables = Vec::new();
    let mut rest = data;
    while let [kind, low, high, after @ ..] = rest
        && tables.len() < 16
    {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let mut table = vec![0; 36];
        table[..4].copy_from_slice(KINDS[usize::from(*kind) % KINDS.len()]);
        table.extend(&after[..length]);
        let total = table.len() as u32;
        table[4..8].copy_from_slice(&total.to_le_bytes());
        table[8] = 3;
        checksum(&mut table, 9);
        tables.push(table);
        rest = &after[length..];
    }
    let mut memory = vec![0; 40 + 36 + 8 * tables.len()];
    let mut xsdt = vec![0; 36];
    xsdt[..4].copy_from_slice(b"XSDT");
    for table in &tables {
        xsdt.extend((BASE + memory.len() as u64).to_le_bytes());
        memory.extend(table);
    }
    let total = xsdt.len() as u32;
    xsdt[4..8].copy_from_slice(&total.to_le_bytes());
    checksum(&mut xsdt, 9);
    memory[40..40 + xsdt.len()].copy_from_slice(&xsdt);
    memory[..8].copy_from_slice(b"RSD PTR ");
    memory[15] = 2;
    memory[20..24].copy_from_slice(&36u32.to_le_bytes());
    memory[24..32].copy_from_slice(&(BASE + 40).to_le_bytes());
    checksum(&mut memory[..20], 8);
    checksum(&mut memory[..36], 32);
    let mut platform = Platform::new();
    if platform.read_acpi(BASE, &Tables(memory)).is_ok() {
        assert!(platform.gic.is_some() && platform.cpus.iter().any(|cpu| cpu.enabled));
        // Every requester that has a device ID has one that fits.
        let _ = (0..=u16::MAX).step_by(257).filter_map(|requester| platform.device_id(0, requester)).max();
    }
    let _ = Platform::new().read_acpi(BASE, &Tables(data.to_vec()));
}

/// Configuration spaces: reads come from the input unless they were written before.
struct Config<'a> {
    data: &'a [u8],
    written: RefCell<BTreeMap<(Address, u16), u32>>,
}

impl ConfigAccess for Config<'_> {
    fn read32(&self, address: Address, offset: u16) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < 4096 && address.device < 32 && address.function < 8);
        if let Some(value) = self.written.borrow().get(&(address, offset)) {
            return *value;
        }
        let function = usize::from(address.bus) * 8 + usize::from(address.device) * 2 + usize::from(address.function);
        let at = function * 64 + usize::from(offset % 64);
        self.data.get(at..at + 4).map_or(u32::MAX, |bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn write32(&self, address: Address, offset: u16, value: u32) {
        self.written.borrow_mut().insert((address, offset), value);
    }
}

pub fn pci(data: &[u8]) {
    let config = Config { data, written: RefCell::default() };
    let window = |base, length| Window::new(base, length);
    let pools = Pools {
        io: window(0, 0x1_0000),
        memory32: window(0x1000_0000, 0x2eff_0000),
        memory64: window(0x80_0000_0000, 0x80_0000_0000),
    };
    let mut count = 0u32;
    pci::scan(&config, Buses { segment: 0, first: 0, last: 3 }, pools, &mut |function| {
        count += 1;
        for bar in function.bars.into_iter().flatten() {
            assert!(bar.size.is_power_of_two() && bar.index < 6);
        }
        if let Some(found) = pci::msix::MsiX::find(&config, function.address) {
            assert!(found.bar < 6 && found.offset.is_multiple_of(8) && (1..=2048).contains(&found.vectors));
        }
    });
    assert!(count <= 4 * 256);
}

struct Shared(RefCell<Vec<u8>>);

impl Shared {
    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.borrow()[offset..offset + N].try_into().expect("N bytes")
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

impl QueueMemory for Shared {
    fn read16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.read(offset))
    }
    fn read32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.read(offset))
    }
    fn write16(&self, offset: usize, value: u16) {
        self.write(offset, &value.to_le_bytes());
    }
    fn write32(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }
    fn write64(&self, offset: usize, value: u64) {
        self.write(offset, &value.to_le_bytes());
    }
    fn barrier(&self) {}
}

/// A device that writes anything anywhere in the shared memory, and capabilities that say anything.
pub fn virtio(data: &[u8]) {
    struct Space<'a>(&'a [u8]);
    impl ConfigSpace for Space<'_> {
        fn read32(&self, offset: u8) -> u32 {
            let at = usize::from(offset);
            self.0.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
        }
    }
    let _ = virtio::pci::capabilities(&Space(data));

    let layout = Layout::new(8, 4);
    let memory = Shared(RefCell::new(vec![0; layout.length]));
    let mut queue = Queue::new(layout, false);
    let mut lent: HashMap<u16, (usize, u32)> = HashMap::new();
    for step in data.chunks_exact(4) {
        let [what, x, y, z] = [step[0], step[1], step[2], step[3]];
        match what % 3 {
            0 => {
                let readable = usize::from(x % 3);
                let buffers: Vec<_> = (0..usize::from(x % 5))
                    .map(|i| Buffer { address: 0x1000, length: u32::from(y), device_writes: i >= readable })
                    .collect();
                if let Ok(head) = queue.add(&memory, &buffers) {
                    let writable = buffers.iter().filter(|b| b.device_writes).map(|b| b.length).sum();
                    assert!(lent.insert(head, (buffers.len(), writable)).is_none(), "a head is lent once");
                }
            }
            1 => {
                let at = usize::from(u16::from_le_bytes([x, y])) % layout.length;
                memory.write(at, &[z]);
            }
            _ => match queue.poll(&memory) {
                Ok(Some(done)) => {
                    let (_, writable) = lent.remove(&done.head).expect("only what was lent comes back");
                    assert!(done.written <= writable);
                }
                Ok(None) => {}
                Err(error) => assert!(matches!(error, Error::Device(_))),
            },
        }
        let out: usize = lent.values().map(|(length, _)| length).sum();
        assert!(queue.free() + out == usize::from(layout.size) || queue.poll(&memory).is_err());
    }
}

/// What a SCSI unit answers: frames, data of each command, events.
pub fn scsi(data: &[u8]) {
    use virtio::outcome::Outcome;
    use virtio::scsi::answer::{BlockLimits, Capacity, Mode, is_disk, luns, takes_unmap};
    use virtio::scsi::{ANSWER_LENGTH, EVENT_LENGTH, Event, Lun, outcome};

    let mut answer = [0; ANSWER_LENGTH];
    answer.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let (status, response, residual) = (answer[10], answer[11], &answer[4..8]);
    match outcome(&answer) {
        Outcome::Done => assert!(response == 0 && (status == 2 || status == 0 && residual == [0; 4])),
        Outcome::Failed(reason) | Outcome::Again(reason) | Outcome::Gone(reason) => {
            assert!(!reason.to_string().is_empty());
        }
    }
    let mut event = [0; EVENT_LENGTH];
    event.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    if let Event::Removed(lun) = Event::parse(&event) {
        assert!(lun.unit <= Lun::MAX && event[4] == 1 && event[5] == lun.target);
    }
    if let Some(capacity) = Capacity::parse(data) {
        assert!(capacity.blocks.checked_mul(capacity.block_size.into()).is_some());
        assert!(matches!(capacity.block_size, 512 | 1024 | 2048 | 4096));
    }
    let _ = (BlockLimits::parse(data), Mode::parse(data), takes_unmap(data), is_disk(data));
    assert!(luns(0, data).all(|lun| Lun::from_bytes(lun.bytes()) == Some(lun)));
}
