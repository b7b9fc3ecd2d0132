use super::*;
use crate::model::{Descriptor, Device, SharedMemory};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const N: usize = 8;

fn setup() -> (Queue, SharedMemory, Device) {
    with_event_index(false)
}

fn with_event_index(has_event_index: bool) -> (Queue, SharedMemory, Device) {
    let layout = Layout::new(N as u16, 4);
    (Queue::new(layout, has_event_index), SharedMemory::new(layout.length), Device::new(layout, N as u16))
}

fn read(address: u64, length: u32) -> Buffer {
    Buffer { address, length, device_writes: false }
}

fn write(address: u64, length: u32) -> Buffer {
    Buffer { address, length, device_writes: true }
}

#[test]
fn layout_matches_the_specification() {
    // 2.7: 16·N, 6 + 2·N, 6 + 8·N; 2.7.2: the legacy used ring starts on a page.
    assert_eq!(Layout::new(8, 4), Layout { size: 8, available: 128, used: 152, length: 152 + 6 + 64 });
    let legacy = Layout { size: 256, available: 4096, used: 8192, length: 8192 + 6 + 2048 };
    assert_eq!(Layout::new(256, 4096), legacy);
}

#[test]
fn a_chain_goes_out_and_comes_back() {
    let (mut queue, memory, device) = setup();
    let head = queue.add(&memory, &[read(0x1000, 16), write(0x2000, 512), write(0x3000, 1)]).unwrap();
    let (seen, chain) = device.next(&memory).unwrap();
    assert_eq!(seen, head);
    let expected = [(0x1000, 16, false), (0x2000, 512, true), (0x3000, 1, true)];
    assert_eq!(chain, expected.map(|(address, length, writable)| Descriptor { address, length, writable }));
    assert_eq!(queue.poll(&memory), Ok(None));
    device.give_back(&memory, head.into(), 513);
    assert_eq!(queue.poll(&memory), Ok(Some(Completion { head, written: 513 })));
    assert_eq!((queue.poll(&memory), queue.free()), (Ok(None), N));
}

#[test]
fn refuses_what_does_not_fit() {
    let (mut queue, memory, _) = setup();
    assert_eq!(queue.add(&memory, &[]), Err(Error::BadChain));
    assert_eq!(queue.add(&memory, &[read(0, 1); N + 1]), Err(Error::BadChain));
    assert_eq!(queue.add(&memory, &[write(0, 1), read(0, 1)]), Err(Error::BadChain));
    queue.add(&memory, &[read(0, 1); N - 1]).unwrap();
    assert_eq!(queue.add(&memory, &[read(0, 1); 2]), Err(Error::Full));
    assert_eq!(queue.free(), 1);
}

#[test]
fn a_queue_may_be_smaller_than_the_device_offers() {
    let layout = Layout::new(4, 4);
    let (mut queue, memory) = (Queue::new(layout, false), SharedMemory::new(layout.length));
    let device = Device::new(layout, 4);
    assert_eq!(queue.add(&memory, &[read(0, 1); 5]), Err(Error::BadChain));
    for _ in 0..20 {
        let head = queue.add(&memory, &[read(0, 1); 4]).unwrap();
        assert_eq!((queue.free(), device.next(&memory).unwrap().1.len()), (0, 4));
        device.give_back(&memory, head.into(), 0);
        assert_eq!(queue.poll(&memory), Ok(Some(Completion { head, written: 0 })));
    }
}

#[test]
fn device_can_ask_for_silence() {
    let (mut queue, memory, _) = setup();
    assert!(!queue.should_notify(&memory), "nothing was added");
    queue.add(&memory, &[write(0, 1)]).unwrap();
    assert!(queue.should_notify(&memory));
    assert!(!queue.should_notify(&memory), "it has been told");
    memory.write16(Layout::new(N as u16, 4).used, 1);
    queue.add(&memory, &[write(0, 1)]).unwrap();
    assert!(!queue.should_notify(&memory));
}

#[test]
fn driver_can_ask_for_silence() {
    let (mut queue, memory, device) = setup();
    let flags = Layout::new(N as u16, 4).available;
    queue.disable_interrupts(&memory);
    assert_eq!(memory.read16(flags), 1);
    assert!(!queue.enable_interrupts(&memory));
    assert_eq!(memory.read16(flags), 0);
    let head = queue.add(&memory, &[write(0, 1)]).unwrap();
    device.give_back(&memory, head.into(), 0);
    assert!(queue.enable_interrupts(&memory), "what is there already brings no interrupt");
}

