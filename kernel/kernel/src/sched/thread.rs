//! A thread.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use super::queue;
use crate::arch::fp::FpState;
use crate::arch::thread::Machine;
use crate::arch::timer::{ticks, ticks_to_duration};
use crate::arch::trap::TrapFrame;
use crate::mm::AddressSpace;
use crate::sync::{Parking, Rank, SpinLock, Stopwatch};

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// A thread, of the kernel or of a user program.
#[derive(Debug)]
pub struct Thread {
    /// Never used twice.
    pub id: u32,
    #[expect(dead_code, reason = "for a debugger")]
    name: String,
    pub(crate) machine: Machine,
    pub(super) parking: Parking,
    pub(super) is_idle: bool,
    /// It never runs again.
    pub(super) dead: AtomicBool,
    /// The CPU it ran on last.
    pub(super) cpu: AtomicUsize,
    /// The CPUs it may run on, one bit each.
    affinity: AtomicU64,
    /// See [`Thread::interrupt`].
    interrupted: AtomicBool,
    /// Runs while it has a CPU. Its CPU's to change, as the next.
    pub(super) runs: Stopwatch,
    /// Runs while it is in user mode.
    pub(crate) user: Stopwatch,
    space: SpinLock<Option<Arc<AddressSpace>>>,
    data: Option<Arc<dyn Any + Send + Sync>>,
}

impl Thread {
    fn new(name: &str, machine: Machine) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: String::from(name),
            machine,
            parking: Parking::new(),
            is_idle: false,
            dead: AtomicBool::new(false),
            cpu: AtomicUsize::new(0),
            affinity: AtomicU64::new(u64::MAX),
            interrupted: AtomicBool::new(false),
            runs: Stopwatch::new(),
            user: Stopwatch::new(),
            space: SpinLock::new(Rank::THREAD, None),
            data: None,
        }
    }

    /// The idle thread that this code runs on.
    pub(super) fn idle(cpu: usize) -> Self {
        let mut thread = Self::new("idle", Machine::running());
        thread.is_idle = true;
        thread.cpu = AtomicUsize::new(cpu);
        thread
    }

    /// What [`create_user`] was given.
    #[must_use]
    pub fn data(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.data.as_ref()
    }

    /// Its address space; the kernel's threads have none.
    #[must_use]
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.space.lock_irq().clone()
    }

    /// Gives the current thread another address space, or none, and makes it the active one; gives back the one before.
    pub fn set_space(&self, space: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        assert_eq!(self.id, super::current().id, "only a thread itself changes its space");
        let before = core::mem::replace(&mut *self.space.lock_irq(), space);
        self.activate_space();
        before
    }

    /// Makes its address space the one that this CPU translates with.
    pub(super) fn activate_space(&self) {
        match &*self.space.lock_irq() {
            Some(space) => space.activate(),
            None => crate::arch::mmu::deactivate_user(),
        }
    }

    /// Wakes it if it sleeps interruptibly, and has it call `process::before_user_return` before it goes on in user mode.
    pub fn interrupt(self: &Arc<Self>) {
        self.interrupted.store(true, Ordering::SeqCst);
        if self.parking.wake() {
            queue::enqueue(self.clone());
        } else {
            queue::kick(self);
        }
    }

    /// [`Thread::interrupt`] was called since the last [`Thread::take_interrupt`].
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Forgets the interruption; says whether there was one.
    pub fn take_interrupt(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) && self.interrupted.swap(false, Ordering::SeqCst)
    }

    /// Sleeps.
    #[must_use]
    pub fn is_sleeping(&self) -> bool {
        self.parking.is_parked()
    }

    /// The CPUs it may run on, one bit each.
    #[must_use]
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    /// Restricts the CPUs it runs on, from the next time it is chosen.
    pub fn set_affinity(&self, cpus: u64) {
        self.affinity.store(cpus, Ordering::Relaxed);
    }

    /// The CPU it runs or ran on.
    #[must_use]
    pub fn last_cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// Time it has run in user mode, up to now.
    #[must_use]
    pub fn user_time(&self) -> Duration {
        ticks_to_duration(self.user.read(ticks))
    }

    /// Time it has run in the kernel, up to now.
    #[must_use]
    pub fn system_time(&self) -> Duration {
        let user = self.user.read(ticks);
        ticks_to_duration(self.runs.read(ticks).saturating_sub(user))
    }
}

/// Starts a thread of the kernel. It ends when `function` returns.
///
/// # Panics
/// When there is no memory for its stack: the kernel's own threads are few and started at boot.
pub fn spawn_kernel(name: &str, function: impl FnOnce() + Send + 'static) -> Arc<Thread> {
    let machine = Machine::for_kernel(Box::new(function)).expect("memory for a kernel thread");
    let thread = Arc::new(Thread::new(name, machine));
    queue::start(&thread);
    thread
}

/// Makes a thread that will enter user mode with these registers, once [`super::start`] is called. `None`: no memory.
#[must_use]
pub fn create_user(
    name: &str,
    space: Arc<AddressSpace>,
    frame: &TrapFrame,
    tpidr: u64,
    fp: Option<FpState>,
    data: Arc<dyn Any + Send + Sync>,
) -> Option<Arc<Thread>> {
    let mut thread = Thread::new(name, Machine::for_user(frame, tpidr, fp)?);
    thread.space = SpinLock::new(Rank::THREAD, Some(space));
    thread.data = Some(data);
    Some(Arc::new(thread))
}

/// Ends the current thread. Nothing on its stack is dropped any more: a caller that holds shares of anything gives them up first.
pub fn exit_current() -> ! {
    let space = super::current().set_space(None);
    // The last one to leave frees the pages, here, with interrupts enabled, and not in the middle of a switch.
    drop(space);
    super::current().dead.store(true, Ordering::Relaxed);
    queue::leave_for_good()
}
