//! The other CPUs: started one after another by PSCI CPU_ON, each with its own idle thread, timer and interrupts.

use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;
use core::time::Duration;

use super::cpu::{self, Cpu};
use super::{entry, fp, irq, mmu, psci, timer, vectors};
use crate::events::Hex;
use crate::mm::stack::Stack;
use crate::sched::{self, WaitQueue};
use crate::{event, mm, platform};

/// How long a CPU may take from CPU_ON to its first thread.
const START_TIME_MAX: Duration = Duration::from_secs(2);
/// Timer interrupts of its own that each CPU shows at boot.
const TICKS_SHOWN: u64 = 3;
const TICK: Duration = Duration::from_millis(1);

/// What a CPU finds, by physical address and with its MMU off, when it starts (`entry`).
#[repr(C)]
struct Start {
    ttbr0: u64,
    ttbr1: u64,
    stack_top: u64,
    index: u64,
}

/// Somebody came online.
static ONLINE: WaitQueue = WaitQueue::new();

/// What every CPU does for itself before it runs threads. Interrupts are masked.
pub fn start_this_cpu() {
    vectors::install();
    fp::enable();
    timer::open_to_users();
    mmu::deactivate_user();
    sched::start_cpu();
}

/// The interrupts of the scheduler, for the CPU that booted; the others only let them through.
pub fn register_interrupts() {
    let line = timer_line();
    irq::register(line.intid, line.trigger, "timer", sched::timer::interrupt);
    irq::register(irq::sgi::RESCHEDULE, irq::Trigger::Edge, "reschedule", sched::message_received);
    irq::register(irq::sgi::STOP, irq::Trigger::Edge, "stop", || cpu::halt());
}

fn timer_line() -> ::platform::Interrupt {
    platform::get().timer.expect("the firmware describes the generic timer").virtual_
}

/// Says that this CPU runs threads, and, a few timer interrupts later, that it takes those.
pub fn announce() {
    let cpu = cpu::this();
    event!("cpu.online", cpu = cpu.index, mpidr = Hex(cpu.mpidr.load(Ordering::Relaxed)));
    tick();
}

fn tick() {
    let cpu = cpu::this();
    let ticks = cpu.ticks.load(Ordering::Relaxed);
    if ticks < TICKS_SHOWN {
        sched::timer::at(timer::now() + TICK, tick).detach();
    } else {
        event!("cpu.ticking", cpu = cpu.index, ticks = ticks);
        sched::vigil::start();
    }
}

/// Starts every CPU that the firmware lists as enabled. A CPU that does not come is reported, and left out.
pub fn start_others() {
    for listed in platform::get().cpus.iter().filter(|listed| listed.enabled && listed.mpidr != cpu::mpidr()) {
        let Some(cpu) = cpu::add(listed.mpidr) else {
            event!("cpu.failed", mpidr = Hex(listed.mpidr), what = "cpu", why = "more CPUs than the kernel can run");
            return;
        };
        if let Err(why) = start(cpu) {
            event!("cpu.failed", cpu = cpu.index, mpidr = Hex(listed.mpidr), what = "cpu", why = why);
        }
    }
}

fn start(cpu: &'static Cpu) -> Result<(), &'static str> {
    // The idle thread's stack stays for ever.
    let stack = ManuallyDrop::new(Stack::new().ok_or("no memory for a stack")?);
    let block = mm::frames::Contiguous::new(0).ok_or("no memory for the start block")?;
    let start = Start {
        ttbr0: entry::identity_root(),
        ttbr1: mmu::kernel_root(),
        stack_top: stack.top(),
        index: cpu.index as u64,
    };
    // SAFETY: a page of our own, aligned, that nobody reads before CPU_ON.
    unsafe { block.as_ptr().cast::<Start>().write(start) };
    mmu::clean_to_memory(block.as_ptr() as u64, size_of::<Start>() as u64);
    let mpidr = cpu.mpidr.load(Ordering::Relaxed);
    psci::cpu_on(mpidr, entry::secondary_entry_physical(), block.physical()).map_err(|_| "PSCI refused CPU_ON")?;
    let online = || cpu.online.load(Ordering::Acquire).then_some(());
    let deadline = timer::now() + START_TIME_MAX;
    let came = ONLINE.wait_until(online, Some(deadline), false);
    if came.is_err() {
        // It may still come and read the block.
        core::mem::forget(block);
        return Err("it did not come online");
    }
    Ok(())
}

/// The first code of another CPU in the high half, on its idle thread's stack.
pub extern "C" fn secondary_main(index: usize) -> ! {
    cpu::init(index);
    irq::init_cpu();
    start_this_cpu();
    irq::enable(timer_line().intid, timer_line().trigger);
    announce();
    ONLINE.wake_all();
    sched::become_idle()
}
