//! Who signed: root the key set, keys of the set the release. Nothing that is not signed by as many different keys as must is accepted.

use core::fmt;

use arrayvec::ArrayVec;
use ed25519_dalek::{Signature as Ed25519, VerifyingKey};
use sha256::{Engine, Hasher};

use crate::keyset::{self, ED25519, KeySet, MAX_KEYS, Role};
use crate::le::{u32_at, u64_at};
use crate::roots::MAX_QUORUMS;
use crate::signatures::{Signature, SignatureArea};
use crate::{AREA_SIZE, FLAG_DEV, HEADER_SIZE, Header, ReleaseError};

/// Under root's signature of a key set.
const KEY_SET_DOMAIN: &[u8] = b"swift-os/key-set/v1\0";
/// Under a signature of a release.
const RELEASE_DOMAIN: &[u8] = b"swift-os/release-header/v1\0";
const MESSAGE_MAX: usize = 64;
/// Where a header has its time, and a signature area the length of its key set and the key set (docs/formats/release-header.md).
const SIGNED_AT: usize = 120;
const KEY_SET_LENGTH_AT: usize = HEADER_SIZE + 16;
const KEY_SET_AT: usize = HEADER_SIZE + 32;

/// Which of root's keys sign together, and how many of them must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Quorum {
    /// From 1; with 0 nothing is accepted.
    pub threshold: u32,
    /// Bit n: the key at place n belongs to it.
    pub members: u32,
}

impl Quorum {
    /// Accepts nothing.
    pub const NONE: Self = Self { threshold: 0, members: 0 };
}

/// Root's public keys, Ed25519, and who of them must sign: one of the quorums, whole.
#[derive(Clone, Copy, Debug)]
pub struct Roots<'a> {
    /// The keys themselves.
    pub keys: &'a [[u8; 32]],
    /// The present root's, and while root is rotated the one's before.
    pub quorums: [Quorum; MAX_QUORUMS],
}

impl<'a> Roots<'a> {
    /// Of keys and quorums: another one for every other root.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Hasher::new(Engine::best());
        for Quorum { threshold, members } in self.quorums {
            hasher.update(&threshold.to_le_bytes());
            hasher.update(&members.to_le_bytes());
        }
        self.keys.iter().for_each(|key| hasher.update(key));
        hasher.after(&[])
    }

    /// So many of these keys must sign.
    #[must_use]
    pub const fn of(keys: &'a [[u8; 32]], threshold: u32) -> Self {
        Self { keys, quorums: [Quorum { threshold, members: u32::MAX }, Quorum::NONE] }
    }
}

/// Why a release is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the message prints")]
pub enum TrustError {
    /// Header or signature area break their format.
    Format(ReleaseError),
    /// The key set breaks its format.
    KeySet(&'static str),
    /// Too few of root's keys signed the key set.
    Root { signed: usize, wanted: usize },
    /// Too few keys that may sign a release did.
    Release { signed: usize, wanted: usize },
    /// The key set has no keys for releases.
    NoRole,
    /// Signed by throw-away keys, and not marked so.
    Unmarked,
}

impl TrustError {
    /// A stable name, shared with the test vectors.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Format(error) => error.class(),
            Self::KeySet(_) => "key-set",
            Self::Root { .. } => "root",
            Self::Release { .. } => "release",
            Self::NoRole => "no-role",
            Self::Unmarked => "unmarked",
        }
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => write!(f, "{error}"),
            Self::KeySet(why) => write!(f, "key set: {why}"),
            Self::Root { signed, wanted } => write!(f, "key set: signed by {signed} of root's keys, {wanted} must"),
            Self::Release { signed, wanted } => write!(f, "signed by {signed} of the key set's keys, {wanted} must"),
            Self::NoRole => f.write_str("key set: no key of it may sign a release"),
            Self::Unmarked => f.write_str("signed by throw-away keys, and not marked dev"),
        }
    }
}

impl core::error::Error for TrustError {}

impl From<ReleaseError> for TrustError {
    fn from(error: ReleaseError) -> Self {
        Self::Format(error)
    }
}

/// A release whose header is as it was signed.
#[derive(Clone, Debug)]
pub struct Trusted<'a> {
    /// Its header.
    pub header: Header,
    /// Which keys it was held to.
    pub key_set: KeySet<'a>,
    /// SHA-256 of the header's bytes.
    pub digest: [u8; 32],
}

impl Trusted<'_> {
    /// The newest time that was signed with it, in header or key set; seconds since 1970, 0: none is told.
    #[must_use]
    pub fn signed_at(&self) -> u64 {
        self.header.signed_at.max(self.key_set.signed_at)
    }
}

