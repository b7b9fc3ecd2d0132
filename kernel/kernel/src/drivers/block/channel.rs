//! A virtqueue of requests: what is in flight, who waits for it, and until when.
//!
//! Invariants
//! - A cell is memory for one request's header, parameters and answer. It is free, in flight, or has ended and waits for its owner.
//! - `queue` has a chain in flight ⇔ `cell_of` of its head names a cell that is in flight.
//! - The device uses a cell's memory and the pages of its request only while it is in flight. It is taken out of flight by its answer, or by
//!   a reset; where the device does not even confirm the reset, it ends as [`Ended::Lost`] and its owner gives the pages up for good.
//! - While anything is in flight a timer watches, so whoever waits is woken by then at the latest.
//! - A request needs no memory but its pages: it must not fail because of what is written to make memory free.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use platform::ArrayVec;
use virtio::outcome::Outcome;
use virtio::queue::{Buffer, Layout, Queue};
use virtio::{Doorbell, Error};

use crate::arch::timer as clock;
use crate::drivers::dma::Dma;
use crate::drivers::virtio::SharedTransport;
use crate::drivers::wires::Wires;
use crate::mm::PageRef;
use crate::sched::{WaitQueue, timer};
use crate::sync::{Rank, SpinLock};
use crate::{boot, event};

/// Requests in flight at once.
pub const CELLS: usize = 64;
/// Pieces of data in one request.
pub const SEGMENTS_MAX: usize = 64;
/// Descriptors of the queue, where the device has so many.
const QUEUE_SIZE: usize = 256;
/// Descriptors of a request beside those of its data: header, parameters, answer.
const FRAME_DESCRIPTORS: usize = 3;

/// A cell: header, parameters, answer.
const CELL_LENGTH: usize = 256;
const PARAMETERS: usize = 64;
const ANSWER: usize = 96;
const _: () = assert!(virtio::scsi::REQUEST_LENGTH <= PARAMETERS && PARAMETERS + PARAMETERS_MAX <= ANSWER);
const _: () = assert!(ANSWER + ANSWER_MAX <= CELL_LENGTH);
/// Longest parameters and longest answer.
const PARAMETERS_MAX: usize = 32;
pub const ANSWER_MAX: usize = virtio::scsi::ANSWER_LENGTH;

/// A request that has no answer after this time never will have one. `swift.block.deadline=SECONDS` on the command line makes it another.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a device without interrupts is looked at while a request is in flight.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How often the status is read while a device that failed is reset; interrupts are masked meanwhile.
const RESET_READS_MAX: u32 = 20_000;

/// What goes to the device and comes back beside the data.
#[derive(Debug)]
pub struct Command {
    /// Which request.
    pub header: ArrayVec<u8, PARAMETERS>,
    /// What it is about, when that is no data: a range.
    pub parameters: ArrayVec<u8, PARAMETERS_MAX>,
}

/// The data of a request.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// At most [`SEGMENTS_MAX`].
    pub pages: &'a [PageRef],
    /// Bytes: all of the pages but the last are used whole.
    pub length: usize,
    /// The device writes them.
    pub device_writes: bool,
}

/// How a kind of device answers.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Bytes of an answer.
    pub answer_length: usize,
    /// The answer stands before data that the device writes, else behind.
    pub is_answer_first: bool,
    /// What the device says of how much it wrote may be more than all.
    pub has_false_lengths: bool,
    /// What an answer says, of which the device wrote `written` bytes in all where `wanted` were to be written.
    pub decode: fn(answer: &[u8; ANSWER_MAX], written: u32, wanted: u32) -> Outcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// The device answered.
    Answered(Outcome),
    /// The device failed and has been reset.
    Reset,
    /// The device failed and may still use the memory: its pages must never be used again.
    Lost,
}

/// The device has failed; nothing is sent to it any more.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

/// A request that was sent, to be waited for.
#[derive(Debug)]
#[must_use = "the device uses the pages of the request until it has been waited for"]
pub struct Cell(u8);

#[derive(Clone, Copy)]
enum CellState {
    Free,
    InFlight {
        /// Counter ticks.
        since: u64,
        /// Bytes for the device to write.
        wanted: u32,
    },
    Ended(Ended),
}

