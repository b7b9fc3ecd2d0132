//! GICv3 and v4 (Arm IHI 0069): a distributor, one redistributor for each CPU, system registers for the CPU interface.
//!
//! Every interrupt is put in Group 1: with one security state (as QEMU and KVM give us) the reset value is Group 0, which would
//! arrive as FIQ. Affinity routing comes on before anything else is set.

use core::sync::atomic::Ordering;

use platform::{ArrayVec, Gic, Platform, Region, Trigger};

use super::gic2::set_trigger;
use super::mmio::Mmio;
use crate::arch::cpu::{self, CPUS_MAX, Cpu};
use crate::arch::gicv3 as registers;

const GICD_CTLR: usize = 0x0000;
const GICD_TYPER: usize = 0x0004;
const GICD_IGROUPR: usize = 0x0080;
const GICD_ISENABLER: usize = 0x0100;
const GICD_ICENABLER: usize = 0x0180;
const GICD_IPRIORITYR: usize = 0x0400;
const GICD_ICFGR: usize = 0x0c00;
const GICD_IROUTER: usize = 0x6000;
const GICD_LENGTH: u64 = 0x1_0000;
const CTLR_ENABLE_GROUP1: u32 = 1 << 1;
/// Affinity routing: ARE with one security state, ARE_NS as the non-secure side of two sees it.
const CTLR_ARE: u32 = 1 << 4;
const CTLR_RWP: u32 = 1 << 31;

const GICR_CTLR: usize = 0x0000;
const GICR_TYPER: usize = 0x0008;
const GICR_WAKER: usize = 0x0014;
const GICR_CTLR_RWP: u32 = 1 << 3;
const GICR_PROPBASER: usize = 0x0070;
const GICR_PENDBASER: usize = 0x0078;
const CTLR_ENABLE_LPIS: u32 = 1;
/// GICD_TYPER: message interrupts are there, and the bits of an interrupt's number.
const TYPER_LPIS: u32 = 1 << 17;
const TYPER_ID_BITS: u32 = 19;
const TYPER_VLPIS: u64 = 1 << 1;
const TYPER_LAST: u64 = 1 << 4;
const WAKER_PROCESSOR_SLEEP: u32 = 1 << 1;
const WAKER_CHILDREN_ASLEEP: u32 = 1 << 2;
/// A redistributor is two frames: control, and SGIs and PPIs.
const FRAME_LENGTH: u64 = 0x1_0000;
const SGI_FRAME: usize = 0x1_0000;
const PRIORITY: u8 = 0xa0;
/// How often a register is read while the GIC finishes a write; QEMU needs none.
const POLLS_MAX: u32 = 1_000_000;

/// The GICv3 of this machine.
#[derive(Debug)]
pub struct Gic3 {
    distributor: Mmio,
    interrupts: u32,
    redistributors: ArrayVec<Redistributor, CPUS_MAX>,
}

/// One CPU's control frame and its frame of SGIs and PPIs.
#[derive(Clone, Copy, Debug)]
struct Redistributor {
    mpidr: u64,
    address: u64,
    frames: Mmio,
}

impl Gic3 {
    /// Map and set up the distributor: all SPIs off and in Group 1. `None`: no room for the mappings.
    pub fn new(platform: &Platform, gic: &Gic) -> Option<Self> {
        let distributor = Mmio::map(gic.distributor, GICD_LENGTH)?;
        let interrupts = ((distributor.read32(GICD_TYPER) & 31) + 1) * 32;
        distributor.write32(GICD_CTLR, 0);
        wait_clear(distributor, GICD_CTLR, CTLR_RWP);
        distributor.write32(GICD_CTLR, CTLR_ARE);
        wait_clear(distributor, GICD_CTLR, CTLR_RWP);
        for word in 1..interrupts as usize / 32 {
            distributor.write32(GICD_ICENABLER + 4 * word, u32::MAX);
            distributor.write32(GICD_IGROUPR + 4 * word, u32::MAX);
        }
        for word in 8..interrupts as usize / 4 {
            distributor.write32(GICD_IPRIORITYR + 4 * word, u32::from_ne_bytes([PRIORITY; 4]));
        }
        wait_clear(distributor, GICD_CTLR, CTLR_RWP);
        distributor.write32(GICD_CTLR, CTLR_ARE | CTLR_ENABLE_GROUP1);
        wait_clear(distributor, GICD_CTLR, CTLR_RWP);
        Some(Self { distributor, interrupts, redistributors: find_redistributors(platform, gic)? })
    }

    /// This CPU's redistributor. Panics where the tables gave none: a CPU that cannot be interrupted is of no use.
    fn redistributor(&self) -> Mmio {
        let mpidr = cpu::mpidr();
        let own = self.redistributors.iter().find(|other| other.mpidr == mpidr);
        own.unwrap_or_else(|| panic!("no GICv3 redistributor for CPU {mpidr:#x}")).frames
    }

    /// Set up this CPU's redistributor and interface.
    pub fn init_cpu(&self) {
        let redistributor = self.redistributor();
        let waker = redistributor.read32(GICR_WAKER);
        redistributor.write32(GICR_WAKER, waker & !WAKER_PROCESSOR_SLEEP);
        wait_clear(redistributor, GICR_WAKER, WAKER_CHILDREN_ASLEEP);
        redistributor.write32(SGI_FRAME + GICD_ICENABLER, u32::MAX);
        redistributor.write32(SGI_FRAME + GICD_IGROUPR, u32::MAX);
        for word in 0..8 {
            redistributor.write32(SGI_FRAME + GICD_IPRIORITYR + 4 * word, u32::from_ne_bytes([PRIORITY; 4]));
        }
        redistributor.write32(SGI_FRAME + GICD_ISENABLER, 0xffff); // SGIs
        wait_clear(redistributor, GICR_CTLR, GICR_CTLR_RWP);
        registers::enable_interface();
    }

