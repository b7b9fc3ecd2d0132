//! virtio-rng (VIRTIO 1.2, 5.4): one queue; the device fills whatever buffer it is lent.
//!
//! A request is made when the device is found and collected once the rest of the boot is done, so nobody waits for it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use virtio::queue::{Buffer, Layout, Queue};
use virtio::{Error, Transport};

use super::dma::Dma;
use super::virtio::Way;
use crate::arch::timer;
use crate::event;
use crate::random;
use crate::sync::{Rank, SpinLock};

/// Descriptors: one buffer is lent at a time.
const QUEUE_SIZE: u16 = 4;
const REQUEST_LENGTH: usize = 64;
/// A device that has not answered by then is given up.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(500);

static DEVICES: SpinLock<Vec<Device>> = SpinLock::new(Rank::DEVICE, Vec::new());

struct Device {
    /// Stops the device before its memory goes.
    transport: Reset,
    name: &'static str,
    queue: Queue,
    memory: Dma,
    buffer: usize,
}

/// A transport whose device is reset when it goes, and so forgets the memory that it was lent.
struct Reset(Box<dyn Transport + Send>);

impl Drop for Reset {
    fn drop(&mut self) {
        self.0.set_status(0);
    }
}

/// Set up an entropy device and lend it a buffer.
pub fn start(transport: Box<dyn Transport + Send>, way: Way) {
    let name = match way {
        Way::Pci => "virtio-rng-pci",
        Way::Mmio => "virtio-rng-mmio",
    };
    match setup(transport, name) {
        Ok(device) => DEVICES.lock().push(device),
        Err(error) => event!("virtio.error", what = name, why = error),
    }
}

fn setup(transport: Box<dyn Transport + Send>, name: &'static str) -> Result<Device, Error> {
    let transport = Reset(transport);
    virtio::negotiate(&*transport.0, 0)?;
    let alignment = if transport.0.is_legacy() { virtio::mmio::LEGACY_PAGE as usize } else { 4 };
    let layout = Layout::new(QUEUE_SIZE, alignment);
    let buffer = layout.length.next_multiple_of(64);
    let memory = Dma::new(buffer + REQUEST_LENGTH).ok_or(Error::QueueRefused)?;
    let doorbell = transport.0.set_queue(0, QUEUE_SIZE, &layout.addresses(memory.device_address()))?;
    virtio::start(&*transport.0);
    let mut queue = Queue::new(layout, false);
    let lent =
        Buffer { address: memory.device_address() + buffer as u64, length: REQUEST_LENGTH as u32, device_writes: true };
    queue.add(&memory, &[lent]).map_err(|_| Error::QueueRefused)?;
    transport.0.notify(doorbell);
    Ok(Device { transport, name, queue, memory, buffer })
}

/// Take what the devices delivered into the entropy pool, and let the devices go.
pub fn collect() {
    let devices = core::mem::take(&mut *DEVICES.lock());
    let deadline = timer::now() + ANSWER_TIME_MAX;
    for mut device in devices {
        let answer = loop {
            match device.queue.poll(&device.memory) {
                Ok(None) if timer::now() < deadline => core::hint::spin_loop(),
                answer => break answer,
            }
        };
        match answer {
            Ok(Some(done)) => {
                let mut bytes = [0; REQUEST_LENGTH];
                let bytes = &mut bytes[..(done.written as usize).min(REQUEST_LENGTH)];
                device.memory.take(device.buffer, bytes);
                random::add_source(device.name, bytes);
            }
            Ok(None) => event!("virtio.error", what = device.name, why = "no answer"),
            Err(error) => event!("virtio.error", what = device.name, why = format_args!("{error:?}")),
        }
        drop(device.transport);
    }
}
