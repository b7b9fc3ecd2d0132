//! Signals: sending them, and acting on them on the way to the program (signal(7)).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use core::time::Duration;

use linux::Errno;
use linux::signal::{
    Context, Default, FRAME_USED, Frame, Origin, SigAction, SigInfo, SigSet, SigStack, Signal, Vectors, flags, place,
    restore,
};
use linux::wait::Status;
use zerocopy::IntoBytes;

use super::task::{Process, Restart, Signals, Task};
use super::{current, exit, job, table, vdso};
use crate::arch::fp::FpState;
use crate::arch::thread;
use crate::arch::trap::{Fault, FaultKind, TrapFrame};
use crate::mm::user;
use crate::sched::{self, WaitError};

/// What sending did, to be followed up without the lock.
#[derive(Default)]
struct Sent {
    resumed: bool,
}

/// Whether the signal would do nothing if it were delivered.
fn is_ignored(signals: &Signals, pid: u32, signal: Signal) -> bool {
    let handler = signals.actions[signal.index()].handler;
    // The first process is not ended by what it does not handle.
    let shielded = pid == table::INIT && handler == flags::SIG_DFL;
    handler == flags::SIG_IGN
        || handler == flags::SIG_DFL && signal.default_action() == Default::Ignore
        || shielded && !matches!(signal.default_action(), Default::Continue)
}

fn prepare(process: &Process, signals: &mut Signals, signal: Signal) -> Sent {
    let discard = |signals: &mut Signals, set: SigSet| {
        signals.pending.discard(set);
        signals.members.iter_mut().for_each(|member| member.pending.discard(set));
    };
    let mut sent = Sent::default();
    if SigSet::STOPS.contains(signal) {
        discard(signals, SigSet::of(Signal::CONT));
    }
    if signal == Signal::CONT || signal == Signal::KILL {
        if signal == Signal::CONT {
            discard(signals, SigSet::STOPS);
        }
        sent.resumed = signals.stopped.take().is_some();
        signals.standing = 0;
        process.resumed.wake_all();
    }
    sent
}

/// Sends a process a signal.
pub fn send(process: &Arc<Process>, info: &SigInfo) {
    let signal = info.signal;
    let mut signals = process.signals.lock();
    let sent = prepare(process, &mut signals, signal);
    let kept_by_all = signals.members.iter().all(|member| member.task.keeps(signal));
    if !is_ignored(&signals, process.pid, signal) || kept_by_all {
        signals.pending.push(info);
        if signal == Signal::KILL {
            signals.members.iter().for_each(|member| member.task.interrupt());
        } else if let Some(member) = signals.members.iter().find(|member| !member.task.mask().contains(signal)) {
            member.task.interrupt();
        }
    }
    drop(signals);
    if sent.resumed && signal == Signal::CONT {
        job::report_continued(process);
    }
}

/// Sends one thread a signal.
pub fn send_to_task(task: &Arc<Task>, info: &SigInfo) {
    let process = &task.process;
    let signal = info.signal;
    let mut signals = process.signals.lock();
    let sent = prepare(process, &mut signals, signal);
    if !is_ignored(&signals, process.pid, signal) || task.keeps(signal) {
        if let Some(member) = signals.member(task.tid) {
            member.pending.push(info);
        }
        if !task.mask().contains(signal) {
            task.interrupt();
        }
    }
    drop(signals);
    if sent.resumed && signal == Signal::CONT {
        job::report_continued(process);
    }
}

/// Makes the fault of the running program a signal that it cannot put off: if it blocks or ignores it, it ends.
pub fn force(task: &Arc<Task>, info: &SigInfo) {
    let mut signals = task.process.signals.lock();
    let set = SigSet::of(info.signal);
    let action = &mut signals.actions[info.signal.index()];
    if task.mask().contains(info.signal) || action.handler == flags::SIG_IGN {
        *action = SigAction::default();
        task.mask.store(task.mask().without(set).0, Ordering::SeqCst);
    }
    if let Some(member) = signals.member(task.tid) {
        member.pending.push(info);
    }
    drop(signals);
    task.interrupt();
}

