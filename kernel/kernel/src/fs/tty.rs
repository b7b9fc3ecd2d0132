//! Terminals: a line, its discipline, and the session that it controls.
//!
//! What a line receives arrives in an interrupt, which only puts it into a ring and wakes the terminal thread; editing, echo and
//! signals happen there, so no lock of this file is taken by an interrupt handler but the ring's.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use ldisc::{Discipline, Read, Settings, TerminalSignal, cc, flags};
use linux::Errno;
use linux::flags::*;
use linux::signal::{SigInfo, Signal};
use linux::types::{Termios, Winsize};

use vfs::{Sink, Source};

use super::Kernel;
use super::devices::SERIAL;
use crate::arch::timer;
use crate::drivers;
use crate::mm::user;
use crate::process::{current, job};
use crate::sched::{self, WaitQueue};
use crate::sync::{Once, Rank, SpinLock};

/// Bytes of a line that wait for the terminal thread.
const RING_MAX: usize = 1024;
/// Bytes that a program's write is cut into.
const CHUNK: usize = 256;

/// Where a terminal's output goes.
pub trait Line: Send + Sync {
    /// Sends bytes; false when there is no room and the caller must wait.
    fn transmit(&self, bytes: &[u8]) -> bool;
    /// Whether bytes can be sent now.
    fn has_room(&self) -> bool;
}

/// Who uses the terminal.
#[derive(Clone, Copy, Default)]
struct Owner {
    session: Option<u32>,
    foreground: Option<u32>,
    size: Winsize,
}

/// One terminal.
pub struct Terminal {
    discipline: SpinLock<Discipline>,
    owner: SpinLock<Owner>,
    /// Woken when it may have become readable or writable.
    changed: WaitQueue,
    line: Box<dyn Line>,
    /// Times that it was hung up.
    hang_ups: AtomicU32,
    /// Device number.
    pub device: u64,
}

/// An open terminal.
pub struct OpenTerminal {
    terminal: Arc<Terminal>,
    /// What `hang_ups` was when it was opened; `None` when it outlives them, as the system console does.
    opened_at: Option<u32>,
}

impl OpenTerminal {
    /// Opened by a session: good until the terminal is hung up.
    pub fn of_session(terminal: Arc<Terminal>) -> Self {
        let opened_at = Some(terminal.hang_ups.load(Ordering::Acquire));
        Self { terminal, opened_at }
    }

    /// Opened by the system: good for ever.
    pub fn of_system(terminal: Arc<Terminal>) -> Self {
        Self { terminal, opened_at: None }
    }

    /// The terminal was hung up since: who is not of the session that came then must neither read nor write there.
    fn is_gone(&self) -> bool {
        self.opened_at.is_some_and(|count| count != self.terminal.hang_ups.load(Ordering::Acquire))
    }
}

struct Ring {
    bytes: VecDeque<u8>,
}

static CONSOLE: Once<Arc<Terminal>> = Once::new();

/// The terminal on the board's serial line.
pub fn console() -> &'static Arc<Terminal> {
    CONSOLE.get_or_init(|| Terminal::new(Box::new(SerialLine), SERIAL, (24, 80)))
}

/// Starts the console's terminal: from now on what the line receives goes to it.
pub fn start_console() {
    sched::spawn_kernel("console", || serve_console(console()));
    drivers::console::set_input(receive_in_interrupt);
}

static RING: SpinLock<Ring> = SpinLock::new(Rank::TERMINAL, Ring { bytes: VecDeque::new() });
static ARRIVED: WaitQueue = WaitQueue::new();

/// Takes bytes that the console's line received. For its interrupt handler; what does not fit is lost, as on any line.
pub fn receive_in_interrupt(bytes: &[u8]) {
    let mut ring = RING.lock_irq();
    for &byte in bytes {
        if ring.bytes.len() < RING_MAX {
            ring.bytes.push_back(byte);
        }
    }
    drop(ring);
    ARRIVED.wake_one();
}

