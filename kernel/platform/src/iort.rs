//! The I/O remapping table (Arm DEN 0049E): from a root complex's requester IDs to the device IDs of an interrupt translation service,
//! directly or through an SMMU that passes messages on.

use super::Fields;
use crate::{MsiMap, Platform, push};

const ITS_GROUP: u8 = 0;
const ROOT_COMPLEX: u8 = 2;
const SMMU_V1: u8 = 3;
const SMMU_V3: u8 = 4;
/// A table with more nodes, or a node with more mappings, is not believed.
const NODES_MAX: u32 = 256;
const MAPPINGS_MAX: usize = 64;
const MAPPING_LENGTH: usize = 20;

impl Platform {
    /// Reads the maps of every root complex, as far as the table makes sense: a machine with half of it still runs.
    pub(super) fn read_iort(&mut self, iort: &Fields<'_>) -> Option<()> {
        if self.read_root_complexes(iort).is_none() {
            self.ignored = self.ignored.saturating_add(1);
        }
        Some(())
    }

    /// `None`: a field is missing.
    fn read_root_complexes(&mut self, iort: &Fields<'_>) -> Option<()> {
        let mut at = iort.u32(40)? as usize;
        for _ in 0..iort.u32(36)?.min(NODES_MAX) {
            let node = node(iort, at)?;
            if node.u8(0)? == ROOT_COMPLEX {
                let segment = u16::try_from(node.u32(28)?).ok()?;
                for map in mappings(&node)? {
                    let (map, target) = map?;
                    self.resolve(iort, &MsiMap { segment, ..map }, target)?;
                }
            }
            at = at.checked_add(usize::from(node.u16(1)?))?;
        }
        Some(())
    }