/// The signal that a fault of a program becomes.
pub fn of_fault(fault: &Fault) -> SigInfo {
    let (signal, code) = match fault.kind {
        FaultKind::NotMapped => (Signal::SEGV, flags::SEGV_MAPERR),
        FaultKind::NotAllowed => (Signal::SEGV, flags::SEGV_ACCERR),
        FaultKind::BeyondEnd | FaultKind::Hardware => (Signal::BUS, flags::BUS_ADRERR),
        FaultKind::NoMemory => (Signal::KILL, flags::SI_KERNEL),
        FaultKind::Alignment => (Signal::BUS, flags::BUS_ADRALN),
        FaultKind::IllegalInstruction => (Signal::ILL, flags::ILL_ILLOPC),
        FaultKind::Breakpoint => (Signal::TRAP, flags::TRAP_BRKPT),
        FaultKind::FloatingPoint => (Signal::FPE, flags::FPE_FLTUNK),
    };
    SigInfo { signal, code, origin: Origin::Fault { address: fault.address } }
}

/// What a thread does next on its way to the program.
enum Next {
    Nothing,
    End(Status),
    Stand,
    Handle(SigInfo, SigAction),
    Default(SigInfo),
}

fn next(task: &Task) -> Next {
    let mut signals = task.process.signals.lock();
    if let Some(status) = signals.ending {
        return Next::End(status);
    }
    if signals.executing.is_some_and(|tid| tid != task.tid) {
        return Next::End(Status::Exited(0));
    }
    if signals.stopped.is_some() {
        return Next::Stand;
    }
    let wanted = SigSet(!task.mask().0);
    loop {
        let own = signals.member(task.tid).and_then(|member| member.pending.take(wanted));
        let Some(info) = own.or_else(|| signals.pending.take(wanted)) else { return Next::Nothing };
        let action = signals.actions[info.signal.index()];
        match action.handler {
            flags::SIG_IGN => {}
            flags::SIG_DFL => return Next::Default(info),
            _ => {
                if action.flags & flags::SA_RESETHAND != 0 {
                    signals.actions[info.signal.index()] = SigAction::default();
                }
                return Next::Handle(info, action);
            }
        }
    }
}

/// Called on the way to the program whenever the thread was interrupted: stands still, runs handlers, restarts calls. Gives the status
/// with which the thread is to end, if it is; the caller then gives up what it holds.
pub fn before_return(task: &Arc<Task>, frame: &mut TrapFrame, fault: &FaultRecord) -> Option<Status> {
    loop {
        match next(task) {
            Next::End(status) => return Some(status),
            Next::Stand => job::stand(task),
            Next::Handle(info, action) => {
                resume_call(task, frame, Some(&action));
                if deliver(task, frame, &info, &action, fault).is_err() {
                    // No room for the frame: what Linux does when the stack is gone.
                    exit::begin_end(&task.process, Status::Killed(Signal::SEGV));
                }
            }
            Next::Default(info) => default(task, info.signal),
            Next::Nothing => break,
        }
    }
    resume_call(task, frame, None);
    let saved = task.own.lock().saved_mask.take();
    if let Some(mask) = saved {
        task.set_mask(mask);
    }
    None
}

/// The fault record of a frame: address and syndrome, zero when the signal is not the program's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRecord {
    /// Where.
    pub address: u64,
    /// ESR_EL1.
    pub esr: u64,
}

fn default(task: &Arc<Task>, signal: Signal) {
    let process = &task.process;
    match signal.default_action() {
        Default::Ignore | Default::Continue => {}
        Default::Stop => {
            if signal != Signal::STOP && job::is_orphaned(process) {
                return;
            }
            job::begin_stop(process, signal);
        }
        Default::Terminate | Default::Core => {
            // What the first process does not handle does not end it, but for its own faults.
            exit::begin_end(process, Status::Killed(signal));
        }
    }
}

/// Ends or repeats the call that was interrupted. `handler` is the handler that is about to run, if any.
fn resume_call(task: &Task, frame: &mut TrapFrame, handler: Option<&SigAction>) {
    const INSTRUCTION: u64 = 4;
    let Some(Restart { code, argument }) = task.own.lock().restart.take() else { return };
    let again = match (code, handler) {
        (Errno::ERESTARTSYS, Some(action)) => action.flags & flags::SA_RESTART != 0,
        (Errno::ERESTARTNOHAND | Errno::ERESTARTBLOCK, Some(_)) => false,
        (_, _) => true,
    };
    if !again {
        frame.x[0] = Errno::EINTR.to_return();
        return;
    }
    frame.x[0] = argument;
    frame.pc = frame.pc.wrapping_sub(INSTRUCTION);
    if code == Errno::ERESTARTBLOCK {
        frame.x[8] = linux::nr::RESTART_SYSCALL as u64;
    }
}