struct State {
    queue: Queue,
    /// [`CELLS`] of them.
    cells: Box<[CellState]>,
    /// By head of the chain.
    cell_of: Box<[u8]>,
    in_flight: u32,
    is_broken: bool,
    /// A timer is set that looks for a request without an answer.
    is_watched: bool,
    /// A timer is set that looks for answers, of a device without interrupts.
    is_polled: bool,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Most requests that were in flight at one time.
    pub in_flight_max: AtomicU64,
    /// Times that the device was told of requests.
    pub notifications: AtomicU64,
    /// Times that the device told of answers.
    pub interrupts: AtomicU64,
}

/// The queue of requests of one device.
pub struct Channel {
    /// In events.
    name: String,
    transport: SharedTransport,
    doorbell: Doorbell,
    manner: Manner,
    segment_length_max: u32,
    segments_max: usize,
    has_interrupts: AtomicBool,
    deadline: u64,
    memory: Dma,
    cells_offset: usize,
    state: SpinLock<State>,
    /// Woken for each cell: [`CELLS`].
    ended: Box<[WaitQueue]>,
    /// Who has nothing in flight and waits until something can be.
    room: WaitQueue,
    /// Counts since the start.
    pub counts: Counts,
}

impl core::fmt::Debug for Channel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Channel({})", self.name)
    }
}

/// What a channel is made of.
#[derive(Debug)]
pub struct Plan {
    /// In events.
    pub name: String,
    /// Of the transport.
    pub queue: u16,
    /// `EVENT_INDEX` was agreed.
    pub has_event_index: bool,
    /// How the device answers.
    pub manner: Manner,
    /// Most pieces of data that the device takes in one request.
    pub segments_max: u32,
    /// Most bytes of one piece.
    pub segment_length_max: u32,
}

impl Channel {
    /// Gives the device its queue.
    ///
    /// # Errors
    /// It has none, or too small a one; there is no memory.
    pub fn new(transport: SharedTransport, plan: Plan) -> Result<Arc<Self>, Error> {
        let largest = usize::from(transport.queue_size_max(plan.queue)).min(QUEUE_SIZE);
        // Room for one piece of data at least.
        let size = largest.checked_ilog2().map(|bits| 1_usize << bits).filter(|size| *size > FRAME_DESCRIPTORS);
        let size = size.ok_or(Error::NoQueue)?;
        let alignment = if transport.is_legacy() { virtio::mmio::LEGACY_PAGE as usize } else { 4 };
        let layout = Layout::new(size as u16, alignment);
        let cells_offset = layout.length.next_multiple_of(CELL_LENGTH);
        let memory = Dma::new(cells_offset + CELLS * CELL_LENGTH).ok_or(Error::QueueRefused)?;
        let doorbell = transport.set_queue(plan.queue, size as u16, &layout.addresses(memory.device_address()))?;
        let mut queue = Queue::new(layout, plan.has_event_index);
        if plan.manner.has_false_lengths {
            queue.allow_false_lengths();
        }
        let _ = queue.enable_interrupts(&memory);
        let seconds = boot::option("swift.block.deadline").and_then(|text| text.parse().ok());
        let deadline = seconds.filter(|seconds| *seconds > 0).map_or(DEADLINE, Duration::from_secs);
        Ok(Arc::new(Self {
            name: plan.name,
            transport,
            doorbell,
            manner: plan.manner,
            segment_length_max: plan.segment_length_max,
            segments_max: (plan.segments_max as usize).min(size - FRAME_DESCRIPTORS).min(SEGMENTS_MAX),
            has_interrupts: AtomicBool::new(false),
            deadline: clock::duration_to_ticks(deadline),
            memory,
            cells_offset,
            state: SpinLock::new(
                Rank::DEVICE,
                State {
                    queue,
                    cells: core::iter::repeat_n(CellState::Free, CELLS).collect(),
                    cell_of: core::iter::repeat_n(0, size).collect(),
                    in_flight: 0,
                    is_broken: false,
                    is_watched: false,
                    is_polled: false,
                },
            ),
            ended: core::iter::repeat_with(WaitQueue::new).take(CELLS).collect(),
            room: WaitQueue::new(),
            counts: Counts::default(),
        }))
    }

    /// Most pieces of data in one request.
    #[must_use]
    pub fn segments_max(&self) -> usize {
        self.segments_max
    }

