//! The shared vectors (tests/vectors/trust): who signed, and what no change to any byte may bring about.

use proptest::prelude::*;
use serde_json::Value;

use crate::AREA_SIZE;
use crate::keyset::{KeySet, Role};
use crate::tests::{patched, unhex, vectors_of};
use crate::trust::{Roots, TrustError, accept, accept_time, check_root, newest_time};

fn vectors() -> (Value, Vec<u8>, Vec<[u8; 32]>) {
    let (index, base) = vectors_of("trust");
    let roots = index["roots"].as_array().unwrap().iter().map(|key| unhex(key.as_str().unwrap()).try_into().unwrap());
    let roots = roots.collect();
    (index, base, roots)
}

#[test]
fn the_shared_vectors_are_accepted_or_refused_as_they_say() {
    let (index, base, keys) = vectors();
    let roots = Roots::of(&keys, index["threshold"].as_u64().unwrap() as u32);
    for case in index["cases"].as_array().unwrap() {
        let (name, image) = (&case["name"], patched(case, &base));
        let mut key_set = KeySet::EMPTY;
        let time = accept_time(&image, &roots, &mut key_set);
        assert_eq!(time, accept(&image, &roots).map(|trusted| trusted.signed_at()), "{}", case["name"]);
        if let Ok(time) = time {
            assert_eq!(newest_time(&image), time, "{}", case["name"]);
        }
        match accept(&image, &roots) {
            Ok(_) => assert_eq!(case["expect"], "ok", "{name}"),
            Err(error) => {
                assert_eq!(case["expect"], error.class(), "{name}: {error}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn what_is_accepted_says_under_which_keys() {
    let (_, base, keys) = vectors();
    let trusted = accept(&base, &Roots::of(&keys, 2)).unwrap();
    assert_eq!((trusted.key_set.version, trusted.key_set.is_dev, trusted.header.rollback_index), (3, false, 7));
    assert_eq!(trusted.digest, crate::digest(base.first_chunk().unwrap()));
    let may = |role| trusted.key_set.keys.iter().filter(|key| key.may(role)).count();
    assert_eq!((may(Role::Release), may(Role::Packages), may(Role::Evidence)), (3, 0, 2));
    assert_eq!((trusted.key_set.threshold(Role::Release), trusted.key_set.threshold(Role::Packages)), (Some(2), None));
}

#[test]
fn nothing_is_accepted_without_root() {
    let (_, base, keys) = vectors();
    for roots in [
        Roots::of(&keys, 0),
        Roots::of(&keys, 3),
        Roots::of(&[], 1),
        Roots::of(&[[0; 32]; 8], 1),
        // The point of order 1: with lax verification it would sign everything.
        Roots::of(&[core::array::from_fn(|at| u8::from(at == 0))], 1),
    ] {
        assert!(matches!(accept(&base, &roots), Err(TrustError::Root { .. })), "{roots:?}");
    }
    // One key in two places of the loader's block is one key.
    let twice = [keys[0], keys[0]];
    assert!(accept(&base, &Roots::of(&twice, 2)).is_err());
}

proptest! {
    /// Whatever changes in header, key set or signatures: it is refused, or what was signed is as it was.
    #[test]
    fn no_change_goes_unseen(at in 0..AREA_SIZE, value: u8) {
        let (_, base, keys) = vectors();
        let mut image = base.clone();
        image[at] = value;
        if let Ok(trusted) = accept(&image, &Roots::of(&keys, 2)) {
            let known = accept(&base, &Roots::of(&keys, 2)).unwrap();
            prop_assert_eq!((&trusted.header, trusted.digest), (&known.header, known.digest));
            prop_assert_eq!((trusted.key_set.digest, &trusted.key_set.keys), (known.key_set.digest, &known.key_set.keys));
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..700), at in 0usize..700) {
        let (_, base, keys) = vectors();
        let set = crate::SignatureArea::parse(&base).unwrap().key_set;
        let mut mixed = set.to_vec();
        let end = mixed.len().min(at + bytes.len());
        if at < end {
            mixed[at..end].copy_from_slice(&bytes[..end - at]);
        }
        for bytes in [&bytes[..], &mixed] {
            if let Ok(read) = KeySet::parse(bytes) {
                let _ = check_root(&read, &Roots::of(&keys, 1));
            }
        }
    }
}
