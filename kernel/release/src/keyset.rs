//! Key sets (docs/formats/key-set.md): which keys may sign, and how many must. Parsed as a whole before anything in it is believed; whether root
//! signed it is [`crate::trust`]'s to say.

use arrayvec::ArrayVec;
use sha256::{Engine, Hasher};

use crate::le::{array, is_zero, u16_at, u32_at, u64_at};
use crate::signatures::{Signature, entries};

/// Most bytes.
pub const MAX_BYTES: usize = 8192;
/// Most keys.
pub const MAX_KEYS: usize = 32;
/// Most roles.
pub const MAX_ROLES: usize = 8;
/// Most signatures by root.
pub const MAX_SIGNATURES: usize = 8;
/// The algorithm's number.
pub const ED25519: u16 = 1;
/// ECDSA P-256 with SHA-256.
pub const ECDSA_P256: u16 = 2;

/// Where a set has its time.
pub(crate) const SIGNED_AT: usize = 24;
const FIXED: usize = 64;
const ROLE: usize = 16;
const KEY: usize = 128;
const KEY_BYTES_MAX: usize = 80;
const FLAG_DEV: u32 = 1;

/// What keys of a set sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// Base images.
    Release = 1,
    /// Packages.
    Packages = 2,
    /// Records of what was proved.
    Evidence = 3,
}

/// A key, and the roles that it may sign for: bit n for role n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// [`ED25519`], [`ECDSA_P256`], or a number that we do not know.
    pub algorithm: u16,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub id: [u8; 32],
    /// The public key itself.
    pub bytes: &'a [u8],
    roles: u32,
}

impl Key<'_> {
    /// It may sign for a role.
    #[must_use]
    pub const fn may(&self, role: Role) -> bool {
        self.roles >> role as u32 & 1 != 0
    }
}

/// A key set that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet<'a> {
    /// Of the set; a machine takes none below what it has seen.
    pub version: u64,
    /// Seconds since 1970-01-01 UTC.
    pub signed_at: u64,
    /// The same; 0: never. Nothing here looks at it.
    pub expires: u64,
    /// Its keys are throw-away.
    pub is_dev: bool,
    /// SHA-256 of the signed bytes.
    pub digest: [u8; 32],
    /// In the order of the set.
    pub keys: ArrayVec<Key<'a>, MAX_KEYS>,
    /// By root.
    pub signatures: ArrayVec<Signature<'a>, MAX_SIGNATURES>,
    thresholds: ArrayVec<(u32, u32), MAX_ROLES>,
}

impl<'a> KeySet<'a> {
    /// One that vouches for nothing: to be filled.
    pub const EMPTY: Self = Self {
        version: 0,
        signed_at: 0,
        expires: 0,
        is_dev: false,
        digest: [0; 32],
        keys: ArrayVec::new_const(),
        signatures: ArrayVec::new_const(),
        thresholds: ArrayVec::new_const(),
    };