fn context_of(frame: &TrapFrame, fault: &FaultRecord) -> Context {
    Context {
        regs: frame.x,
        sp: frame.sp,
        pc: frame.pc,
        pstate: frame.pstate,
        fault_address: fault.address,
        esr: fault.esr,
    }
}

/// The bytes of a signal frame with the thread's vector registers. They are large, and copying them to the user may bring pages in from a
/// disk: what they are made of is on the stack here only.
#[inline(never)]
fn frame_bytes(info: &SigInfo, mask: SigSet, stack: SigStack, context: &Context) -> Box<[u8]> {
    let state = thread::fp_state();
    let vectors = Vectors { fpsr: state.status as u32, fpcr: state.control as u32, v: state.v };
    Frame { info: *info, mask, stack, context: *context, vectors: &vectors }.to_bytes()[..].into()
}

/// Puts a frame on the user's stack and turns to the handler.
fn deliver(
    task: &Task,
    frame: &mut TrapFrame,
    info: &SigInfo,
    action: &SigAction,
    fault: &FaultRecord,
) -> Result<(), Errno> {
    let (stack, mask) = {
        let mut own = task.own.lock();
        (own.stack, own.saved_mask.take().unwrap_or(task.mask()))
    };
    let on_stack = stack.flags & flags::SS_DISABLE == 0 && stack.holds(frame.sp);
    let switch = action.flags & flags::SA_ONSTACK != 0 && stack.flags & flags::SS_DISABLE == 0 && !on_stack;
    let top = if switch { stack.base.wrapping_add(stack.size) } else { frame.sp };
    let placement = place(top).ok_or(Errno::EFAULT)?;
    if switch && placement.sp < stack.base {
        return Err(Errno::EFAULT);
    }
    let shown = SigStack { flags: if on_stack { stack.flags | flags::SS_ONSTACK } else { stack.flags }, ..stack };
    user::copy_out(placement.sp, &frame_bytes(info, mask, shown, &context_of(frame, fault)))?;
    user::copy_out(placement.record, [frame.x[29], frame.x[30]].as_bytes())?;

    let restorer = action.flags & flags::SA_RESTORER != 0;
    frame.x[0] = u64::from(info.signal.number());
    frame.x[1] = placement.sp;
    frame.x[2] = placement.ucontext;
    frame.x[29] = placement.record;
    frame.x[30] = if restorer { action.restorer } else { vdso::sigreturn_address(task)? };
    frame.sp = placement.sp;
    frame.pc = action.handler;
    // Linux clears BTYPE and the speculation bit; flags are of no meaning to a handler.
    frame.pstate = 0;
    let mut blocked = mask.union(action.mask);
    if action.flags & flags::SA_NODEFER == 0 {
        blocked = blocked.with(info.signal);
    }
    task.mask.store(blocked.without(SigSet::UNMASKABLE).0, Ordering::SeqCst);
    Ok(())
}

/// `rt_sigreturn`: puts everything back as the frame at sp says.
pub fn sigreturn(task: &Arc<Task>, frame: &mut TrapFrame) -> Result<(), Errno> {
    if !frame.sp.is_multiple_of(16) {
        return Err(Errno::EFAULT);
    }
    let mut bytes = alloc::vec![0; FRAME_USED];
    user::copy_in(&mut bytes, frame.sp)?;
    put_back(task, frame, bytes.first_chunk().ok_or(Errno::EFAULT)?)
}

