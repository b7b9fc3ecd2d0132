//! The interrupt translation service of a GICv3: a device's write becomes an LPI of the first CPU. What the registers and commands mean is
//! crate `gic`'s.
//!
//! Invariants
//! - The tables are the service's alone once it has them, and stay for good.
//! - A command is in memory before CWRITER says so; CREADR equals CWRITER whenever nobody holds the service.
//! - The properties of the LPIs are written before LPIs are switched on, and never changed; so no cached one is stale.

use core::ops::ControlFlow;

use ::gic::LPI_FIRST;
use ::gic::its::{self, COMMAND_LENGTH, Command, PAGE, Table, TableWish, Target, Type, register};
use virtio::queue::QueueMemory;

use super::dma::Dma;
use super::gic3::Gic3;
use super::mmio::Mmio;
use crate::arch::irq::LPIS_MAX;
use crate::event;

/// The control frame; the other is the devices'.
const REGISTERS_LENGTH: u64 = 0x1_0000;
/// Bits of the numbers of LPIs that there are properties for: 8192 to 16383.
const LPI_BITS: u32 = 14;
const PROPERTIES_LENGTH: usize = (1 << LPI_BITS) - LPI_FIRST as usize;
const QUEUE_LENGTH: usize = 64 << 10;
/// Events of a device, as bits.
const EVENT_BITS: u64 = 5;
const PRIORITY: u8 = 0xa0;
/// How often a register is read while the service comes to rest or does a command.
const POLLS_MAX: u32 = 1_000_000;

/// A service that is on.
pub struct Its {
    address: u64,
    registers: Mmio,
    kind: Type,
    target: Target,
    queue: Dma,
    /// Offset in the queue of the next command.
    writer: usize,
    lpis: usize,
}

impl Its {
    /// Switches the service at `address` on. `None`: it does not offer what we need, which an event says.
    pub fn new(address: u64, gic: &Gic3) -> Option<Self> {
        let result = Self::set_up(address, gic);
        if let Err(why) = result {
            event!("irq.error", what = "its", why = why);
        }
        result.ok()
    }

    fn set_up(address: u64, gic: &Gic3) -> Result<Self, &'static str> {
        const NO_MEMORY: &str = "no memory";
        if !gic.has_lpis(LPI_BITS) {
            return Err("there are no LPIs");
        }
        let registers = Mmio::map(address, REGISTERS_LENGTH).ok_or(NO_MEMORY)?;
        registers.write32(register::CTLR, 0);
        wait(|| registers.read32(register::CTLR) & register::CTLR_QUIESCENT != 0).ok_or("it does not come to rest")?;
        let kind = Type::new(registers.read64(register::TYPER));
        set_tables(registers, kind)?;
        let queue = block(QUEUE_LENGTH).ok_or(NO_MEMORY)?;
        registers.write64(register::CBASER, its::queue(queue.device_address(), QUEUE_LENGTH as u64));
        registers.write64(register::CWRITER, 0);
        let properties = block(PROPERTIES_LENGTH).ok_or(NO_MEMORY)?;
        properties.put(0, &[its::property(PRIORITY); LPIS_MAX]);
        properties.clean(0, LPIS_MAX);
        let pending = block(PAGE as usize).ok_or(NO_MEMORY)?;
        let (redistributor, typer) = gic
            .enable_lpis(
                its::properties(properties.device_address(), LPI_BITS.into()),
                its::pending(pending.device_address()),
            )
            .ok_or("a firmware has enabled LPIs")?;
        // The redistributor's.
        core::mem::forget(properties);
        core::mem::forget(pending);
        registers.write32(register::CTLR, register::CTLR_ENABLED);
        let target = kind.target(redistributor, typer);
        let mut its = Self { address, registers, kind, target, queue, writer: 0, lpis: 0 };
        if its.command(&[Command::MapCollection(target), Command::Synchronize(target)]).is_none() {
            core::mem::forget(its); // it may still read its queue
            return Err("it does no command");
        }
        Ok(its)
    }

    /// Where devices write.
    pub fn doorbell(&self) -> u64 {
        self.address + register::TRANSLATER
    }

    /// Gives `count` events of a device, from 0 on, an LPI each, from the returned one on. Once for each device.
    pub fn map(&mut self, device: u32, count: usize) -> Option<u32> {
        if device >> self.kind.device_bits.min(16) != 0 || count > 1 << EVENT_BITS || self.lpis + count > LPIS_MAX {
            return None;
        }
        let table = block((self.kind.entry_length << EVENT_BITS) as usize)?;
        let first = self.lpis;
        self.lpis += count;
        let address = table.device_address();
        core::mem::forget(table); // the service's
        self.command(&[Command::MapDevice { device, event_bits: EVENT_BITS, table: address }])?;
        for event in 0..count {
            let (event, lpi) = (event as u32, LPI_FIRST + (first + event) as u32);
            self.command(&[Command::MapEvent { device, event, lpi }])?;
        }
        self.command(&[Command::Synchronize(self.target)])?;
        Some(LPI_FIRST + first as u32)
    }

    /// Has commands done. `None`: one is not, and the service stands still.
    fn command(&mut self, commands: &[Command]) -> Option<()> {
        for command in commands {
            for (index, word) in command.words().into_iter().enumerate() {
                self.queue.write64(self.writer + 8 * index, word);
            }
            self.queue.clean(self.writer, COMMAND_LENGTH);
            self.writer = (self.writer + COMMAND_LENGTH) % QUEUE_LENGTH;
        }
        self.registers.write64(register::CWRITER, self.writer as u64);
        wait(|| {
            let reader = self.registers.read64(register::CREADR);
            reader & register::CREADR_STALLED == 0 && reader == self.writer as u64
        })
    }
}

/// Zeroed memory that starts on 64 KiB, and is zero for whoever does not look into the caches too.
fn block(bytes: usize) -> Option<Dma> {
    let bytes = bytes.next_multiple_of(PAGE as usize);
    let block = Dma::new(bytes)?;
    block.clean(0, bytes);
    Some(block)
}

/// Gives the service the tables that it asks for.
fn set_tables(registers: Mmio, kind: Type) -> Result<(), &'static str> {
    for index in 0..register::BASERS {
        let place = register::BASER + 8 * index;
        let Some(wish) = TableWish::of(registers.read64(place), kind.device_bits) else { continue };
        let why = match wish.table {
            Table::Devices => "no table of devices",
            Table::Collections => "no table of collections",
        };
        let memory = block(wish.bytes as usize).ok_or(why)?;
        // It may know one page size only; then the register keeps that.
        let set = [2, 1, 0].into_iter().try_for_each(|page_code| {
            let Some(value) = wish.value(memory.device_address(), page_code) else { return ControlFlow::Continue(()) };
            registers.write64(place, value);
            if TableWish::page_code(registers.read64(place)) == page_code {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if set.is_continue() {
            registers.write64(place, 0);
            return Err(why);
        }
        core::mem::forget(memory); // the service's
    }
    Ok(())
}

fn wait(mut condition: impl FnMut() -> bool) -> Option<()> {
    (0..POLLS_MAX).any(|_| condition()).then_some(())
}
