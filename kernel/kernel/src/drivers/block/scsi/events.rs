//! The queue of events (5.6.6.3): buffers that the host fills when something happens to a unit. Each is lent again once it was read; while
//! none is lent the host remembers only that it missed something.

use virtio::queue::{Buffer, Layout, Queue};
use virtio::scsi::{EVENT_LENGTH, EVENT_QUEUE, Event};
use virtio::{Doorbell, Error};

use super::Told;
use crate::drivers::dma::Dma;
use crate::drivers::virtio::SharedTransport;
use crate::sync::{Rank, SpinLock};

/// Buffers, and descriptors of the queue.
pub const EVENTS: usize = 8;
/// From one buffer to the next.
const STEP: usize = 16;
const _: () = assert!(EVENT_LENGTH <= STEP);

/// The queue. Its memory is the device's for as long as the host is kept.
pub struct Events {
    transport: SharedTransport,
    doorbell: Doorbell,
    memory: Dma,
    buffers: usize,
    state: SpinLock<State>,
}

struct State {
    queue: Queue,
    /// By head of the chain: the buffer.
    buffer_of: [u8; EVENTS],
}

impl Events {
    /// Gives the device its queue.
    ///
    /// # Errors
    /// It has none, or too small a one; there is no memory.
    pub fn new(transport: SharedTransport, has_event_index: bool) -> Result<Self, Error> {
        let size = EVENTS as u16;
        if transport.queue_size_max(EVENT_QUEUE) < size {
            return Err(Error::NoQueue);
        }
        let alignment = if transport.is_legacy() { virtio::mmio::LEGACY_PAGE as usize } else { 4 };
        let layout = Layout::new(size, alignment);
        let buffers = layout.length.next_multiple_of(STEP);
        let memory = Dma::new(buffers + EVENTS * STEP).ok_or(Error::QueueRefused)?;
        let doorbell = transport.set_queue(EVENT_QUEUE, size, &layout.addresses(memory.device_address()))?;
        let queue = Queue::new(layout, has_event_index);
        let state = SpinLock::new(Rank::DEVICE, State { queue, buffer_of: [0; EVENTS] });
        Ok(Self { transport, doorbell, memory, buffers, state })
    }

    /// Lends the device every buffer; once, when it runs.
    pub fn lend_all(&self) {
        let mut state = self.state.lock_irq();
        (0..EVENTS as u8).for_each(|buffer| self.lend(&mut state, buffer));
        let _ = state.queue.enable_interrupts(&self.memory); // nothing was lent before, so nothing is used yet
        self.tell(state.queue.should_notify(&self.memory));
    }

    /// Takes the events that are there, and lends their buffers again. A device that breaks the protocol tells nothing any more.
    pub fn take(&self, told: &mut Told) {
        let mut state = self.state.lock_irq();
        while !told.is_full() {
            match state.queue.poll(&self.memory) {
                Ok(Some(done)) => {
                    let buffer = state.buffer_of[usize::from(done.head)];
                    let mut bytes = [0; EVENT_LENGTH];
                    self.memory.get(self.buffers + usize::from(buffer) * STEP, &mut bytes);
                    if done.written as usize == EVENT_LENGTH {
                        told.push(Event::parse(&bytes));
                    }
                    self.lend(&mut state, buffer);
                }
                // What came before the wish for an interrupt brings none.
                Ok(None) if state.queue.enable_interrupts(&self.memory) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.tell(state.queue.should_notify(&self.memory));
    }

    fn lend(&self, state: &mut State, buffer: u8) {
        let address = self.memory.device_address() + (self.buffers + usize::from(buffer) * STEP) as u64;
        let lent = Buffer { address, length: EVENT_LENGTH as u32, device_writes: true };
        // As many buffers as descriptors: refused only after the device broke the protocol.
        if let Ok(head) = state.queue.add(&self.memory, &[lent]) {
            state.buffer_of[usize::from(head)] = buffer;
        }
    }

    fn tell(&self, wants: bool) {
        if wants {
            self.transport.notify(self.doorbell);
        }
    }
}