    /// Follows a map to the node it leads to.
    fn resolve(&mut self, iort: &Fields<'_>, map: &MsiMap, target: usize) -> Option<()> {
        let node = node(iort, target)?;
        match node.u8(0)? {
            ITS_GROUP => push(&mut self.msi_maps, &mut self.ignored, *map),
            SMMU_V1 | SMMU_V3 => {
                for next in mappings(&node)? {
                    let (next, target) = next?;
                    // An SMMU's IDs lead to an ITS; anything else would be a circle.
                    let is_its = self::node(iort, target)?.u8(0)? == ITS_GROUP;
                    if let Some(map) = map.then(&next).filter(|_| is_its) {
                        push(&mut self.msi_maps, &mut self.ignored, map);
                    }
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// The node at an offset: its length says where it ends.
fn node<'a>(iort: &Fields<'a>, at: usize) -> Option<Fields<'a>> {
    let rest = Fields(iort.0.get(at..)?);
    let length = usize::from(rest.u16(1)?).max(16);
    Some(Fields(rest.0.get(..length)?))
}

/// The node's ID mappings: the map, and the offset of the node that it leads to. Those for the node's own interrupts (single mappings) are
/// left out.
fn mappings<'a>(node: &Fields<'a>) -> Option<impl Iterator<Item = Option<(MsiMap, usize)>> + use<'a>> {
    let (count, offset) = (node.u32(8)? as usize, node.u32(12)? as usize);
    let bytes = if count == 0 { &[] } else { node.0.get(offset..)? };
    let entries = bytes.as_chunks::<MAPPING_LENGTH>().0.iter().take(count.min(MAPPINGS_MAX));
    Some(entries.filter_map(|entry| {
        let entry = Fields(entry);
        let [Some(first), Some(more), Some(output), Some(target), Some(flags)] =
            [0, 4, 8, 12, 16].map(|at| entry.u32(at))
        else {
            return Some(None);
        };
        if flags & 1 != 0 {
            return None;
        }
        // The table counts the IDs behind the first.
        let map = more.checked_add(1).and_then(|count| MsiMap::new(0, first, count, output));
        Some(map.map(|map| (map, target as usize)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn mapping(first: u32, more: u32, output: u32, target: u32, flags: u32) -> Vec<u8> {
        [first, more, output, target, flags].map(u32::to_le_bytes).concat()
    }

    /// A node: kind, bytes from 16 on, mappings.
    fn build(kind: u8, body: &[u8], mappings: &[Vec<u8>]) -> Vec<u8> {
        let length = 16 + body.len() + 20 * mappings.len();
        let mut node = vec![kind];
        node.extend((length as u16).to_le_bytes());
        node.extend([0; 5]);
        node.extend((mappings.len() as u32).to_le_bytes());
        node.extend((16 + body.len() as u32).to_le_bytes());
        node.extend(body);
        mappings.iter().for_each(|mapping| node.extend(mapping));
        node
    }

    fn table(nodes: &[Vec<u8>]) -> Vec<u8> {
        let mut table = vec![0; 48];
        table[36..40].copy_from_slice(&(nodes.len() as u32).to_le_bytes());
        table[40..44].copy_from_slice(&48_u32.to_le_bytes());
        nodes.iter().for_each(|node| table.extend(node));
        table
    }

    fn root_complex(segment: u32, mappings: &[Vec<u8>]) -> Vec<u8> {
        build(ROOT_COMPLEX, &[&[0; 12][..], &segment.to_le_bytes()].concat(), mappings)
    }

    fn read(table: &[u8]) -> Option<Vec<MsiMap>> {
        let mut platform = Box::new(Platform::new());
        platform.read_root_complexes(&Fields(table))?;
        Some(platform.msi_maps.to_vec())
    }

    #[test]
    fn a_root_complex_before_an_its() {
        let its = build(ITS_GROUP, &[1, 0, 0, 0, 0, 0, 0, 0], &[]);
        let root = root_complex(2, &[mapping(0, 0xffff, 0x100, 48, 0)]);
        let expected = MsiMap { segment: 2, first: 0, last: 0xffff, output: 0x100 };
        assert_eq!(read(&table(&[its, root])), Some(vec![expected]));
    }

    #[test]
    fn through_an_smmu() {
        let its = build(ITS_GROUP, &[1, 0, 0, 0, 0, 0, 0, 0], &[]);
        let at_smmu = 48 + its.len() as u32;
        let own = mapping(0, 0, 77, 48, 1);
        let smmu = build(SMMU_V3, &[0; 48], &[own, mapping(0, 0x7fff, 0x1_0000, 48, 0), mapping(0x8000, 9, 0, 48, 0)]);
        let root = root_complex(0, &[mapping(0, 0xffff, 0, at_smmu, 0)]);
        let first = MsiMap { segment: 0, first: 0, last: 0x7fff, output: 0x1_0000 };
        let second = MsiMap { segment: 0, first: 0x8000, last: 0x8009, output: 0 };
        assert_eq!(read(&table(&[its, smmu, root])), Some(vec![first, second]));
    }

    #[test]
    fn a_circle_ends() {
        let smmu = build(SMMU_V3, &[], &[mapping(0, 9, 0, 48, 0)]);
        let root = root_complex(0, &[mapping(0, 9, 0, 48, 0)]);
        assert_eq!(read(&table(&[smmu, root])), Some(vec![]));
    }

    #[test]
    fn what_is_cut_off_is_missing() {
        let its = build(ITS_GROUP, &[0; 8], &[]);
        let whole = table(&[its, root_complex(0, &[mapping(0, 9, 0, 48, 0)])]);
        assert_eq!(read(&whole).map(|maps| maps.len()), Some(1));
        assert_eq!(read(&whole[..40]), None);
        assert_eq!(read(&table(&[root_complex(0, &[mapping(0, 9, 0, 4800, 0)])])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(edits in prop::collection::vec((0_usize..200, any::<u8>()), 0..20)) {
            let its = build(ITS_GROUP, &[0; 8], &[]);
            let smmu = build(SMMU_V3, &[0; 8], &[mapping(0, 9, 0, 48, 0)]);
            let mut table = table(&[its, smmu, root_complex(0, &[mapping(0, 9, 0, 72, 0)])]);
            for (at, byte) in edits {
                let length = table.len();
                table[at % length] = byte;
            }
            for map in read(&table).unwrap_or_default() {
                prop_assert!(map.first <= map.last && map.output.checked_add(map.last - map.first).is_some());
            }
        }
    }
}