/// The terminal thread: edits what the console's line received.
pub fn serve_console(terminal: &Arc<Terminal>) -> ! {
    RING.lock_irq().bytes.reserve(RING_MAX);
    loop {
        let byte = ARRIVED.wait_until(|| RING.lock_irq().bytes.pop_front(), None, false);
        if let Ok(byte) = byte {
            terminal.receive(&[byte]);
        }
    }
}

/// The board's serial line.
pub struct SerialLine;

impl Line for SerialLine {
    fn transmit(&self, bytes: &[u8]) -> bool {
        drivers::console::write(bytes);
        true
    }

    fn has_room(&self) -> bool {
        true
    }
}

impl Terminal {
    /// A fresh terminal on `line`.
    pub fn new(line: Box<dyn Line>, device: u64, size: (u16, u16)) -> Arc<Self> {
        let size = Winsize { rows: size.0, columns: size.1, x_pixels: 0, y_pixels: 0 };
        Arc::new(Self {
            discipline: SpinLock::new(Rank::FILE, Discipline::default()),
            owner: SpinLock::new(Rank::FILE, Owner { size, ..Owner::default() }),
            changed: WaitQueue::new(),
            line,
            hang_ups: AtomicU32::new(0),
            device,
        })
    }

    /// Edits what the line received: echo goes out, keys that mean signals send them.
    pub fn receive(&self, bytes: &[u8]) {
        let mut echo = Vec::new();
        for &byte in bytes {
            echo.clear();
            let received = self.discipline.lock().receive(byte, &mut |byte| echo.push(byte));
            self.line.transmit(&echo);
            if let Some(signal) = received.signal {
                self.signal_foreground(match signal {
                    TerminalSignal::Interrupt => Signal::INT,
                    TerminalSignal::Quit => Signal::QUIT,
                    TerminalSignal::Suspend => Signal::TSTP,
                });
            }
            if received.readable || received.resumed || received.signal.is_some() {
                self.changed.wake_all();
            }
        }
    }

    fn signal_foreground(&self, signal: Signal) {
        let group = self.owner.lock().foreground;
        if let Some(group) = group {
            let _ = job::signal_group(group, &SigInfo::kernel(signal));
        }
    }

    /// Makes it the controlling terminal of a session whose leader's group is `group`.
    pub fn control(&self, session: u32, group: u32) -> Result<(), Errno> {
        let mut owner = self.owner.lock();
        match owner.session {
            Some(other) if other != session => Err(Errno::EPERM),
            _ => {
                (owner.session, owner.foreground) = (Some(session), Some(group));
                Ok(())
            }
        }
    }

    /// The session lets go of it. Gives the group that was in the foreground.
    pub fn release(&self, session: u32) -> Option<u32> {
        let mut owner = self.owner.lock();
        if owner.session != Some(session) {
            return None;
        }
        owner.session = None;
        owner.foreground.take()
    }

    /// Whoever has it open gets end of file from now on, and what was typed is forgotten: it was meant for them.
    pub fn hang_up(&self) {
        self.hang_ups.fetch_add(1, Ordering::AcqRel);
        self.discipline.lock().flush();
        self.changed.wake_all();
    }

    /// The group in the foreground, when it is `session`'s terminal.
    pub fn foreground(&self, session: u32) -> Option<u32> {
        let owner = self.owner.lock();
        if owner.session == Some(session) { owner.foreground } else { None }
    }

    fn settings(&self) -> Settings {
        *self.discipline.lock().settings()
    }

    fn set(&self, settings: Settings, flush: bool) {
        let mut discipline = self.discipline.lock();
        if flush {
            discipline.flush();
        }
        discipline.set(settings);
        drop(discipline);
        self.changed.wake_all();
    }

