//! Ready threads per CPU: choosing, switching, stealing.
//!
//! Invariants: a thread is in at most one queue, and only while it is ready; the current thread is in none. A queue's lock is never held together with
//! another's, except by trying.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::thread::Thread;
use super::{current, timer};
use crate::arch::cpu::{self, CPUS_MAX, Cpu};
use crate::arch::thread as machine;
use crate::arch::{irq, timer as clock};
use crate::sync::{Rank, SpinLock};

/// How long a thread runs while another waits for its CPU.
const SLICE: Duration = Duration::from_millis(10);

/// One CPU's ready threads.
struct Queue {
    ready: VecDeque<Arc<Thread>>,
    /// The thread to run when there is no other.
    idle: Option<Arc<Thread>>,
    /// The thread that was switched away from, until its registers are known to be saved.
    previous: Option<Arc<Thread>>,
    /// When the current thread's slice ends; set while another thread is ready.
    slice_end: Option<u64>,
}

static QUEUES: [SpinLock<Queue>; CPUS_MAX] = [const {
    SpinLock::new(Rank::RUN_QUEUE, Queue { ready: VecDeque::new(), idle: None, previous: None, slice_end: None })
}; CPUS_MAX];

/// CPUs that run their idle thread, one bit each.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// Makes this CPU's code its idle thread, so that there is a current thread. Called once on each CPU, with interrupts masked.
pub fn start_cpu() {
    let cpu = cpu::this();
    let idle = Arc::new(Thread::idle(cpu.index));
    QUEUES[cpu.index].lock_irq().idle = Some(idle.clone());
    idle.runs.start(clock::ticks());
    let before = machine::set_current(idle);
    assert!(before.is_none(), "CPU {} started twice", cpu.index);
    cpu.online.store(true, Ordering::Release);
}

/// What the idle thread does: waits for interrupts, and gives the CPU to whoever becomes ready.
pub fn become_idle() -> ! {
    let cpu = cpu::this();
    loop {
        cpu::mask_interrupts();
        IDLE.fetch_or(1 << cpu.index, Ordering::SeqCst);
        // Whoever makes a thread ready after this looks at IDLE and sends a message; before this, `has_work` sees the thread.
        if !has_work(cpu.index) {
            cpu::idle();
        }
        IDLE.fetch_and(!(1 << cpu.index), Ordering::SeqCst);
        cpu::take_interrupts();
        reschedule();
    }
}

fn has_work(index: usize) -> bool {
    !QUEUES[index].lock_irq().ready.is_empty() || cpu::this().need_resched()
}

/// Makes a thread ready for the first time.
pub fn start(thread: &Arc<Thread>) {
    thread.cpu.store(cpu::this().index, Ordering::Relaxed);
    enqueue(thread.clone());
}

/// The CPU for a thread that becomes ready: the one it ran on when that is idle, else one that is idle, else the one it ran on.
fn choose_cpu(thread: &Thread) -> usize {
    let allowed = thread.affinity();
    let last = thread.cpu.load(Ordering::Relaxed);
    let idle = IDLE.load(Ordering::SeqCst) & allowed;
    if idle & 1 << last != 0 {
        last
    } else if idle != 0 {
        idle.trailing_zeros() as usize
    } else if allowed & 1 << last != 0 {
        last
    } else {
        let online = |cpu: &&Cpu| cpu.online.load(Ordering::Relaxed) && allowed & 1 << cpu.index != 0;
        cpu::all().iter().find(online).map_or(last, |cpu| cpu.index)
    }
}

/// Puts a thread that its waker owns (`Parking::wake`) into a queue, and has that queue's CPU look.
pub fn enqueue(thread: Arc<Thread>) {
    let index = choose_cpu(&thread);
    QUEUES[index].lock_irq().ready.push_back(thread);
    notify(index);
}

/// CPU `index` has a new ready thread.
fn notify(index: usize) {
    let mask = cpu::mask_interrupts();
    let here = cpu::this();
    let target = &cpu::all()[index];
    let is_idle = IDLE.load(Ordering::SeqCst) & 1 << index != 0;
    if is_idle {
        target.set_need_resched();
    }
    if index == here.index {
        program_timer();
    } else {
        irq::send(target, irq::sgi::RESCHEDULE);
    }
    cpu::restore_interrupts(mask);
}

/// Has the CPU that runs `thread` pass through its way back to user mode, where it will find what was left for it.
pub fn kick(thread: &Thread) {
    let mask = cpu::mask_interrupts();
    let index = thread.cpu.load(Ordering::Relaxed);
    if thread.machine.is_on_cpu() && index != cpu::this().index {
        irq::send(&cpu::all()[index], irq::sgi::RESCHEDULE);
    }
    cpu::restore_interrupts(mask);
}

