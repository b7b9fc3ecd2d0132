//! Who a process is: users and groups (credentials(7)). A value, replaced as a whole.

use alloc::sync::Arc;

use linux::Errno;

/// Supplementary groups, at most (NGROUPS_MAX).
pub const GROUPS_MAX: usize = 65536;

/// "Leave as it is" in `setreuid` and its family.
pub const UNCHANGED: u32 = u32::MAX;

/// Users and groups of a process.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Real, effective and saved user, and the one that files are judged by.
    pub uid: u32,
    /// Effective.
    pub euid: u32,
    /// Saved.
    pub suid: u32,
    /// For files.
    pub fsuid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective.
    pub egid: u32,
    /// Saved.
    pub sgid: u32,
    /// For files.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
}

/// One of the two triples.
#[derive(Clone, Copy)]
struct Triple {
    real: u32,
    effective: u32,
    saved: u32,
}

impl Triple {
    fn has(&self, id: u32) -> bool {
        id == UNCHANGED || id == self.real || id == self.effective || id == self.saved
    }
}

fn or(id: u32, old: u32) -> u32 {
    if id == UNCHANGED { old } else { id }
}

fn set_one(old: Triple, id: u32, privileged: bool) -> Result<Triple, Errno> {
    if id == UNCHANGED {
        return Err(Errno::EINVAL);
    }
    if privileged {
        return Ok(Triple { real: id, effective: id, saved: id });
    }
    if id == old.real || id == old.saved { Ok(Triple { effective: id, ..old }) } else { Err(Errno::EPERM) }
}

fn set_two(old: Triple, real: u32, effective: u32, privileged: bool) -> Result<Triple, Errno> {
    let real_allowed = real == UNCHANGED || real == old.real || real == old.effective;
    if !(privileged || real_allowed && old.has(effective)) {
        return Err(Errno::EPERM);
    }
    let new = Triple { real: or(real, old.real), effective: or(effective, old.effective), saved: old.saved };
    // The saved one follows when the real one is set, or the effective one leaves the old real one (setreuid(2)).
    let follows = real != UNCHANGED || effective != UNCHANGED && effective != old.real;
    Ok(Triple { saved: if follows { new.effective } else { old.saved }, ..new })
}

fn set_three(old: Triple, to: (u32, u32, u32), privileged: bool) -> Result<Triple, Errno> {
    if !(privileged || old.has(to.0) && old.has(to.1) && old.has(to.2)) {
        return Err(Errno::EPERM);
    }
    Ok(Triple { real: or(to.0, old.real), effective: or(to.1, old.effective), saved: or(to.2, old.saved) })
}

impl Credentials {
    /// May do what only the superuser may.
    pub fn is_privileged(&self) -> bool {
        self.euid == 0
    }

    /// The superuser, without further groups.
    pub fn root() -> Self {
        Self { uid: 0, euid: 0, suid: 0, fsuid: 0, gid: 0, egid: 0, sgid: 0, fsgid: 0, groups: Arc::new([]) }
    }

    /// Whom the file system takes it for.
    pub fn for_files(&self) -> vfs::Credentials {
        vfs::Credentials { user: self.fsuid, group: self.fsgid, groups: self.groups.clone() }
    }

    /// Whom `access` takes it for: the real user and group.
    pub fn for_files_as_real(&self) -> vfs::Credentials {
        vfs::Credentials { user: self.uid, group: self.gid, groups: self.groups.clone() }
    }

    fn users(&self) -> Triple {
        Triple { real: self.uid, effective: self.euid, saved: self.suid }
    }

    fn group_triple(&self) -> Triple {
        Triple { real: self.gid, effective: self.egid, saved: self.sgid }
    }

    fn with_users(&self, users: Triple) -> Self {
        let Triple { real, effective, saved } = users;
        Self { uid: real, euid: effective, suid: saved, fsuid: effective, ..self.clone() }
    }

    fn with_groups(&self, groups: Triple) -> Self {
        let Triple { real, effective, saved } = groups;
        Self { gid: real, egid: effective, sgid: saved, fsgid: effective, ..self.clone() }
    }

    /// `setuid`
    pub fn setuid(&self, id: u32) -> Result<Self, Errno> {
        Ok(self.with_users(set_one(self.users(), id, self.is_privileged())?))
    }

    /// `setgid`
    pub fn setgid(&self, id: u32) -> Result<Self, Errno> {
        Ok(self.with_groups(set_one(self.group_triple(), id, self.is_privileged())?))
    }

    /// `setreuid`
    pub fn setreuid(&self, real: u32, effective: u32) -> Result<Self, Errno> {
        Ok(self.with_users(set_two(self.users(), real, effective, self.is_privileged())?))
    }

    /// `setregid`
    pub fn setregid(&self, real: u32, effective: u32) -> Result<Self, Errno> {
        Ok(self.with_groups(set_two(self.group_triple(), real, effective, self.is_privileged())?))
    }

    /// `setresuid`
    pub fn setresuid(&self, to: (u32, u32, u32)) -> Result<Self, Errno> {
        Ok(self.with_users(set_three(self.users(), to, self.is_privileged())?))
    }

    /// `setresgid`
    pub fn setresgid(&self, to: (u32, u32, u32)) -> Result<Self, Errno> {
        Ok(self.with_groups(set_three(self.group_triple(), to, self.is_privileged())?))
    }

    /// `setfsuid`: what is not allowed changes nothing.
    pub fn setfsuid(&self, id: u32) -> Self {
        let allowed = id != UNCHANGED && (self.is_privileged() || self.users().has(id) || id == self.fsuid);
        Self { fsuid: if allowed { id } else { self.fsuid }, ..self.clone() }
    }

    /// `setfsgid`: what is not allowed changes nothing.
    pub fn setfsgid(&self, id: u32) -> Self {
        let allowed = id != UNCHANGED && (self.is_privileged() || self.group_triple().has(id) || id == self.fsgid);
        Self { fsgid: if allowed { id } else { self.fsgid }, ..self.clone() }
    }

    /// `setgroups`
    pub fn setgroups(&self, groups: &[u32]) -> Result<Self, Errno> {
        if !self.is_privileged() {
            return Err(Errno::EPERM);
        }
        Ok(Self { groups: groups.into(), ..self.clone() })
    }

    /// What executing a file with these mode bits and owner makes of it: set-user-ID and set-group-ID.
    pub fn after_exec(&self, set_user: Option<u32>, set_group: Option<u32>) -> Self {
        let mut new = self.clone();
        if let Some(uid) = set_user {
            (new.euid, new.fsuid) = (uid, uid);
        }
        if let Some(gid) = set_group {
            (new.egid, new.fsgid) = (gid, gid);
        }
        (new.suid, new.sgid) = (new.euid, new.egid);
        new
    }

    /// Whether it may send `target` a signal (kill(2)).
    pub fn may_signal(&self, target: &Self) -> bool {
        self.is_privileged()
            || [target.uid, target.suid].contains(&self.uid)
            || [target.uid, target.suid].contains(&self.euid)
    }
}