    /// The next pending interrupt of this CPU, now active.
    pub fn acknowledge(&self) -> Option<u32> {
        let id = registers::acknowledge();
        (!(1020..1024).contains(&id)).then_some(id)
    }

    /// The interrupt has been handled.
    pub fn end(&self, id: u32) {
        registers::end(id);
    }

    /// Let an interrupt through; an SPI goes to the first CPU, a PPI is this CPU's own.
    pub fn enable(&self, id: u32, trigger: Trigger) {
        let index = id as usize;
        if id < 32 {
            let redistributor = self.redistributor();
            if id >= 16 {
                set_trigger(redistributor, SGI_FRAME + GICD_ICFGR, id, trigger);
            }
            redistributor.write32(SGI_FRAME + GICD_ISENABLER, 1 << id);
        } else if id < self.interrupts {
            set_trigger(self.distributor, GICD_ICFGR, id, trigger);
            let target = cpu::all()[0].mpidr.load(Ordering::Relaxed);
            self.distributor.write64(GICD_IROUTER + 8 * index, target);
            self.distributor.write32(GICD_ISENABLER + 4 * (index / 32), 1 << (id % 32));
        }
    }

    /// Whether interrupts of numbers with `bits` bits can come as messages.
    pub fn has_lpis(&self, bits: u32) -> bool {
        let typer = self.distributor.read32(GICD_TYPER);
        typer & TYPER_LPIS != 0 && (typer >> TYPER_ID_BITS & 31) + 1 >= bits
    }

    /// Lets the first CPU take LPIs, with these values of GICR_PROPBASER and GICR_PENDBASER. Gives its redistributor's address and
    /// GICR_TYPER. `None`: a firmware has let it, with tables that are not ours, and for good.
    pub fn enable_lpis(&self, properties: u64, pending: u64) -> Option<(u64, u64)> {
        let first = cpu::all()[0].mpidr.load(Ordering::Relaxed);
        let redistributor = self.redistributors.iter().find(|redistributor| redistributor.mpidr == first)?;
        let frames = redistributor.frames;
        let control = frames.read32(GICR_CTLR);
        if control & CTLR_ENABLE_LPIS != 0 {
            frames.write32(GICR_CTLR, control & !CTLR_ENABLE_LPIS);
            if frames.read32(GICR_CTLR) & CTLR_ENABLE_LPIS != 0 {
                return None;
            }
        }
        frames.write64(GICR_PROPBASER, properties);
        frames.write64(GICR_PENDBASER, pending);
        frames.write32(GICR_CTLR, control | CTLR_ENABLE_LPIS);
        Some((redistributor.address, frames.read64(GICR_TYPER)))
    }

    /// Interrupt another CPU (12.11.22, ICC_SGI1R_EL1).
    pub fn send(&self, cpu: &Cpu, sgi: u32) {
        let mpidr = cpu.mpidr.load(Ordering::Relaxed);
        let affinity = |level: u32| mpidr >> [0, 8, 16, 32][level as usize] & 0xff;
        // Aff0 is named by a range of 16 and a bit in it.
        let (range, bit) = (affinity(0) >> 4, 1 << (affinity(0) & 15));
        let word =
            affinity(3) << 48 | range << 44 | affinity(2) << 32 | u64::from(sgi & 15) << 24 | affinity(1) << 16 | bit;
        super::gic::order_before_sgi();
        registers::send_sgi(word);
    }
}

fn wait_clear(registers: Mmio, offset: usize, bits: u32) {
    for _ in 0..POLLS_MAX {
        if registers.read32(offset) & bits == 0 {
            return;
        }
    }
    panic!("GICv3: bits {bits:#x} at {offset:#x} stay set");
}

/// Every redistributor that the tables describe, with the affinity that it says is its own (12.11.33, GICR_TYPER): the order of
/// the regions is not that of the CPUs. `None`: no room for a mapping.
fn find_redistributors(platform: &Platform, gic: &Gic) -> Option<ArrayVec<Redistributor, CPUS_MAX>> {
    let mut found = ArrayVec::new();
    for region in &gic.redistributors {
        walk(*region, gic.redistributor_stride, &mut found)?;
    }
    for base in platform.cpus.iter().filter_map(|cpu| cpu.redistributor) {
        let length = 2 * FRAME_LENGTH;
        walk(Region { base, length }, None, &mut found)?;
    }
    Some(found)
}

/// Walk one region, to its last redistributor or until the list is full.
fn walk(region: Region, stride: Option<u64>, found: &mut ArrayVec<Redistributor, CPUS_MAX>) -> Option<()> {
    let mut offset = 0;
    while offset + 2 * FRAME_LENGTH <= region.length && !found.is_full() {
        let frames = Mmio::map(region.base + offset, 2 * FRAME_LENGTH)?;
        let typer = frames.read64(GICR_TYPER);
        let affinity = typer >> 32;
        let address = region.base + offset;
        found.push(Redistributor { mpidr: affinity & 0xff_ffff | affinity >> 24 << 32, address, frames });
        if typer & TYPER_LAST != 0 {
            break;
        }
        let natural = if typer & TYPER_VLPIS != 0 { 4 } else { 2 } * FRAME_LENGTH;
        offset += stride.filter(|stride| *stride != 0).unwrap_or(natural);
    }
    Some(())
}
