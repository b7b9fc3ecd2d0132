//! A pipe's bytes, against a queue.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::ring::Ring;

proptest! {
    #[test]
    fn bytes_come_out_in_order(steps in prop::collection::vec((any::<bool>(), 0usize..9000), 1..60), capacity in 1usize..20_000) {
        let mut ring: Ring<HostPage> = Ring::new(capacity);
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut next = 0u8;
        for (fill, count) in steps {
            if fill {
                let bytes: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                let mut source = Slice::new(&bytes);
                ring.fill(&mut source).unwrap();
                let taken = crate::Source::done(&source);
                prop_assert_eq!(taken, count.min(capacity - model.len()));
                model.extend(&bytes[..taken]);
            } else {
                let mut bytes = vec![0; count];
                let mut sink = SliceMut::new(&mut bytes);
                ring.drain(&mut sink).unwrap();
                let given = crate::Sink::done(&sink);
                prop_assert_eq!(given, count.min(model.len()));
                let wanted: Vec<u8> = model.drain(..given).collect();
                prop_assert_eq!(&bytes[..given], &wanted[..]);
            }
            prop_assert_eq!(ring.length(), model.len());
            prop_assert_eq!(ring.room(), capacity - model.len());
        }
        prop_assert_eq!(ring.set_capacity(model.len()), Ok(()));
        if !model.is_empty() {
            prop_assert_eq!(ring.set_capacity(model.len() - 1), Err(Errno::EBUSY));
        }
    }
}
