//! What the machine keeps of a thread: kernel stack, registers while it does not run, the user's registers that exceptions do not save.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};

use super::cpu;
use super::fp::{self, FpState};
use super::sysreg;
use super::trap::{self, TrapFrame};
use crate::mm::stack::Stack;
use crate::sched::{self, Thread};

/// Registers that a function call preserves (AAPCS64, 6.1.1): what a switch saves.
#[repr(C)]
#[derive(Debug, Default)]
struct Context {
    x19_to_x29: [u64; 11],
    x30: u64,
    sp: u64,
}

core::arch::global_asm!(
    r#"
.section .text
// x0, x1 = contexts to save and to load; x2 goes through to whoever is loaded.
.global context_switch
context_switch:
    stp     x19, x20, [x0, #0]
    stp     x21, x22, [x0, #16]
    stp     x23, x24, [x0, #32]
    stp     x25, x26, [x0, #48]
    stp     x27, x28, [x0, #64]
    stp     x29, x30, [x0, #80]
    mov     x3, sp
    str     x3, [x0, #96]
    ldp     x19, x20, [x1, #0]
    ldp     x21, x22, [x1, #16]
    ldp     x23, x24, [x1, #32]
    ldp     x25, x26, [x1, #48]
    ldp     x27, x28, [x1, #64]
    ldp     x29, x30, [x1, #80]
    ldr     x3, [x1, #96]
    mov     sp, x3
    ret

// Where a new kernel thread begins: x19 = its function.
.global kernel_thread_start
kernel_thread_start:
    bl      {after_switch}
    mov     x29, #0
    mov     x30, #0
    mov     x0, x19
    b       {kernel_thread_main}

// Where a new user thread begins: its frame is at sp.
.global user_thread_start
user_thread_start:
    bl      {after_switch}
    mov     x29, #0
    mov     x0, sp
    bl      {leave}
    b       return_to_user
"#,
    after_switch = sym sched::after_switch,
    kernel_thread_main = sym kernel_thread_main,
    leave = sym trap::leave,
);

unsafe extern "C" {
    fn context_switch(from: *mut Context, to: *const Context);
    fn kernel_thread_start();
    fn user_thread_start();
}

/// The user's registers that are not in the frame.
#[derive(Debug, Default)]
struct UserRegisters {
    fp: FpState,
    tpidr: u64,
}

/// The machine's part of a thread.
///
/// Invariant: the cells are touched only by the CPU that has set `on_cpu`, for the thread that runs there or is being switched to or from.
#[derive(Debug)]
pub struct Machine {
    context: UnsafeCell<Context>,
    user: Option<UnsafeCell<Box<UserRegisters>>>,
    on_cpu: AtomicBool,
    /// Freed with the thread; the boot CPU's idle thread has none of its own.
    _stack: Option<Stack>,
}

// SAFETY: by the invariant, one CPU at a time touches the cells; `on_cpu` hands them over with release and acquire.
unsafe impl Sync for Machine {}

type KernelMain = Box<dyn FnOnce() + Send>;

extern "C" fn kernel_thread_main(function: *mut KernelMain) -> ! {
    cpu::unmask_interrupts();
    // SAFETY: `for_kernel` leaked the box for this one call.
    let function = unsafe { Box::from_raw(function) };
    function();
    sched::exit_current()
}

impl Machine {
    /// The thread that runs here already.
    pub fn running() -> Self {
        Self { context: UnsafeCell::default(), user: None, on_cpu: AtomicBool::new(true), _stack: None }
    }

    /// A thread that will run `function`. `None`: no memory for its stack.
    pub fn for_kernel(function: KernelMain) -> Option<Self> {
        let stack = Stack::new()?;
        let argument = Box::into_raw(Box::new(function));
        let mut context =
            Context { x30: kernel_thread_start as *const () as u64, sp: stack.top(), ..Context::default() };
        context.x19_to_x29[0] = argument as u64;
        Some(Self { context: context.into(), user: None, on_cpu: AtomicBool::new(false), _stack: Some(stack) })
    }

    /// A thread that will go to user mode with these registers.
    pub fn for_user(frame: &TrapFrame, tpidr: u64, fp: Option<FpState>) -> Option<Self> {
        let stack = Stack::new()?;
        let sp = stack.top() - size_of::<TrapFrame>() as u64;
        // SAFETY: the top of a stack that is new, aligned to 16.
        unsafe { (sp as *mut TrapFrame).write(frame.clone()) };
        let context = Context { x30: user_thread_start as *const () as u64, sp, ..Context::default() };
        let user = Box::new(UserRegisters { fp: fp.unwrap_or_default(), tpidr });
        Some(Self {
            context: context.into(),
            user: Some(UnsafeCell::new(user)),
            on_cpu: AtomicBool::new(false),
            _stack: Some(stack),
        })
    }

    /// Runs on a CPU, or is not quite switched away from one.
    pub fn is_on_cpu(&self) -> bool {
        self.on_cpu.load(Ordering::Acquire)
    }

    /// Its registers are saved: any CPU may run it. Called by the CPU that switched away from it.
    pub fn leave_cpu(&self) {
        self.on_cpu.store(false, Ordering::Release);
    }

    /// Saves the user's registers of the thread that runs.
    fn save_user(&self) {
        if let Some(user) = &self.user {
            // SAFETY: by the invariant: this thread runs here.
            let user = unsafe { &mut *user.get() };
            fp::save(&mut user.fp);
            user.tpidr = sysreg::read!(TPIDR_EL0);
        }
    }

    /// Loads the user's registers of the thread that is switched to.
    fn load_user(&self) {
        if let Some(user) = &self.user {
            // SAFETY: by the invariant: this thread was claimed for this CPU.
            let user = unsafe { &*user.get() };
            fp::load(&user.fp);
            set_tpidr(user.tpidr);
        }
    }
}

/// Switches from the thread that runs to `next`, and returns when something switches back. `keep` is given the share of the thread that ran, and keeps
/// it until the other side of the switch has called [`Machine::leave_cpu`]. Interrupts are masked.
pub fn switch_to(next: Arc<Thread>, keep: impl FnOnce(Arc<Thread>)) {
    // The CPU that it ran on last may still be saving it.
    while next.machine.on_cpu.swap(true, Ordering::Acquire) {
        cpu::relax();
    }
    let to = Arc::as_ptr(&next);
    let previous = set_current(next).expect("a thread runs");
    let from = Arc::as_ptr(&previous);
    keep(previous);
    // SAFETY: `next` is alive as the current thread, the previous one because `keep` keeps it.
    let (from, to) = unsafe { (&(*from).machine, &(*to).machine) };
    from.save_user();
    to.load_user();
    // SAFETY: both contexts are this CPU's: `from` runs here, `to` was claimed above. `to` holds what `context_switch` saved, or a start on a new stack.
    unsafe { context_switch(from.context.get(), to.context.get()) };
}

/// Sets the running thread's thread pointer.
pub fn set_tpidr(value: u64) {
    // SAFETY: a register for users; the kernel does not use it. TPIDRRO_EL0 may hold what `stack_overflow` left: users see zero.
    unsafe {
        sysreg::write!(TPIDR_EL0, value);
        sysreg::write!(TPIDRRO_EL0, 0_u64);
    }
}

/// The running thread's thread pointer.
#[must_use]
pub fn tpidr() -> u64 {
    sysreg::read!(TPIDR_EL0)
}

/// The running thread's FP registers.
#[must_use]
pub fn fp_state() -> FpState {
    let mut state = FpState::default();
    let mask = cpu::mask_interrupts();
    fp::save(&mut state);
    cpu::restore_interrupts(mask);
    state
}

/// Sets the running thread's FP registers.
pub fn set_fp_state(state: &FpState) {
    fp::load(state);
}

/// The thread that runs: a borrow of the share that running gives it.
pub struct Current(ManuallyDrop<Arc<Thread>>, PhantomData<*const ()>);

impl Deref for Current {
    type Target = Arc<Thread>;

    fn deref(&self) -> &Arc<Thread> {
        &self.0
    }
}

/// The thread that runs this.
#[must_use]
pub fn current() -> Current {
    let mask = cpu::mask_interrupts();
    let current = current_masked();
    cpu::restore_interrupts(mask);
    current
}

/// The same, where interrupts are masked.
#[must_use]
pub fn current_masked() -> Current {
    let pointer = cpu::this().current.load(Ordering::Relaxed) as *const Thread;
    debug_assert!(!pointer.is_null());
    // SAFETY: `set_current` put a share there, which stays at least as long as the thread runs, and `Current` does not leave the thread.
    Current(ManuallyDrop::new(unsafe { Arc::from_raw(pointer) }), PhantomData)
}

/// Makes `thread` this CPU's current one; gives the share of the one before, if there was one.
pub fn set_current(thread: Arc<Thread>) -> Option<Arc<Thread>> {
    let before = cpu::this().current.swap(Arc::into_raw(thread) as usize, Ordering::Relaxed) as *const Thread;
    // SAFETY: a share that an earlier call put there.
    (!before.is_null()).then(|| unsafe { Arc::from_raw(before) })
}
