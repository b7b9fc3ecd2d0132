//! What volumes that were tampered with did once, found by fuzzing.

use datafs::{BLOCK, Error, Format, New, QUOTAS, ROOT, What};

use crate::damage::image::Image;
use crate::damage::inodes::swap_nodes_of_big;
use crate::damage::names::ordinal_too_large;
use crate::{Failure, MemoryDevice, Mounted};

fn new(mode: u32) -> New<'static> {
    New { mode, user: 1, group: 2, device: 0, target: b"", time: 5 }
}

fn fresh() -> Mounted<MemoryDevice> {
    let format = Format {
        blocks: 4000,
        uuid: [7; 16],
        label: b"test",
        hash_key: [3; 16],
        created: 1,
        log_blocks: Some(256),
        inodes_per_group: Some(64),
    };
    Mounted::format(MemoryDevice::new(4000), &format, &new(0o755)).unwrap()
}

fn is_stale<T: std::fmt::Debug>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Volume(Error::Stale)))
}

/// A damaged directory may have a name for it.
#[test]
fn the_table_of_quotas_is_no_file() {
    let mut m = fresh();
    assert!(is_stale(m.run(|v| v.attributes(QUOTAS))));
    assert!(is_stale(m.run(|v| v.set_quota_id(QUOTAS, 1, 0, 6))));
    assert!(is_stale(m.run(|v| v.link(QUOTAS, ROOT, b"name", 6))));
    assert!(is_stale(m.write(QUOTAS, 0, &[1; BLOCK])));
    assert!(is_stale(m.truncate(QUOTAS, 0, 6)));
    assert_eq!(m.run(|v| v.quota(1)).unwrap(), datafs::Quota::default());
}

/// Else a way through a tree goes back, or through the same nodes again and again, and comes to no end.
#[test]
fn nodes_hold_the_keys_that_lead_to_them() {
    let mut image = Image::populated();
    let big = image.places.big;
    let nodes = swap_nodes_of_big(&mut image);
    let mut m = Mounted::open(image.device).unwrap();
    for (logical, node) in [(0, nodes[1]), (598, nodes[0])] {
        let result = m.run(|v| v.extent(big, logical, 1));
        let is_told = matches!(result, Err(Failure::Volume(Error::Damaged(damage)))
            if (damage.block, damage.inode, damage.what) == (node, big, What::Order));
        assert!(is_told, "{result:?}");
    }
}

/// Else who lists the directory gets the same place again and again.
#[test]
fn a_directorys_places_grow() {
    let mut image = Image::populated();
    let many = image.places.many;
    ordinal_too_large(&mut image);
    let mut m = Mounted::open(image.device).unwrap();
    let mut at = 0;
    let error = loop {
        match m.run(|v| v.entries(many, at, &mut |_| true)) {
            Ok(next) => {
                assert!(next.is_some_and(|next| next > at), "{next:?} behind {at}");
                at = next.unwrap_or_default();
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Failure::Volume(Error::Damaged(damage)) if damage.inode == many), "{error}");
}

#[test]
fn a_node_in_two_places_is_found_at_the_second() {
    let mut image = Image::populated();
    let (big, node) = (image.places.big, image.root_record(image.places.big, 0).block);
    image.set_root_record(big, 1, |record| record.block = node);
    let mut m = Mounted::open(image.device).unwrap();
    assert!(m.run(|v| v.extent(big, 0, 1)).is_ok());
    assert!(matches!(m.run(|v| v.extent(big, 598, 1)), Err(Failure::Volume(Error::Damaged(_)))));
}

/// Counts that are too large already never go where the next reader refuses them: the volume could not be opened any more.
#[test]
fn wrong_counts_stay_within_their_bounds() {
    let mut image = Image::populated();
    let (blocks, per_group) = (image.device_blocks, u64::from(image.geometry.inodes_per_group));
    let most = image.geometry.data_blocks(blocks);
    image.state(|state| (state.used_blocks, state.used_inodes) = (most, 2 * per_group));
    let file = image.places.file;
    let mut m = Mounted::open(image.device).unwrap();
    let mut logical = 20;
    let result = loop {
        let mut allocation = m.run(|v| v.allocate(file, logical, 1)).unwrap();
        let result = m.run(|v| v.attach_unwritten(&mut allocation, 0, 0));
        m.volume.cancel(allocation);
        logical += 1;
        // opening freed the orphans' few
        assert!(logical < 40);
        if let Err(error) = result {
            break error;
        }
    };
    assert!(matches!(result, Failure::Volume(Error::Damaged(_))), "{result}");
    let result = loop {
        if let Err(error) = m.run(|v| v.create_unnamed(ROOT, &new(0o100_600))) {
            break error;
        }
    };
    assert!(matches!(result, Failure::Volume(Error::Damaged(_))), "{result}");
    m.checkpoint().unwrap();
    assert!(Mounted::open(m.device).is_ok());
}