    /// Reads a key set, which is all of `bytes`.
    ///
    /// # Errors
    /// What rule of the format it breaks.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut set = Self::EMPTY;
        set.read(bytes)?;
        Ok(set)
    }

    /// The same where it lies, for who has no stack for another one. After an error nothing in it is to be believed.
    ///
    /// # Errors
    /// What rule of the format it breaks.
    #[inline(never)]
    pub fn read(&mut self, bytes: &'a [u8]) -> Result<(), &'static str> {
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or("it ends inside its head")?;
        if bytes.len() > MAX_BYTES {
            return Err("it has more than 8192 bytes");
        }
        if fixed[..8] != *b"SWKEYSET" || u16_at(fixed, 8) != 1 {
            return Err("it is not SWKEYSET version 1");
        }
        let is_strict = u16_at(fixed, 10) == 0;
        let (roles, keys) = (usize::from(u16_at(fixed, 44)), usize::from(u16_at(fixed, 46)));
        if !(1..=MAX_ROLES).contains(&roles) || !(1..=MAX_KEYS).contains(&keys) {
            return Err("its roles are not 1 to 8, or its keys not 1 to 32");
        }
        let length = FIXED + ROLE * roles + KEY * keys;
        if u32_at(fixed, 12) as usize != length {
            return Err("its length does not fit its roles and keys");
        }
        if u32_at(fixed, 40) & !FLAG_DEV != 0 {
            return Err("it has unknown flags");
        }
        if is_strict && !is_zero(&fixed[48..]) {
            return Err("its reserved bytes are not zero");
        }
        let (signed, rest) = bytes.split_at_checked(length).ok_or("it ends inside its keys")?;
        let (roles, keys) = signed[FIXED..].split_at(ROLE * roles);
        let count = rest.get(..8).ok_or("it has no signatures")?;
        let (signatures, reserved) = (u32_at(count, 0) as usize, u32_at(count, 4));
        if !(1..=MAX_SIGNATURES).contains(&signatures) || reserved != 0 {
            return Err("its signatures are not 1 to 8");
        }
        self.version = u64_at(fixed, 16);
        self.signed_at = u64_at(fixed, SIGNED_AT);
        self.expires = u64_at(fixed, 32);
        self.is_dev = u32_at(fixed, 40) & FLAG_DEV != 0;
        self.digest = sha256::best()(signed);
        self.thresholds.clear();
        for row in roles.chunks_exact(ROLE) {
            self.thresholds.push(role(row, is_strict)?);
        }
        self.keys.clear();
        for row in keys.chunks_exact(KEY) {
            self.keys.push(key(row, is_strict)?);
        }
        self.signatures = entries(&rest[8..], signatures)?;
        self.check()
    }

    /// Each role and key once, each key for something, and no role that its keys cannot satisfy.
    fn check(&self) -> Result<(), &'static str> {
        if self.version == 0 {
            return Err("its version is 0");
        }
        let mut named = 0;
        for &(role, threshold) in &self.thresholds {
            if !(1..32).contains(&role) || named >> role & 1 != 0 {
                return Err("a role stands twice, or is not 1 to 31");
            }
            named |= 1 << role;
            let count = self.keys.iter().filter(|key| key.roles >> role & 1 != 0).count();
            if threshold == 0 || threshold as usize > count {
                return Err("a role wants no keys, or more than it has");
            }
        }
        for (at, key) in self.keys.iter().enumerate() {
            if key.roles == 0 || key.roles & !named != 0 {
                return Err("a key has no role, or one that the set does not name");
            }
            if self.keys[..at].iter().any(|other| other.id == key.id) {
                return Err("a key stands twice");
            }
        }
        Ok(())
    }

    /// How many keys must sign for a role; `None`: the set says nothing of it, so nobody can.
    #[must_use]
    pub fn threshold(&self, role: Role) -> Option<usize> {
        self.thresholds.iter().find(|row| row.0 == role as u32).map(|row| row.1 as usize)
    }
}

fn role(row: &[u8], is_strict: bool) -> Result<(u32, u32), &'static str> {
    if is_strict && !is_zero(&row[8..]) {
        return Err("reserved bytes of a role are not zero");
    }
    Ok((u32_at(row, 0), u32_at(row, 4)))
}

fn key(row: &[u8], is_strict: bool) -> Result<Key<'_>, &'static str> {
    let (algorithm, length) = (u16_at(row, 0), usize::from(u16_at(row, 2)));
    let (bytes, padding) =
        row[40..40 + KEY_BYTES_MAX].split_at_checked(length).ok_or("a key is longer than 80 bytes")?;
    if bytes.is_empty() || !is_zero(padding) || is_strict && !is_zero(&row[40 + KEY_BYTES_MAX..]) {
        return Err("a key has no bytes, or some behind it");
    }
    let id = array(row, 8);
    if id_of(algorithm, bytes)?.is_some_and(|own| own != id) {
        return Err("a key has the id of another");
    }
    Ok(Key { algorithm, id, bytes, roles: u32_at(row, 4) })
}

/// SHA-256 of a key's SubjectPublicKeyInfo (RFC 8410, section 4; RFC 5480, section 2); `None` for an algorithm that we do not know.
pub(crate) fn id_of(algorithm: u16, key: &[u8]) -> Result<Option<[u8; 32]>, &'static str> {
    let (prefix, length): (&[u8], usize) = match algorithm {
        ED25519 => (b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 32),
        ECDSA_P256 => (
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
            65,
        ),
        _ => return Ok(None),
    };
    if key.len() != length {
        return Err("a key has not as many bytes as its algorithm's");
    }
    let mut hasher = Hasher::new(Engine::best());
    hasher.update(prefix);
    Ok(Some(hasher.after(key)))
}