/// What needs much of the stack, where nothing else does.
#[inline(never)]
fn put_back(task: &Task, frame: &mut TrapFrame, bytes: &[u8; FRAME_USED]) -> Result<(), Errno> {
    let restored = restore(bytes)?;
    let context = restored.context;
    frame.x = context.regs;
    (frame.sp, frame.pc, frame.pstate) = (context.sp, context.pc, context.pstate);
    let vectors = &restored.vectors;
    thread::set_fp_state(&FpState { v: vectors.v, status: vectors.fpsr.into(), control: vectors.fpcr.into() });
    let stack = restored.stack;
    let enabled = stack.flags & flags::SS_DISABLE == 0;
    task.own.lock().stack = if enabled { SigStack { flags: 0, ..stack } } else { SigStack::DISABLED };
    task.set_mask(restored.mask);
    Ok(())
}

/// Runs `wait` with another signal mask. If a signal ends the wait, the old mask comes back on the way to the program, behind the handler if
/// one runs; else now.
pub fn with_mask<T>(task: &Task, mask: Option<SigSet>, wait: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let Some(mask) = mask else { return wait() };
    let old = task.mask();
    task.set_mask(mask);
    let result = wait();
    match &result {
        Err(error) if error.is_restart() => task.own.lock().saved_mask = Some(old),
        _ => task.set_mask(old),
    }
    result
}

/// Takes a signal of `wanted` without its handler (`sigtimedwait`), waiting for one.
pub fn wait_for(task: &Task, wanted: SigSet, deadline: Option<Duration>) -> Result<SigInfo, WaitError> {
    let take = || {
        let mut signals = task.process.signals.lock();
        let own = signals.member(task.tid).and_then(|member| member.pending.take(wanted));
        own.or_else(|| signals.pending.take(wanted))
    };
    // Those that are waited for end the sleep as if they were not blocked; nothing of them is delivered meanwhile.
    let old = task.mask();
    task.waited.store(wanted.0, Ordering::SeqCst);
    task.mask.store(old.without(wanted).0, Ordering::SeqCst);
    let result = match sched::wait_any(&[], take, deadline, true) {
        Err(WaitError::Interrupted) => take().ok_or(WaitError::Interrupted),
        other => other,
    };
    task.mask.store(old.0, Ordering::SeqCst);
    task.waited.store(0, Ordering::SeqCst);
    result
}

/// `sigaction`
pub fn set_action(process: &Process, signal: Signal, new: Option<SigAction>) -> Result<SigAction, Errno> {
    let mut signals = process.signals.lock();
    let old = signals.actions[signal.index()];
    let Some(mut action) = new else { return Ok(old) };
    if SigSet::UNMASKABLE.contains(signal) {
        return Err(Errno::EINVAL);
    }
    action.mask = action.mask.without(SigSet::UNMASKABLE);
    signals.actions[signal.index()] = action;
    // A signal that is now ignored is no longer pending (POSIX.1-2017, 2.4.3).
    let default_ignores = action.handler == flags::SIG_DFL && signal.default_action() == Default::Ignore;
    if action.handler == flags::SIG_IGN || default_ignores {
        let set = SigSet::of(signal);
        signals.pending.discard(set);
        signals.members.iter_mut().for_each(|member| member.pending.discard(set));
    }
    Ok(old)
}

/// `sigaltstack`
pub fn set_stack(task: &Task, sp: u64, new: Option<SigStack>) -> Result<SigStack, Errno> {
    let mut own = task.own.lock();
    let on_stack = own.stack.flags & flags::SS_DISABLE == 0 && own.stack.holds(sp);
    let old = SigStack { flags: own.stack.flags | if on_stack { flags::SS_ONSTACK } else { 0 }, ..own.stack };
    if let Some(new) = new {
        if on_stack {
            return Err(Errno::EPERM);
        }
        let mode = new.flags & !flags::SS_AUTODISARM;
        own.stack = match mode {
            flags::SS_DISABLE => SigStack::DISABLED,
            0 | flags::SS_ONSTACK if new.size < flags::MINSIGSTKSZ => return Err(Errno::ENOMEM),
            0 | flags::SS_ONSTACK => SigStack { flags: new.flags & flags::SS_AUTODISARM, ..new },
            _ => return Err(Errno::EINVAL),
        };
    }
    Ok(old)
}

/// Where a signal that the caller sends comes from.
pub fn from_caller(signal: Signal, code: i32) -> SigInfo {
    let task = current();
    let origin = Origin::Process { pid: task.process.pid, uid: task.process.credentials().uid, value: 0 };
    SigInfo { signal, code, origin }
}
