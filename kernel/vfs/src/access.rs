//! Who asks, and whether he may (Linux `fs/namei.c`, `generic_permission`).

use alloc::sync::Arc;

use linux::Errno;

/// Whom the file system takes a caller for: the effective ids, or the real ones for `access`.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Further groups.
    pub groups: Arc<[u32]>,
}

impl Credentials {
    /// User and group 0.
    #[must_use]
    pub fn root() -> Self {
        Self { user: 0, group: 0, groups: Arc::new([]) }
    }

    /// Above the permission bits.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.user == 0
    }

    /// Whether the caller is of this group.
    #[must_use]
    pub fn is_member(&self, group: u32) -> bool {
        self.group == group || self.groups.contains(&group)
    }
}

/// Who owns a file, and its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// To read.
pub const READ: u32 = 4;
/// To write.
pub const WRITE: u32 = 2;
/// To execute, or to search a directory.
pub const EXECUTE: u32 = 1;

impl Permission {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & linux::flags::S_IFMT == linux::flags::S_IFDIR
    }

    /// Whether `who` may do all of `wanted` ([`READ`], [`WRITE`], [`EXECUTE`]).
    ///
    /// # Errors
    /// `EACCES`.
    pub fn check(&self, who: &Credentials, wanted: u32) -> Result<(), Errno> {
        let class = if who.user == self.user {
            6
        } else if who.is_member(self.group) {
            3
        } else {
            0
        };
        if (self.mode >> class) & wanted == wanted {
            return Ok(());
        }
        // Privilege passes over the bits, but a file that nobody may execute is no program.
        let executable = wanted & EXECUTE == 0 || self.is_directory() || self.mode & 0o111 != 0;
        if who.is_privileged() && executable { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether `who` may do what is the owner's alone.
    #[must_use]
    pub fn is_owned_by(&self, who: &Credentials) -> bool {
        who.user == self.user || who.is_privileged()
    }

    /// Whether `who` may remove or rename `entry` from this directory, as far as its sticky bit says.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn check_sticky(&self, who: &Credentials, entry: &Permission) -> Result<(), Errno> {
        let free = self.mode & linux::flags::S_ISVTX == 0 || self.is_owned_by(who) || entry.is_owned_by(who);
        if free { Ok(()) } else { Err(Errno::EPERM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn who(user: u32, group: u32, groups: &[u32]) -> Credentials {
        Credentials { user, group, groups: groups.into() }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let file = Permission { mode: 0o100_047, user: 1, group: 2 };
        assert!(file.check(&who(1, 2, &[]), READ).is_err(), "the owner's bits, not the group's");
        assert!(file.check(&who(3, 2, &[]), READ).is_ok());
        assert!(file.check(&who(3, 9, &[7, 2]), READ).is_ok());
        assert!(file.check(&who(3, 2, &[]), WRITE).is_err(), "the group's bits, not the others'");
        assert!(file.check(&who(3, 9, &[]), READ | WRITE | EXECUTE).is_ok());
    }

    #[test]
    fn root_executes_only_what_somebody_may() {
        let mut file = Permission { mode: 0o100_000, user: 1, group: 2 };
        assert!(file.check(&Credentials::root(), READ | WRITE).is_ok());
        assert_eq!(file.check(&Credentials::root(), EXECUTE), Err(Errno::EACCES));
        file.mode = 0o100_001;
        assert!(file.check(&Credentials::root(), EXECUTE).is_ok());
        file.mode = linux::flags::S_IFDIR;
        assert!(file.check(&Credentials::root(), EXECUTE).is_ok());
    }

    #[test]
    fn sticky_protects_the_entries_of_others() {
        let directory = Permission { mode: 0o41_777, user: 0, group: 0 };
        let entry = Permission { mode: 0o100_666, user: 5, group: 5 };
        assert!(directory.check_sticky(&who(5, 5, &[]), &entry).is_ok());
        assert_eq!(directory.check_sticky(&who(6, 5, &[]), &entry), Err(Errno::EPERM));
        assert!(directory.check_sticky(&Credentials::root(), &entry).is_ok());
        assert!(Permission { mode: 0o40_777, ..directory }.check_sticky(&who(6, 6, &[]), &entry).is_ok());
        assert!(Permission { user: 6, ..directory }.check_sticky(&who(6, 6, &[]), &entry).is_ok());
    }

    proptest! {
        #[test]
        fn more_is_never_easier(mode in 0u32..0o1000, user in 0u32..3, group in 0u32..3, asks in 0u32..3, wanted in 1u32..8) {
            let file = Permission { mode: 0o100_000 | mode, user, group };
            let caller = who(asks, asks, &[]);
            let all = file.check(&caller, wanted).is_ok();
            let each = [READ, WRITE, EXECUTE].iter().filter(|&&bit| wanted & bit != 0).all(|&bit| file.check(&caller, bit).is_ok());
            prop_assert_eq!(all, each);
        }
    }
}