    fn read(&self, output: &mut dyn Sink, flags_now: u32, is_gone: &dyn Fn() -> bool) -> Result<usize, Errno> {
        if output.room() == 0 {
            return Ok(0);
        }
        job::may_use(self, Signal::TTIN)?;
        let mut buffer = vec![0; output.room().min(ldisc::INPUT_MAX)];
        let mut done = 0;
        loop {
            let wanted = output.room().min(buffer.len());
            let (read, settings) = {
                let mut discipline = self.discipline.lock();
                (discipline.read(&mut buffer[..wanted]), *discipline.settings())
            };
            let canonical = settings.local(flags::ICANON);
            let (least, time) = (usize::from(settings.cc[cc::VMIN]), settings.cc[cc::VTIME]);
            if let Read::Bytes(count) = read {
                done += output.put(&buffer[..count])?;
                if canonical || done >= least || output.room() == 0 {
                    return Ok(done);
                }
                continue;
            }
            if is_gone() {
                return Ok(done);
            }
            if !canonical && least == 0 && time == 0 {
                return Ok(done);
            }
            if flags_now & O_NONBLOCK != 0 {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
            }
            // TIME counts tenths of a second: from the start of the read when MIN is 0, else between bytes (termios(3)).
            let timed = !canonical && time != 0 && (least == 0 || done > 0);
            let deadline = timed.then(|| timer::now() + Duration::from_millis(u64::from(time) * 100));
            let waited = self.changed.wait_until(|| (self.has_bytes() || is_gone()).then_some(()), deadline, true);
            match waited {
                Ok(()) => job::may_use(self, Signal::TTIN)?,
                Err(_) if done > 0 => return Ok(done),
                Err(crate::sched::WaitError::TimedOut) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn has_bytes(&self) -> bool {
        self.discipline.lock().has_input()
    }

    fn write(&self, input: &mut dyn Source, flags_now: u32, is_gone: &dyn Fn() -> bool) -> Result<usize, Errno> {
        if self.settings().local(flags::TOSTOP) {
            job::may_use(self, Signal::TTOU)?;
        }
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while input.left() > 0 {
            if is_gone() {
                return Err(Errno::EIO);
            }
            let ready = || (is_gone() || self.can_write()).then_some(());
            if ready().is_none() {
                if flags_now & O_NONBLOCK != 0 {
                    return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
                }
                if let Err(error) = self.changed.wait_until(ready, None, true) {
                    return if done > 0 { Ok(done) } else { Err(error.into()) };
                }
            }
            let count = match input.take(&mut chunk) {
                Ok(count) => count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let mut processed = Vec::with_capacity(count + 16);
            self.discipline.lock().write(&chunk[..count], &mut |byte| processed.push(byte));
            self.line.transmit(&processed);
            done += count;
        }
        Ok(done)
    }

    fn can_write(&self) -> bool {
        !self.discipline.lock().stopped() && self.line.has_room()
    }

    /// `POLL*` bits that hold now.
    fn poll(&self) -> u16 {
        let mut events = 0;
        if self.discipline.lock().readable() {
            events |= POLLIN | POLLRDNORM;
        }
        if self.can_write() {
            events |= POLLOUT | POLLWRNORM;
        }
        events
    }

    fn ioctl(self: &Arc<Self>, request: u32, argument: u64) -> Result<u64, Errno> {
        match request {
            TCGETS => user::write(argument, &to_termios(&self.settings()))?,
            TCSETS | TCSETSW | TCSETSF => {
                job::may_use(self, Signal::TTOU)?;
                let termios: Termios = user::read(argument)?;
                self.set(from_termios(&termios), request == TCSETSF);
            }
            TIOCGWINSZ => {
                let size = self.owner.lock().size;
                user::write(argument, &size)?;
            }
            TIOCSWINSZ => {
                let size: Winsize = user::read(argument)?;
                let old = core::mem::replace(&mut self.owner.lock().size, size);
                if old != size {
                    self.signal_foreground(Signal::WINCH);
                }
            }
            FIONREAD => {
                let count = self.discipline.lock().available() as u32;
                user::write(argument, &count)?;
            }
            TIOCOUTQ => user::write(argument, &0u32)?,
            TCFLSH => {
                job::may_use(self, Signal::TTOU)?;
                match argument {
                    0 | 2 => self.discipline.lock().flush(),
                    1 => {}
                    _ => return Err(Errno::EINVAL),
                }
            }
            TCXONC => {
                let stop = match argument {
                    0 => true,
                    1 => false,
                    2 | 3 => return Ok(0),
                    _ => return Err(Errno::EINVAL),
                };
                self.discipline.lock().set_stopped(stop);
                self.changed.wake_all();
            }
            // Output is sent at once, so it has always drained.
            TCSBRK | TCSBRKP => job::may_use(self, Signal::TTOU)?,
            _ => return self.session_ioctl(request, argument),
        }
        Ok(0)
    }

    fn session_ioctl(self: &Arc<Self>, request: u32, argument: u64) -> Result<u64, Errno> {
        let task = current();
        let session = job::session_of(&task.process);
        match request {
            TIOCSCTTY => job::take_terminal(&task.process, self)?,
            TIOCNOTTY => job::drop_terminal(&task.process, self)?,
            TIOCGPGRP => {
                let group = self.foreground(session).ok_or(Errno::ENOTTY)?;
                user::write(argument, &group)?;
            }
            TIOCGSID => {
                if self.owner.lock().session != Some(session) {
                    return Err(Errno::ENOTTY);
                }
                user::write(argument, &session)?;
            }
            TIOCSPGRP => {
                if self.owner.lock().session != Some(session) {
                    return Err(Errno::ENOTTY);
                }
                job::may_use(self, Signal::TTOU)?;
                let group: i32 = user::read(argument)?;
                let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
                if job::session_of_group(group).ok_or(Errno::ESRCH)? != session {
                    return Err(Errno::EPERM);
                }
                self.owner.lock().foreground = Some(group);
            }
            TIOCSTI => {
                let byte: u8 = user::read(argument)?;
                if task.process.credentials().euid != 0 {
                    return Err(Errno::EPERM);
                }
                self.receive(&[byte]);
            }
            TIOCEXCL | TIOCCONS => {}
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}

impl vfs::File<Kernel> for OpenTerminal {
    fn read(&self, _offset: u64, to: &mut dyn Sink, flags: u32) -> Result<(), Errno> {
        self.terminal.read(to, flags, &|| self.is_gone()).map(|_| ())
    }

    fn write(&self, _offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        self.terminal.write(from, flags, &|| self.is_gone()).map(|_| 0)
    }

    fn poll<'a>(&'a self, watch: Option<&mut dyn vfs::Watch<'a, Kernel>>) -> u16 {
        if let Some(watch) = watch {
            watch.on(&self.terminal.changed);
        }
        let everything = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLHUP | POLLERR;
        if self.is_gone() { everything } else { self.terminal.poll() }
    }

    fn ioctl(&self, request: u32, argument: u64, _flags: u32) -> Result<u64, Errno> {
        if self.is_gone() {
            return Err(Errno::EIO);
        }
        self.terminal.ioctl(request, argument)
    }

    fn as_any(&self) -> Option<&(dyn core::any::Any + Send + Sync)> {
        Some(self)
    }
}

fn to_termios(settings: &Settings) -> Termios {
    Termios {
        iflag: settings.input,
        oflag: settings.output,
        cflag: settings.control,
        lflag: settings.local,
        line: settings.line,
        cc: settings.cc,
    }
}

fn from_termios(termios: &Termios) -> Settings {
    Settings {
        input: termios.iflag,
        output: termios.oflag,
        control: termios.cflag,
        local: termios.lflag,
        line: termios.line,
        cc: termios.cc,
    }
}
