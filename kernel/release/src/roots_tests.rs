//! The block of root keys: from the text of a build to whose key sets a loader takes.

use std::panic::catch_unwind;

use crate::roots::RootKeys;
use crate::tests::{unhex, vectors_of};
use crate::trust::{Quorum, TrustError, accept};

const STRANGER: &str = "5555555555555555555555555555555555555555555555555555555555555555";

/// The release of the shared vectors, whose key set root's keys 1 and 2 have signed, and root's three keys.
fn vectors() -> (Vec<u8>, [String; 3]) {
    let (index, base) = vectors_of("trust");
    (base, core::array::from_fn(|at| index["roots"][at].as_str().unwrap().to_string()))
}

fn accepted(source: &str, image: &[u8]) -> Result<(), TrustError> {
    accept(image, &RootKeys::parse(source).roots()).map(|_| ())
}

#[test]
fn a_block_holds_its_keys_once_and_who_belongs_to_which_root() {
    let (_, [one, two, three]) = vectors();
    let block = RootKeys::parse(&format!("2:{one},{two},{three};1:{two},{STRANGER}"));
    let roots = block.roots();
    assert_eq!(roots.keys, [&one, &two, &three, STRANGER].map(|key| <[u8; 32]>::try_from(unhex(key)).unwrap()));
    let quorums = [Quorum { threshold: 2, members: 0b111 }, Quorum { threshold: 1, members: 0b1010 }];
    assert_eq!(roots.quorums, quorums);
    assert!(RootKeys::parse("").roots().keys.is_empty());
}

#[test]
fn as_many_keys_as_the_threshold_must_have_signed() {
    let (image, [one, two, three]) = vectors();
    assert_eq!(accepted(&format!("2:{one},{two},{three}"), &image), Ok(()));
    assert_eq!(accepted(&format!("1:{one},{three}"), &image), Ok(()));
    let too_few = Err(TrustError::Root { signed: 1, wanted: 2 });
    assert_eq!(accepted(&format!("2:{one},{three}"), &image), too_few);
    assert_eq!(accepted("", &image), Err(TrustError::Root { signed: 0, wanted: 1 }));
}

#[test]
fn while_root_is_rotated_the_new_or_the_old_one_signs_but_not_half_of_each() {
    let (image, [one, two, three]) = vectors();
    assert_eq!(accepted(&format!("2:{one},{two};1:{STRANGER}"), &image), Ok(()), "signed by the new root");
    assert_eq!(accepted(&format!("1:{STRANGER};2:{one},{two}"), &image), Ok(()), "signed by the old root");
    assert_eq!(
        accepted(&format!("2:{one},{three};2:{two},{three}"), &image).map_err(|error| error.class()),
        Err("root")
    );
}

#[test]
fn a_text_of_another_form_makes_no_loader() {
    let (_, [one, two, _]) = vectors();
    let many: Vec<String> = (0..9).map(|n| format!("{n:064}")).collect();
    for source in [
        one.clone(),
        format!("1:{one},"),
        format!("1:{one}{two}"),
        format!("1:{}", &one[..63]),
        format!("1:{}", one.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")),
        format!("0:{one}"),
        format!("3:{one},{two}"),
        format!("2:{one},{one}"),
        format!("1:{one};1:{two};1:{STRANGER}"),
        format!("1:{}", many.join(",")),
        "1:".to_string(),
    ] {
        assert!(catch_unwind(|| RootKeys::parse(&source)).is_err(), "{source}");
    }
}