/// [`Trusted::signed_at`] of an area that was verified before: its form is not looked at again. 0 for what cannot have been.
#[must_use]
pub fn newest_time(area: &[u8]) -> u64 {
    if area.len() < AREA_SIZE {
        return 0;
    }
    let has_key_set = u32_at(area, KEY_SET_LENGTH_AT) > 0;
    u64_at(area, SIGNED_AT).max(if has_key_set { u64_at(area, KEY_SET_AT + keyset::SIGNED_AT) } else { 0 })
}

/// Reads header and signature area, the first [`crate::AREA_SIZE`] bytes of a slot image, and holds them to root's keys.
///
/// # Errors
/// What is wrong, or who did not sign.
pub fn accept<'a>(image: &'a [u8], roots: &Roots<'_>) -> Result<Trusted<'a>, TrustError> {
    let header = Header::parse(image)?;
    let mut key_set = KeySet::EMPTY;
    let digest = hold(image, header.flags_critical, roots, &mut key_set)?;
    Ok(Trusted { header, key_set, digest })
}

/// The same for who wants the newest signed time alone, and has a small stack: the key set that is filled lies elsewhere.
///
/// # Errors
/// As [`accept`].
pub fn accept_time<'a>(image: &'a [u8], roots: &Roots<'_>, key_set: &mut KeySet<'a>) -> Result<u64, TrustError> {
    let (flags, signed_at) = flags_and_time(image)?;
    hold(image, flags, roots, key_set)?;
    Ok(signed_at.max(key_set.signed_at))
}

/// Of the header, which is gone from the stack afterwards.
#[inline(never)]
fn flags_and_time(image: &[u8]) -> Result<(u64, u64), TrustError> {
    let header = Header::parse(image)?;
    Ok((header.flags_critical, header.signed_at))
}

/// Holds what was read to those who must have signed it. The digest of the header's bytes.
#[inline(never)]
fn hold<'a>(image: &'a [u8], flags: u64, roots: &Roots<'_>, key_set: &mut KeySet<'a>) -> Result<[u8; 32], TrustError> {
    let area = SignatureArea::parse(image)?;
    let raw: &[u8; HEADER_SIZE] = image.first_chunk().ok_or(ReleaseError::Truncated(image.len()))?;
    let digest = crate::digest(raw);
    key_set.read(area.key_set).map_err(TrustError::KeySet)?;
    check_root(key_set, roots)?;
    let wanted = key_set.threshold(Role::Release).ok_or(TrustError::NoRole)?;
    let keys = key_set.keys.iter().filter(|key| key.algorithm == ED25519 && key.may(Role::Release));
    let signed = signers(RELEASE_DOMAIN, &digest, &area.signatures, keys.map(|key| (key.id, key.bytes)));
    if signed < wanted {
        return Err(TrustError::Release { signed, wanted });
    }
    if key_set.is_dev && flags & FLAG_DEV == 0 {
        return Err(TrustError::Unmarked);
    }
    Ok(digest)
}

/// Holds a key set to root's keys.
///
/// # Errors
/// Of no quorum did enough sign it.
pub fn check_root(key_set: &KeySet<'_>, roots: &Roots<'_>) -> Result<(), TrustError> {
    let counts = roots.quorums.map(|quorum| {
        let members = (0..u32::BITS).zip(roots.keys).filter(|(at, _)| quorum.members >> at & 1 != 0);
        let keys = members.filter_map(|(_, key)| Some((keyset::id_of(ED25519, key).ok()??, &key[..])));
        (signers(KEY_SET_DOMAIN, &key_set.digest, &key_set.signatures, keys), quorum.threshold as usize)
    });
    if counts.iter().any(|&(signed, wanted)| wanted > 0 && signed >= wanted) {
        return Ok(());
    }
    let [(signed, wanted), _] = counts;
    Err(TrustError::Root { signed, wanted: wanted.max(1) })
}

/// How many different ones of the keys signed.
fn signers<'k>(
    domain: &[u8],
    digest: &[u8; 32],
    signatures: &[Signature<'_>],
    keys: impl Iterator<Item = ([u8; 32], &'k [u8])>,
) -> usize {
    let mut message = ArrayVec::<u8, MESSAGE_MAX>::new();
    message.extend(domain.iter().chain(digest).copied());
    let mut counted = ArrayVec::<[u8; 32], MAX_KEYS>::new();
    for (id, key) in keys {
        let by_it = signatures.iter().filter(|signature| signature.algorithm == ED25519 && signature.key_id == id);
        let has_signed = by_it.into_iter().any(|signature| is_valid(key, &message, signature.bytes));
        if has_signed && !counted.contains(&id) && counted.try_push(id).is_err() {
            break;
        }
    }
    counted.len()
}

/// RFC 8032, strictly: no key or signature of small order, no other encoding of either.
fn is_valid(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::try_from(key), Ed25519::from_slice(signature)) else { return false };
    key.verify_strict(message, &signature).is_ok()
}