/// The device waits for the available index to go past one that it names (2.7.10.1), through the wrap at 65536 too.
#[test]
fn device_is_told_when_its_index_is_passed() {
    let (mut queue, memory, device) = with_event_index(true);
    let layout = Layout::new(N as u16, 4);
    let event = layout.used + 4 + 8 * N;
    for round in 0..70_000_u32 {
        let index = round as u16;
        // It waits for this one, for the one after it, for the one before, for one far ahead.
        let (names, expected) =
            [(index, true), (index.wrapping_add(1), false), (index.wrapping_sub(1), false)][round as usize % 3];
        memory.write16(event, names);
        let head = queue.add(&memory, &[write(0, 1)]).unwrap();
        assert_eq!(queue.should_notify(&memory), expected, "{round}");
        device.next(&memory).unwrap();
        device.give_back(&memory, head.into(), 0);
        assert!(queue.poll(&memory).unwrap().is_some());
    }
}

#[test]
fn one_notification_for_several_buffers() {
    let (mut queue, memory, _) = with_event_index(true);
    for _ in 0..3 {
        queue.add(&memory, &[write(0, 1)]).unwrap();
    }
    assert!(queue.should_notify(&memory), "the device waits for the first of the three");
    assert!(!queue.should_notify(&memory));
}

#[test]
fn interrupts_are_asked_for_by_index() {
    let (mut queue, memory, device) = with_event_index(true);
    let layout = Layout::new(N as u16, 4);
    let event = layout.available + 4 + 2 * N;
    for round in 1..=20 {
        let head = queue.add(&memory, &[write(0, 1)]).unwrap();
        device.give_back(&memory, head.into(), 0);
        assert!(queue.enable_interrupts(&memory));
        assert!(queue.poll(&memory).unwrap().is_some());
        assert!(!queue.enable_interrupts(&memory));
        assert_eq!(memory.read16(event), round);
        queue.disable_interrupts(&memory);
        assert_eq!(memory.read16(layout.available), 0, "flags stay 0 (2.7.7.1)");
    }
}

#[test]
fn of_false_lengths_no_more_is_believed_than_can_be() {
    let (mut queue, memory, device) = with_event_index(false);
    queue.allow_false_lengths();
    for (told, believed) in [(0, 0), (9, 9), (4096 + 9, 10), (u32::MAX, 10)] {
        let head = queue.add(&memory, &[read(0, 4096), write(8, 10)]).unwrap();
        device.give_back(&memory, head.into(), told);
        assert_eq!(queue.poll(&memory), Ok(Some(Completion { head, written: believed })));
    }
}

/// Each lie closes the queue, for good, and names itself.
#[test]
fn a_lying_device_closes_its_queue() {
    let lies: [(u32, u32, &str); 4] = [
        (3, 0, "used element names no chain in flight"),
        (N as u32, 0, "used element names no chain in flight"),
        (u32::MAX, 0, "used element names no chain in flight"),
        (0, 65, "used length is larger than the chain"),
    ];
    for (id, written, why) in lies {
        let (mut queue, memory, device) = setup();
        assert_eq!(queue.add(&memory, &[write(0, 64)]), Ok(0));
        device.give_back(&memory, id, written);
        assert_eq!(queue.poll(&memory), Err(Error::Device(why)));
        assert_eq!(queue.poll(&memory), Err(Error::Device(why)));
        assert_eq!(queue.add(&memory, &[write(0, 64)]), Err(Error::Device(why)));
    }
}

#[test]
fn a_used_index_that_runs_ahead_closes_the_queue() {
    let (mut queue, memory, _) = setup();
    queue.add(&memory, &[write(0, 64); 3]).unwrap();
    memory.write16(Layout::new(N as u16, 4).used + 2, 2);
    assert!(matches!(queue.poll(&memory), Err(Error::Device(_))));
}

#[test]
fn a_chain_given_back_twice_closes_the_queue() {
    let (mut queue, memory, device) = setup();
    let head = queue.add(&memory, &[write(0, 64)]).unwrap();
    queue.add(&memory, &[write(0, 64)]).unwrap();
    device.give_back(&memory, head.into(), 0);
    device.give_back(&memory, head.into(), 0);
    assert!(queue.poll(&memory).is_ok());
    assert!(matches!(queue.poll(&memory), Err(Error::Device(_))));
}

