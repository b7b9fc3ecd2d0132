//! What a process has mapped where: areas of its address space, without the pages.
//!
//! An [`Area`] is a range of whole pages with one protection and one backing. [`Map`] keeps areas disjoint, splits them where an operation cuts
//! through one, and merges neighbours that say the same. What backs an area is the owner's: it only has to be able to continue
//! itself ([`Backing`]).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes in a page: all addresses and lengths here are multiples of it.
pub const PAGE_SIZE: u64 = 4096;

/// What a user may do with an area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// load
    pub read: bool,
    /// store
    pub write: bool,
    /// fetch instructions
    pub execute: bool,
}

/// Where an area's pages come from.
pub trait Backing: Clone {
    /// The backing of what lies `bytes` further.
    #[must_use]
    fn advanced(&self, bytes: u64) -> Self;
    /// Whether `next` backs what follows `length` bytes of this one, so that the two are one.
    fn continues(&self, length: u64, next: &Self) -> bool;
}

/// A range with one protection and one backing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area<B> {
    /// first address
    pub start: u64,
    /// the address after the last
    pub end: u64,
    /// what users may do
    pub protection: Protection,
    /// of the page at `start`
    pub backing: B,
}

impl<B: Backing> Area<B> {
    /// The addresses.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The part of it inside `start..end`, which it overlaps.
    fn clipped(&self, start: u64, end: u64) -> Self {
        let from = self.start.max(start);
        Self {
            start: from,
            end: self.end.min(end),
            protection: self.protection,
            backing: self.backing.advanced(from - self.start),
        }
    }

    fn joins(&self, next: &Self) -> bool {
        self.end == next.start
            && self.protection == next.protection
            && self.backing.continues(self.end - self.start, &next.backing)
    }
}

/// Why a map cannot be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Part of the range is in use.
    InUse,
    /// Part of the range is not mapped.
    NotMapped,
    /// There is no gap large enough, or there are too many areas.
    NoRoom,
}

/// The most areas of one map, as on Linux (vm.max_map_count).
pub const AREAS_MAX: usize = 65_530;

/// Areas by their start.
///
/// Invariants: areas are not empty, disjoint, and inside the bounds; no two that touch could be one.
#[derive(Clone, Debug)]
pub struct Map<B> {
    areas: BTreeMap<u64, Area<B>>,
    bounds: Range<u64>,
}

impl<B: Backing> Map<B> {
    /// Nothing mapped; everything ever mapped will be inside `bounds`.
    #[must_use]
    pub const fn new(bounds: Range<u64>) -> Self {
        Self { areas: BTreeMap::new(), bounds }
    }

    /// The area that `address` is in.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Area<B>> {
        let (_, area) = self.areas.range(..=address).next_back()?;
        (address < area.end).then_some(area)
    }

    /// All areas, in order.
    pub fn areas(&self) -> impl DoubleEndedIterator<Item = &Area<B>> {
        self.areas.values()
    }

    /// The areas that overlap `start..end`, in order.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Area<B>> {
        let first = self.find(start).map_or(start, |area| area.start);
        self.areas.range(first..end.max(first)).map(|(_, area)| area)
    }

    /// Nothing is mapped in `start..end`, and it is inside the bounds.
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.bounds.start <= start && end <= self.bounds.end && self.overlapping(start, end).next().is_none()
    }

    /// Every page of `start..end` is mapped.
    #[must_use]
    pub fn is_covered(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// Adds an area where nothing is mapped.
    pub fn insert(&mut self, area: Area<B>) -> Result<(), MapError> {
        assert!(area.start < area.end && (area.start | area.end).is_multiple_of(PAGE_SIZE));
        if !self.is_free(area.start, area.end) {
            return Err(MapError::InUse);
        }
        if self.areas.len() >= AREAS_MAX {
            return Err(MapError::NoRoom);
        }
        let (start, end) = (area.start, area.end);
        self.areas.insert(start, area);
        self.join_at(end);
        self.join_at(start);
        Ok(())
    }

    /// Takes everything in `start..end` out; gives the parts, in order. An error changes nothing.
    pub fn remove(&mut self, start: u64, end: u64) -> Result<Vec<Area<B>>, MapError> {
        // A hole in an area makes one more.
        if self.areas.len() >= AREAS_MAX && self.find(start).is_some_and(|area| area.start < start && area.end > end) {
            return Err(MapError::NoRoom);
        }
        self.split_at(start);
        self.split_at(end);
        let starts: Vec<u64> = self.areas.range(start..end.max(start)).map(|(at, _)| *at).collect();
        Ok(starts.into_iter().filter_map(|at| self.areas.remove(&at)).collect())
    }

    /// Changes the protection of `start..end`, all of which is mapped. An error changes nothing.
    pub fn protect(&mut self, start: u64, end: u64, protection: Protection) -> Result<(), MapError> {
        if !self.is_covered(start, end) {
            return Err(MapError::NotMapped);
        }
        if self.areas.len() + 2 > AREAS_MAX {
            return Err(MapError::NoRoom);
        }
        self.split_at(start);
        self.split_at(end);
        let mut joints = Vec::new();
        for (at, area) in self.areas.range_mut(start..end) {
            area.protection = protection;
            joints.push(*at);
        }
        self.join_at(end);
        joints.into_iter().rev().for_each(|at| self.join_at(at));
        Ok(())
    }

    /// Where `length` bytes fit: as high as possible, but below `ceiling`.
    pub fn place(&self, length: u64, ceiling: u64) -> Result<u64, MapError> {
        let mut top = ceiling.min(self.bounds.end);
        for area in self.areas.values().rev() {
            if area.end <= top && top - area.end >= length {
                return Ok(top - length);
            }
            top = top.min(area.start);
        }
        match top.checked_sub(length) {
            Some(start) if start >= self.bounds.start => Ok(start),
            _ => Err(MapError::NoRoom),
        }
    }

    /// How many bytes are mapped.
    #[must_use]
    pub fn mapped_bytes(&self) -> u64 {
        self.areas.values().map(|area| area.end - area.start).sum()
    }

    /// The parts of the areas that lie in `start..end`, as they would be alone.
    #[must_use]
    pub fn parts(&self, start: u64, end: u64) -> Vec<Area<B>> {
        self.overlapping(start, end).map(|area| area.clipped(start, end)).collect()
    }

    fn split_at(&mut self, address: u64) {
        let Some(area) = self.find(address).filter(|area| area.start < address) else { return };
        let upper = area.clipped(address, area.end);
        let start = area.start;
        if let Some(lower) = self.areas.get_mut(&start) {
            lower.end = address;
        }
        self.areas.insert(address, upper);
    }

    /// Makes the areas before and from `address` one, if they say the same.
    fn join_at(&mut self, address: u64) {
        let Some(upper) = self.areas.get(&address) else { return };
        let Some((_, lower)) = self.areas.range(..address).next_back() else { return };
        if !lower.joins(upper) {
            return;
        }
        let (start, end) = (lower.start, upper.end);
        self.areas.remove(&address);
        if let Some(lower) = self.areas.get_mut(&start) {
            lower.end = end;
        }
    }
}

#[cfg(test)]
mod tests;
