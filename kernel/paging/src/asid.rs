//! Address space identifiers: 8 bits name an address space in the TLBs. When all are given out a new generation begins: the spaces that are active keep
//! theirs, everyone else gets a new one when it is next activated, and each CPU first forgets its translations.

/// Identifiers there are; 0 is for having no user translations.
pub const ASIDS: usize = 256;
const MASK: u64 = ASIDS as u64 - 1;

/// Which identifier a space has: the generation it is from, and the number. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context(u64);

impl Context {
    /// The number, once activated.
    #[must_use]
    pub const fn asid(self) -> u16 {
        (self.0 & MASK) as u16
    }

    const fn generation(self) -> u64 {
        self.0 & !MASK
    }
}

/// What a CPU has to do to activate a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Activation {
    /// It must first forget all translations of users.
    pub flush: bool,
    /// The space has another number than before: no CPU knows anything of it.
    pub is_new: bool,
}

/// Who has which identifier, for `CPUS` CPUs.
///
/// Invariant: the contexts in `active` of the current generation, and those in `kept`, are distinct or of the same space, and `used` has them.
#[derive(Debug)]
pub struct Asids<const CPUS: usize> {
    generation: u64,
    used: [u64; ASIDS / 64],
    /// What each CPU activated last, since the last new generation; 0 none.
    active: [u64; CPUS],
    /// What each CPU had active at the last new generation.
    kept: [u64; CPUS],
    must_flush: [bool; CPUS],
}

impl<const CPUS: usize> Asids<CPUS> {
    /// All free.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            generation: ASIDS as u64,
            used: [1, 0, 0, 0],
            active: [0; CPUS],
            kept: [0; CPUS],
            must_flush: [false; CPUS],
        }
    }

    /// `cpu` is about to translate with the space of `context`, which gets an identifier if it has none that counts.
    pub fn activate(&mut self, cpu: usize, context: &mut Context) -> Activation {
        let before = context.asid();
        if context.generation() != self.generation {
            *context = Context(self.renew(*context));
        }
        self.active[cpu] = context.0;
        Activation { flush: core::mem::take(&mut self.must_flush[cpu]), is_new: context.asid() != before }
    }

    fn renew(&mut self, old: Context) -> u64 {
        let asid = old.0 & MASK;
        if asid != 0 {
            let renewed = self.generation | asid;
            let mut was_kept = false;
            for kept in &mut self.kept {
                if *kept == old.0 {
                    *kept = renewed;
                    was_kept = true;
                }
            }
            if was_kept {
                return renewed;
            }
        }
        let free = self.take_free().or_else(|| {
            self.begin_generation();
            self.take_free()
        });
        self.generation | free.expect("fewer CPUs than identifiers")
    }

    fn take_free(&mut self) -> Option<u64> {
        let word = self.used.iter().position(|word| *word != u64::MAX)?;
        let bit = self.used[word].trailing_ones();
        self.used[word] |= 1 << bit;
        Some(word as u64 * 64 + u64::from(bit))
    }

    fn begin_generation(&mut self) {
        self.generation += ASIDS as u64;
        self.used = [1, 0, 0, 0];
        for cpu in 0..CPUS {
            let active = core::mem::take(&mut self.active[cpu]);
            if active != 0 {
                self.kept[cpu] = active;
            }
            let asid = self.kept[cpu] & MASK;
            self.used[(asid / 64) as usize] |= 1 << (asid % 64);
        }
        self.must_flush = [true; CPUS];
    }
}

impl<const CPUS: usize> Default for Asids<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// A model of each CPU's TLB: it remembers which space it used a number for until it flushes, and must never see another space under it.
        #[test]
        fn a_number_never_means_two_spaces(steps in prop::collection::vec((0..3_usize, 0..700_usize), 300..3000)) {
            const CPUS: usize = 3;
            let mut asids: Asids<CPUS> = Asids::new();
            let mut spaces = vec![Context::default(); 700];
            let mut tlbs = vec![[None; ASIDS]; CPUS];
            let mut current = [None; CPUS];
            for (cpu, space) in steps {
                let activation = asids.activate(cpu, &mut spaces[space]);
                if activation.flush {
                    tlbs[cpu] = [None; ASIDS];
                }
                let asid = usize::from(spaces[space].asid());
                prop_assert_ne!(asid, 0);
                let known = &mut tlbs[cpu][asid];
                prop_assert!(known.is_none_or(|other| other == space));
                *known = Some(space);
                current[cpu] = Some((space, asid));
                // Two CPUs that run different spaces at this moment use different numbers.
                for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                    if let (Some((space_a, asid_a)), Some((space_b, asid_b))) = (current[a], current[b]) {
                        prop_assert_eq!(space_a == space_b, asid_a == asid_b);
                    }
                }
            }
        }
    }
}