#[derive(Clone, Debug)]
enum Step {
    Add { readable: usize, writable: usize },
    Give { which: prop::sample::Index, written: u32 },
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_usize..4, 0_usize..4).prop_map(|(readable, writable)| Step::Add { readable, writable }),
        (any::<prop::sample::Index>(), 0_u32..200).prop_map(|(which, written)| Step::Give { which, written }),
        Just(Step::Poll),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// Against an honest device that answers in any order, every chain comes back once, whole, and nothing leaks.
    #[test]
    fn honest_device(steps in steps()) {
        let (mut queue, memory, device) = setup();
        let mut pending: Vec<(u16, u32)> = vec![];
        let mut lent: BTreeMap<u16, (usize, u32)> = BTreeMap::new();
        let mut expected: std::collections::VecDeque<(u16, u32)> = Default::default();
        for step in steps {
            match step {
                Step::Add { readable, writable } => {
                    let buffers: Vec<Buffer> = (0..readable).map(|i| read(i as u64, 7))
                        .chain((0..writable).map(|i| write(i as u64 + 100, 50))).collect();
                    let free = queue.free();
                    match queue.add(&memory, &buffers) {
                        Ok(head) => {
                            prop_assert!(lent.insert(head, (buffers.len(), 50 * writable as u32)).is_none());
                            let (seen, chain) = device.next(&memory).unwrap();
                            prop_assert_eq!(seen, head);
                            prop_assert_eq!(chain.len(), buffers.len());
                            for (descriptor, buffer) in chain.iter().zip(&buffers) {
                                prop_assert_eq!(descriptor.address, buffer.address);
                                prop_assert_eq!(descriptor.writable, buffer.device_writes);
                            }
                            pending.push((head, 50 * writable as u32));
                        }
                        Err(Error::Full) => prop_assert!(free < buffers.len()),
                        Err(Error::BadChain) => prop_assert!(buffers.is_empty()),
                        Err(error) => prop_assert!(false, "{error:?}"),
                    }
                }
                Step::Give { which, written } if !pending.is_empty() => {
                    let (head, writable) = pending.swap_remove(which.index(pending.len()));
                    device.give_back(&memory, head.into(), written.min(writable));
                    expected.push_back((head, written.min(writable)));
                }
                Step::Give { .. } => {}
                Step::Poll => {
                    let got = queue.poll(&memory).unwrap().map(|done| (done.head, done.written));
                    prop_assert_eq!(got, expected.pop_front());
                    if let Some((head, _)) = got {
                        prop_assert!(lent.remove(&head).is_some());
                    }
                }
            }
            let held: usize = lent.values().map(|(length, _)| length).sum();
            prop_assert_eq!(queue.free() + held, N);
        }
    }

    /// Whatever a device scribbles over the whole shared memory, the driver neither panics nor reports a chain that it
    /// did not lend.
    #[test]
    fn hostile_device(
        rounds in prop::collection::vec((1_usize..4, prop::collection::vec((0_usize..222, any::<u8>()), 0..12)), 1..40)
    ) {
        let (mut queue, memory, _) = setup();
        let mut lent = std::collections::BTreeSet::new();
        for (length, scribbles) in rounds {
            if let Ok(head) = queue.add(&memory, &vec![write(0, 9); length]) {
                prop_assert!(lent.insert(head));
            }
            for (at, byte) in scribbles {
                memory.0.borrow_mut()[at] = byte;
            }
            while let Ok(Some(done)) = queue.poll(&memory) {
                prop_assert!(lent.remove(&done.head));
                prop_assert!(done.written <= 27);
            }
        }
    }
}

#[test]
fn indices_wrap() {
    let (mut queue, memory, device) = setup();
    for round in 0..70_000_u32 {
        let head = queue.add(&memory, &[write(u64::from(round), 64)]).unwrap();
        assert_eq!(device.next(&memory).unwrap().1[0].address, u64::from(round));
        device.give_back(&memory, head.into(), 64);
        assert_eq!(queue.poll(&memory), Ok(Some(Completion { head, written: 64 })));
    }
}