/// [`irq::sgi::RESCHEDULE`]: another CPU has put a thread into this CPU's queue, or has something for the current one.
pub fn message_received() {
    program_timer();
}

/// Sets this CPU's timer to whatever comes first: a deadline, or the end of the slice while another thread is ready.
pub fn program_timer() {
    let mask = cpu::mask_interrupts();
    let index = cpu::this().index;
    let slice_end = {
        let mut queue = QUEUES[index].lock_irq();
        if queue.ready.is_empty() {
            queue.slice_end = None;
        } else if current().is_idle {
            cpu::this().set_need_resched();
        } else if queue.slice_end.is_none() {
            queue.slice_end = Some(clock::ticks() + clock::duration_to_ticks(SLICE));
        }
        queue.slice_end
    };
    clock::set_deadline(timer::next_deadline(index).into_iter().chain(slice_end).min());
    cpu::restore_interrupts(mask);
}

/// The timer has fired: the slice may be over.
pub fn slice_check() {
    let cpu = cpu::this();
    let mut queue = QUEUES[cpu.index].lock_irq();
    if queue.slice_end.is_some_and(|end| end <= clock::ticks()) {
        queue.slice_end = None;
        cpu.set_need_resched();
    }
}

/// Lets other ready threads run first.
pub fn yield_now() {
    let mask = cpu::mask_interrupts();
    reschedule();
    cpu::restore_interrupts(mask);
}

/// To be called in long loops of the kernel: gives the CPU up when somebody else has a right to it.
pub fn checkpoint() {
    if cpu::this().need_resched() {
        yield_now();
    }
}

/// Chooses who runs, the current thread staying ready. Interrupts are masked.
pub fn reschedule() {
    let thread = current();
    if thread.is_idle {
        switch_from(None);
    } else {
        switch_from(Some(Arc::clone(&thread)));
    }
}

/// Sleeps, if [`crate::sync::Parking::park`] says so.
pub fn park() {
    let mask = cpu::mask_interrupts();
    debug_assert!(cpu::this().held_ranks.load(Ordering::Relaxed) == 0, "sleeping with a spinlock held");
    if current().parking.park() {
        switch_from(None);
    }
    cpu::restore_interrupts(mask);
}

/// The current thread is dead.
pub fn leave_for_good() -> ! {
    cpu::mask_interrupts();
    switch_from(None);
    unreachable!("a dead thread was chosen")
}

/// Runs the next thread. `ready` is the current one when it could go on.
fn switch_from(ready: Option<Arc<Thread>>) {
    let cpu = cpu::this();
    cpu.need_resched.store(false, Ordering::Relaxed);
    let next = {
        let mut queue = QUEUES[cpu.index].lock_irq();
        queue.slice_end = None;
        queue.ready.extend(ready);
        take_allowed(&mut queue, cpu.index)
    };
    let next = next.or_else(|| steal(cpu.index)).unwrap_or_else(|| idle_thread(cpu.index));
    if next.id == current().id {
        program_timer();
        return;
    }
    cpu.switches.store(cpu.switches.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    next.cpu.store(cpu.index, Ordering::Relaxed);
    next.activate_space();
    let now = clock::ticks();
    current().runs.stop(now);
    next.runs.start(now);
    // No share of a thread may stay behind on this stack: it may never be returned to.
    machine::switch_to(next, |previous| {
        QUEUES[cpu.index].lock_irq().previous = Some(previous);
        program_timer();
    });
    after_switch();
}

/// The first ready thread that may run on CPU `index`. One that another CPU is still switching away from is left for later: waiting for
/// it here could be waiting for each other.
fn take_allowed(queue: &mut Queue, index: usize) -> Option<Arc<Thread>> {
    let here = current().id;
    let allowed = |thread: &Arc<Thread>| {
        thread.affinity() & 1 << index != 0 && (!thread.machine.is_on_cpu() || thread.id == here)
    };
    let at = queue.ready.iter().position(allowed)?;
    queue.ready.remove(at)
}

fn idle_thread(index: usize) -> Arc<Thread> {
    QUEUES[index].lock_irq().idle.clone().expect("each CPU has an idle thread")
}

/// Takes a ready thread from another CPU's queue.
fn steal(index: usize) -> Option<Arc<Thread>> {
    let count = cpu::all().len();
    (1..count).find_map(|distance| {
        let mut queue = QUEUES[(index + distance) % count].try_lock_irq()?;
        take_allowed(&mut queue, index)
    })
}

/// The first thing after a switch, on the new thread's stack: the one before is now wholly saved, and may run elsewhere, or go.
pub extern "C" fn after_switch() {
    let previous = QUEUES[cpu::this().index].lock_irq().previous.take();
    if let Some(previous) = previous {
        previous.machine.leave_cpu();
    }
}