    /// Calls `serve`, which calls [`Channel::serve`], when there are answers, and gives up a device that needs a reset. Returns the interrupt; without
    /// one the device is looked at by timer.
    pub fn listen(self: &Arc<Self>, wires: Wires, serve: impl Fn() + Send + Sync + 'static) -> Option<u32> {
        let channel = self.clone();
        let look = move || {
            if channel.transport.status() & virtio::status::NEEDS_RESET != 0 {
                channel.fail(format_args!("the device needs a reset"));
            }
        };
        let interrupt = wires.listen(&self.name, &self.transport, serve, look);
        self.has_interrupts.store(interrupt.is_some(), Ordering::Relaxed);
        interrupt
    }

    /// Requests that are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.state.lock_irq().in_flight
    }

    /// Whether the device has failed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state.lock_irq().is_broken
    }

    /// Sends a request, without telling the device: [`Channel::notify`] does. `None`: there is no room for it now.
    pub fn try_submit(self: &Arc<Self>, command: &Command, data: Data<'_>) -> Option<Result<Cell, Broken>> {
        let mut state = self.state.lock_irq();
        if state.is_broken {
            return Some(Err(Broken));
        }
        let cell = state.cells.iter().position(|cell| matches!(cell, CellState::Free))?;
        let buffers = self.lay_out(cell, command, data);
        // Full; what else could be is our own bug, for the limits were kept.
        let head = state.queue.add(&self.memory, &buffers).ok()?;
        let wanted = buffers.iter().filter(|buffer| buffer.device_writes).map(|buffer| buffer.length).sum();
        let since = clock::ticks();
        state.cell_of[usize::from(head)] = cell as u8;
        state.cells[cell] = CellState::InFlight { since, wanted };
        state.in_flight += 1;
        self.counts.in_flight_max.fetch_max(state.in_flight.into(), Ordering::Relaxed);
        if !state.is_watched {
            state.is_watched = true;
            self.watch(since);
        }
        Some(Ok(Cell(cell as u8)))
    }

    /// Sends a request as soon as there is room. Only for who has nothing in flight here: others wait for what they have.
    pub fn submit(self: &Arc<Self>, command: &Command, data: Data<'_>) -> Result<Cell, Broken> {
        let sent = self.room.wait_until(|| self.try_submit(command, data), None, false);
        sent.unwrap_or(Err(Broken))
    }

    /// Fills a cell, and says which memory the device is lent.
    fn lay_out(&self, cell: usize, command: &Command, data: Data<'_>) -> ArrayVec<Buffer, { SEGMENTS_MAX + 3 }> {
        let offset = self.cells_offset + cell * CELL_LENGTH;
        let base = self.memory.device_address() + offset as u64;
        let mut buffers = ArrayVec::new();
        let mut push = |address, length: usize, device_writes| {
            buffers.push(Buffer { address, length: length as u32, device_writes });
        };
        self.memory.put(offset, &command.header);
        push(base, command.header.len(), false);
        if !command.parameters.is_empty() {
            self.memory.put(offset + PARAMETERS, &command.parameters);
            push(base + PARAMETERS as u64, command.parameters.len(), false);
        }
        // No device answers with ones only.
        self.memory.put(offset + ANSWER, &[0xff; ANSWER_MAX][..self.manner.answer_length]);
        let answer = (base + ANSWER as u64, self.manner.answer_length, true);
        let is_answer_first = data.device_writes && self.manner.is_answer_first;
        if is_answer_first {
            push(answer.0, answer.1, answer.2);
        }
        self.pieces(data, |address, length| push(address, length, data.device_writes));
        if !is_answer_first {
            push(answer.0, answer.1, answer.2);
        }
        buffers
    }

    /// The data as pieces; pages that lie side by side are one.
    fn pieces(&self, data: Data<'_>, mut piece: impl FnMut(u64, usize)) {
        let mut left = data.length;
        let mut open: Option<(u64, usize)> = None;
        for page in data.pages {
            let length = left.min(vfs::PAGE_SIZE);
            left -= length;
            open = match open {
                Some((start, before))
                    if start + before as u64 == page.physical()
                        && before + length <= self.segment_length_max as usize =>
                {
                    Some((start, before + length))
                }
                other => {
                    if let Some((start, length)) = other {
                        piece(start, length);
                    }
                    Some((page.physical(), length))
                }
            };
        }
        if let Some((start, length)) = open {
            piece(start, length);
        }
    }

    /// Tells the device of what was sent, where it wants to know.
    pub fn notify(self: &Arc<Self>) {
        let wants = {
            let mut state = self.state.lock_irq();
            if !self.has_interrupts.load(Ordering::Relaxed) && !state.is_polled {
                state.is_polled = true;
                self.poll_later();
            }
            !state.is_broken && state.queue.should_notify(&self.memory)
        };
        if wants {
            self.counts.notifications.fetch_add(1, Ordering::Relaxed);
            self.transport.notify(self.doorbell);
        }
    }

    fn poll_later(self: &Arc<Self>) {
        let channel = self.clone();
        timer::at(clock::now() + POLL_INTERVAL, move || {
            channel.serve();
            let mut state = channel.state.lock_irq();
            state.is_polled = state.in_flight > 0;
            if state.is_polled {
                channel.poll_later();
            }
        })
        .detach();
    }

    /// Waits until a request has ended.
    pub fn wait(&self, cell: Cell) -> Ended {
        let index = usize::from(cell.0);
        let ended = self.ended[index].wait_until(|| self.take_ended(index), None, false);
        self.room.wake_all();
        ended.unwrap_or(Ended::Lost)
    }

    fn take_ended(&self, cell: usize) -> Option<Ended> {
        let mut state = self.state.lock_irq();
        let CellState::Ended(ended) = state.cells[cell] else { return None };
        state.cells[cell] = CellState::Free;
        Some(ended)
    }

    /// Takes the answers that are there. Called by the interrupt handler, or by timer.
    pub fn serve(&self) {
        self.counts.interrupts.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock_irq();
        let fault = loop {
            if state.is_broken {
                break None;
            }
            match state.queue.poll(&self.memory) {
                Ok(Some(done)) => {
                    let cell = state.cell_of[usize::from(done.head)];
                    self.end(&mut state, cell.into(), done.written);
                }
                // Answers that came before the wish for an interrupt bring none.
                Ok(None) if state.queue.enable_interrupts(&self.memory) => {}
                Ok(None) => break None,
                Err(virtio::queue::Error::Device(why)) => break Some(why),
                Err(_) => break Some("a queue without a chain"),
            }
        };
        drop(state);
        match fault {
            Some(why) => self.fail(format_args!("{why}")),
            None => _ = self.room.wake_all(),
        }
    }

    fn end(&self, state: &mut State, cell: usize, written: u32) {
        let CellState::InFlight { wanted, .. } = state.cells[cell] else { return };
        let mut answer = [0; ANSWER_MAX];
        let length = self.manner.answer_length;
        self.memory.get(self.cells_offset + cell * CELL_LENGTH + ANSWER, &mut answer[..length]);
        let outcome = (self.manner.decode)(&answer, written, wanted);
        state.cells[cell] = CellState::Ended(Ended::Answered(outcome));
        state.in_flight -= 1;
        self.ended[cell].wake_one();
    }

    /// Sets the timer that looks for a request without an answer when the one of `since` is due.
    fn watch(self: &Arc<Self>, since: u64) {
        let channel = self.clone();
        let due = clock::ticks_to_duration(since.saturating_add(self.deadline));
        timer::at(due, move || channel.look_for_overdue()).detach();
    }

    fn look_for_overdue(self: &Arc<Self>) {
        let mut state = self.state.lock_irq();
        let oldest = state.cells.iter().filter_map(|cell| match cell {
            CellState::InFlight { since, .. } => Some(*since),
            CellState::Free | CellState::Ended(_) => None,
        });
        match oldest.min() {
            Some(since) if clock::ticks().saturating_sub(since) >= self.deadline => {
                drop(state);
                let seconds = clock::ticks_to_duration(self.deadline).as_secs();
                self.fail(format_args!("no answer for {seconds} s"));
            }
            Some(since) => self.watch(since),
            None => state.is_watched = false,
        }
    }

    /// Gives the device up: it is reset, whatever is in flight ends, and nothing is sent any more.
    pub fn fail(&self, why: core::fmt::Arguments<'_>) {
        let mut state = self.state.lock_irq();
        if state.is_broken {
            return;
        }
        state.is_broken = true;
        let is_reset = virtio::reset(&*self.transport, RESET_READS_MAX).is_ok();
        let ended = if is_reset { Ended::Reset } else { Ended::Lost };
        for cell in state.cells.iter_mut().filter(|cell| matches!(cell, CellState::InFlight { .. })) {
            *cell = CellState::Ended(ended);
        }
        let requests = core::mem::take(&mut state.in_flight);
        drop(state);
        self.ended.iter().for_each(|ended| _ = ended.wake_all());
        self.room.wake_all();
        let reset = if is_reset { "done" } else { "refused" };
        event!("block.error", what = self.name, why = why, requests = requests, reset = reset);
    }
}
