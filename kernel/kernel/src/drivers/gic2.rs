//! GICv2 (Arm IHI 0048): a distributor, and one CPU interface that is banked for each CPU. At most eight CPUs.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use platform::{Gic, Trigger};

use super::mmio::Mmio;
use crate::arch::cpu::{self, Cpu};

const GICD_CTLR: usize = 0x000;
const GICD_TYPER: usize = 0x004;
const GICD_IGROUPR: usize = 0x080;
const GICD_ISENABLER: usize = 0x100;
const GICD_ICENABLER: usize = 0x180;
const GICD_IPRIORITYR: usize = 0x400;
const GICD_ITARGETSR: usize = 0x800;
const GICD_ICFGR: usize = 0xc00;
const GICD_SGIR: usize = 0xf00;
const GICD_LENGTH: u64 = 0x1000;

const GICC_CTLR: usize = 0x000;
const GICC_PMR: usize = 0x004;
const GICC_BPR: usize = 0x008;
const GICC_IAR: usize = 0x00c;
const GICC_EOIR: usize = 0x010;
const GICC_APR: usize = 0x0d0;
const GICC_NSAPR: usize = 0x0e0;
const ACTIVE_WORDS: usize = 4;
/// As far as EOIR; DIR at 0x1000 is not used.
const GICC_LENGTH: u64 = 0x1000;

/// Both groups: where the GIC has security extensions these bits mean Group 1 for us, where it has none Group 0 and 1.
const ENABLE_GROUPS: u32 = 3;
/// Without security extensions a Group 1 interrupt would be acknowledged by 1022 unless this bit is set (4.4.1, AckCtl).
const ACK_CTL: u32 = 4;
const PRIORITY: u8 = 0xa0;
const CPUS_MAX: usize = 8;

/// The GICv2 of this machine.
#[derive(Debug)]
pub struct Gic2 {
    distributor: Mmio,
    interface: Mmio,
    interrupts: u32,
    /// Mask with which each CPU is named in GICD_ITARGETSR and GICD_SGIR, by CPU index.
    targets: [AtomicU8; CPUS_MAX],
    /// What each CPU last read from GICC_IAR: an SGI's sender (bits 12:10) must go back into GICC_EOIR (4.4.5).
    active: [AtomicU32; CPUS_MAX],
}

impl Gic2 {
    /// Map and set up the distributor: all SPIs off, in Group 1, to no CPU. `None`: no room for the mappings.
    pub fn new(gic: &Gic) -> Option<Self> {
        let distributor = Mmio::map(gic.distributor, GICD_LENGTH)?;
        let interface = Mmio::map(gic.cpu_interface?, GICC_LENGTH)?;
        let interrupts = ((distributor.read32(GICD_TYPER) & 31) + 1) * 32;
        distributor.write32(GICD_CTLR, 0);
        for word in 1..interrupts as usize / 32 {
            distributor.write32(GICD_ICENABLER + 4 * word, u32::MAX);
            distributor.write32(GICD_IGROUPR + 4 * word, u32::MAX);
        }
        for word in 8..interrupts as usize / 4 {
            distributor.write32(GICD_IPRIORITYR + 4 * word, u32::from_ne_bytes([PRIORITY; 4]));
            distributor.write32(GICD_ITARGETSR + 4 * word, 0);
        }
        distributor.write32(GICD_CTLR, ENABLE_GROUPS);
        Some(Self {
            distributor,
            interface,
            interrupts,
            targets: [const { AtomicU8::new(0) }; CPUS_MAX],
            active: [const { AtomicU32::new(0) }; CPUS_MAX],
        })
    }

    /// Set up this CPU's SGIs, PPIs and interface.
    pub fn init_cpu(&self) {
        // 4.3.12: the banked first eight target registers read as this CPU's own mask.
        let target = self.distributor.read8(GICD_ITARGETSR);
        if let Some(slot) = self.targets.get(cpu::this().index) {
            slot.store(target, Ordering::Relaxed);
        }
        self.distributor.write32(GICD_ICENABLER, 0xffff_0000);
        self.distributor.write32(GICD_IGROUPR, u32::MAX);
        for word in 0..8 {
            self.distributor.write32(GICD_IPRIORITYR + 4 * word, u32::from_ne_bytes([PRIORITY; 4]));
        }
        self.distributor.write32(GICD_ISENABLER, 0xffff); // SGIs
        // A kernel that died in an interrupt never ended it, and not every machine forgets that at a reset (QEMU 7.2 does not): nothing of
        // the same priority would come again (4.4.13).
        for word in 0..ACTIVE_WORDS {
            self.interface.write32(GICC_APR + 4 * word, 0);
            self.interface.write32(GICC_NSAPR + 4 * word, 0);
        }
        self.interface.write32(GICC_PMR, 0xff);
        self.interface.write32(GICC_BPR, 0);
        self.interface.write32(GICC_CTLR, ENABLE_GROUPS | ACK_CTL);
    }

    /// The next pending interrupt of this CPU, now active.
    pub fn acknowledge(&self) -> Option<u32> {
        let word = self.interface.read32(GICC_IAR);
        let id = word & 0x3ff;
        if let Some(active) = self.active.get(cpu::this().index) {
            active.store(word, Ordering::Relaxed);
        }
        (id < 1020).then_some(id)
    }

    /// The interrupt that `acknowledge` gave last on this CPU has been handled.
    pub fn end(&self, id: u32) {
        let active = self.active.get(cpu::this().index);
        let word = active.map_or(id, |active| active.load(Ordering::Relaxed));
        self.interface.write32(GICC_EOIR, word);
    }

    /// Let an interrupt through; an SPI goes to the first CPU.
    pub fn enable(&self, id: u32, trigger: Trigger) {
        if id >= self.interrupts {
            return;
        }
        let index = id as usize;
        if id >= 16 {
            set_trigger(self.distributor, GICD_ICFGR, id, trigger);
        }
        if id >= 32 {
            let target = self.targets[0].load(Ordering::Relaxed);
            self.distributor.write8(GICD_ITARGETSR + index, target);
        }
        self.distributor.write32(GICD_ISENABLER + 4 * (index / 32), 1 << (id % 32));
    }

    /// Interrupt another CPU (4.3.15).
    pub fn send(&self, cpu: &Cpu, sgi: u32) {
        let target = self.targets.get(cpu.index).map_or(0, |slot| slot.load(Ordering::Relaxed));
        super::gic::order_before_sgi();
        self.distributor.write32(GICD_SGIR, u32::from(target) << 16 | 1 << 15 | sgi & 15);
    }
}

/// ICFGR: two bits for each interrupt, the upper one set for edge-triggered. The same in GICv2 and GICv3.
pub fn set_trigger(registers: Mmio, base: usize, id: u32, trigger: Trigger) {
    let offset = base + 4 * (id as usize / 16);
    let bit = 2 << (2 * (id % 16));
    let old = registers.read32(offset);
    let new = match trigger {
        Trigger::Edge => old | bit,
        Trigger::Level => old & !bit,
    };
    registers.write32(offset, new);
}
