//! What each CPU has for itself, found through TPIDR_EL1.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::{sysreg, thread, timer};
use crate::sync::Stopwatch;

/// The most CPUs that can come online.
pub const CPUS_MAX: usize = 64;

/// One CPU's own data. Other CPUs may read it; only its own CPU writes, but for what says otherwise.
#[derive(Debug)]
pub struct Cpu {
    /// 0 is the CPU that booted.
    pub index: usize,
    /// Ranks of the spinlocks held here (debug builds).
    pub held_ranks: AtomicU64,
    /// The affinity fields of its MPIDR_EL1, which name it to PSCI and the interrupt controller.
    pub mpidr: AtomicU64,
    /// It runs threads.
    pub online: AtomicBool,
    /// The thread on it, as [`crate::arch::thread`] keeps it.
    pub current: AtomicUsize,
    /// Times that another thread was chosen to run here.
    pub switches: AtomicU64,
    /// Timer interrupts taken.
    pub ticks: AtomicU64,
    /// Set by any CPU: choose again which thread to run, at the next chance.
    pub need_resched: AtomicBool,
    /// Runs while a user program does.
    user: Stopwatch,
    /// Runs while nothing does.
    idle: Stopwatch,
    /// The counter when it got its data.
    since: AtomicU64,
}

/// What a CPU's time went into, in counter ticks.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// User programs.
    pub user: u64,
    /// The kernel.
    pub system: u64,
    /// Nothing.
    pub idle: u64,
}

static CPUS: [Cpu; CPUS_MAX] = {
    let mut cpus = [const { Cpu::new() }; CPUS_MAX];
    let mut index = 0;
    while index < CPUS_MAX {
        cpus[index].index = index;
        index += 1;
    }
    cpus
};
/// How many CPUs are known; the first `COUNT` of [`CPUS`].
static COUNT: AtomicUsize = AtomicUsize::new(1);

impl Cpu {
    const fn new() -> Self {
        Self {
            index: 0,
            held_ranks: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            mpidr: AtomicU64::new(0),
            online: AtomicBool::new(false),
            current: AtomicUsize::new(0),
            ticks: AtomicU64::new(0),
            need_resched: AtomicBool::new(false),
            user: Stopwatch::new(),
            idle: Stopwatch::new(),
            since: AtomicU64::new(0),
        }
    }

    /// Somebody asked for another choice of thread.
    pub fn need_resched(&self) -> bool {
        self.need_resched.load(Ordering::Relaxed)
    }

    /// Asks for another choice of thread.
    pub fn set_need_resched(&self) {
        self.need_resched.store(true, Ordering::Relaxed);
    }

    /// What its time has gone into, up to now.
    #[must_use]
    pub fn spent(&self) -> Spent {
        let (user, idle) = (self.user.read(timer::ticks), self.idle.read(timer::ticks));
        let all = timer::ticks().saturating_sub(self.since.load(Ordering::Relaxed));
        Spent { user, system: all.saturating_sub(user + idle), idle }
    }
}

/// From a user program into the kernel: its time stops. Interrupts are masked.
pub fn enter_kernel() {
    let now = sysreg::read!(CNTVCT_EL0);
    this().user.stop(now);
    thread::current_masked().user.stop(now);
}

/// From the kernel into a user program: its time starts. Interrupts are masked.
pub fn leave_kernel() {
    let now = sysreg::read!(CNTVCT_EL0);
    this().user.start(now);
    thread::current_masked().user.start(now);
}

/// Sleeps until an interrupt is pending: this CPU is idle.
pub fn idle() {
    let idle = &this().idle;
    idle.start(sysreg::read!(CNTVCT_EL0));
    wait_for_interrupt();
    idle.stop(sysreg::read!(CNTVCT_EL0));
}

/// This CPU. A caller that may be moved to another CPU (it sleeps, or runs with interrupts enabled in a user thread's system call and
/// yields) must not keep it.
#[must_use]
pub fn this() -> &'static Cpu {
    let pointer = sysreg::read!(TPIDR_EL1) as *const Cpu;
    // SAFETY: `init` put a pointer into the static array there, before anything calls this.
    unsafe { &*pointer }
}

/// All CPUs that are known, online or not.
#[must_use]
pub fn all() -> &'static [Cpu] {
    &CPUS[..COUNT.load(Ordering::Acquire)]
}

/// Gives CPU `index` its data. The first thing each CPU does in the high half.
pub fn init(index: usize) {
    let cpu = &CPUS[index];
    cpu.mpidr.store(mpidr(), Ordering::Relaxed);
    cpu.since.store(timer::ticks(), Ordering::Relaxed);
    // SAFETY: TPIDR_EL1 is only read by `this`.
    unsafe { sysreg::write!(TPIDR_EL1, core::ptr::from_ref(cpu)) };
}

/// Makes room for a CPU that the firmware lists; `None` when there are too many.
pub fn add(mpidr: u64) -> Option<&'static Cpu> {
    let index = COUNT.load(Ordering::Relaxed);
    let cpu = CPUS.get(index)?;
    cpu.mpidr.store(mpidr, Ordering::Relaxed);
    COUNT.store(index + 1, Ordering::Release);
    Some(cpu)
}

/// The affinity fields of this CPU's MPIDR_EL1.
#[must_use]
pub fn mpidr() -> u64 {
    sysreg::read!(MPIDR_EL1) & 0xff_00ff_ffff
}

/// Between two looks at what another CPU is to change. YIELD lets the other CPUs of an emulator that runs them by turns go on, which otherwise execute
/// nothing until this one's turn is over; `spin_loop` is the pause that cores without hardware threads know.
pub fn relax() {
    // SAFETY: a hint.
    unsafe { core::arch::asm!("yield", options(nomem, nostack, preserves_flags)) };
    core::hint::spin_loop();
}

/// Masks interrupts; gives what [`restore_interrupts`] needs.
pub fn mask_interrupts() -> u64 {
    let mask = sysreg::read!(DAIF);
    // SAFETY: masking interrupts is always allowed; not `nomem`, so that memory accesses stay inside.
    unsafe { core::arch::asm!("msr daifset, #2", options(nostack)) };
    mask
}

/// Puts the interrupt mask back.
pub fn restore_interrupts(mask: u64) {
    // SAFETY: the mask comes from `mask_interrupts`.
    unsafe { sysreg::write!(DAIF, mask) };
}

/// Lets interrupts in.
pub fn unmask_interrupts() {
    // SAFETY: whoever calls this is ready for them; vectors are in place since `init`.
    unsafe { core::arch::asm!("msr daifclr, #2", options(nostack)) };
}

/// Takes the interrupts that are pending, and masks them again.
pub fn take_interrupts() {
    unmask_interrupts();
    // SAFETY: a barrier: pending interrupts are taken before it completes.
    unsafe { core::arch::asm!("isb", options(nostack)) };
    mask_interrupts();
}

/// Sleeps until an interrupt is pending, masked or not.
pub fn wait_for_interrupt() {
    // SAFETY: only waits.
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nostack)) };
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    mask_interrupts();
    loop {
        wait_for_interrupt();
    }
}
