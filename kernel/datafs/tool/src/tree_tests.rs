//! Trees into a volume and out again.

use std::collections::BTreeMap;
use std::io::Read;

use tar::{Archive, Builder, EntryType, Header};

use crate::tests::fresh;
use crate::{Mounted, tree};

const BLOCKS: u64 = 4096;

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(1000);
    header.set_gid(100);
    header.set_mtime(1_700_000_000);
    header.set_size(size as u64);
    header
}

fn archive() -> Vec<u8> {
    let mut out = Builder::new(Vec::new());
    let big: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    out.append_data(&mut header(EntryType::Directory, 0o2755, 0), "a/", &b""[..]).unwrap();
    out.append_data(&mut header(EntryType::Regular, 0o640, big.len()), "a/big", &big[..]).unwrap();
    out.append_data(&mut header(EntryType::Regular, 0o4711, 3), "a/tool", &b"abc"[..]).unwrap();
    out.append_link(&mut header(EntryType::Link, 0o4711, 0), "second", "a/tool").unwrap();
    out.append_link(&mut header(EntryType::Symlink, 0o777, 0), "a/link", "../elsewhere").unwrap();
    out.append_pax_extensions([("SCHILY.xattr.user.colour", &b"blue"[..])]).unwrap();
    out.append_data(&mut header(EntryType::Regular, 0o600, 0), "x/y/deep", &b""[..]).unwrap();
    out.into_inner().unwrap()
}

/// Everything that an archive says, by name.
fn told(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for entry in Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let (header, link) =
            (entry.header().clone(), entry.link_name().unwrap().map(|link| link.display().to_string()));
        let attributes: Vec<String> = entry
            .pax_extensions()
            .unwrap()
            .into_iter()
            .flatten()
            .map(Result::unwrap)
            .map(|extension| format!("{}={:?}", extension.key().unwrap(), extension.value_bytes()))
            .filter(|text| text.contains("xattr"))
            .collect();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        let sum = contents.iter().fold(0u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        rows.insert(
            name.trim_end_matches('/').to_owned(),
            format!(
                "{:?} {:o} {}:{} {} {link:?} {} {sum:x} {attributes:?}",
                header.entry_type(),
                header.mode().unwrap() & 0o7777,
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.mtime().unwrap(),
                contents.len(),
            ),
        );
    }
    rows
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let mut volume = fresh(BLOCKS);
    let given = archive();
    tree::import(&mut volume, b"/", &given[..], 9).unwrap();
    volume.checkpoint().unwrap();
    let mut volume = Mounted::open(volume.device).unwrap();
    let mut out = Vec::new();
    tree::export(&mut volume, b"/", &mut out).unwrap();
    let (mut given, mut found) = (told(&given), told(&out));
    // Directories that no member named, and the root, are the importer's own.
    for made in [".", "x", "x/y"] {
        assert!(found.remove(made).unwrap().starts_with("Directory 755 "));
    }
    // Which of two names is the file, and which the link to it, is the order's.
    for name in ["a/tool", "second"] {
        assert!(given.remove(name).is_some() && found.remove(name).is_some());
    }
    assert_eq!(given, found);
    let second = tree::resolve(&mut volume, b"/second").unwrap();
    assert_eq!(second, tree::resolve(&mut volume, b"a/tool").unwrap());
    assert_eq!(volume.contents(second).unwrap(), b"abc");
    assert_eq!(volume.run(|v| v.attributes(second)).unwrap().mode, 0o104_711);
}

#[test]
fn the_same_archive_gives_the_same_volume() {
    let [one, other] = [0, 1].map(|_| {
        let mut volume = fresh(BLOCKS);
        tree::import(&mut volume, b"/", &archive()[..], 9).unwrap();
        volume.checkpoint().unwrap();
        let mut out = Vec::new();
        tree::export(&mut volume, b"/", &mut out).unwrap();
        (out, volume.device.contents())
    });
    assert!(one == other);
}

#[test]
fn members_that_no_volume_can_have_are_refused() {
    let refused = |kind, name: &str, link: Option<&str>| {
        let mut out = Builder::new(Vec::new());
        let mut header = header(kind, 0o644, 0);
        let old = &mut header.as_old_mut().name;
        old[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(link) = link {
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        out.append(&header, &b""[..]).unwrap();
        let error = tree::import(&mut fresh(BLOCKS), b"/", &out.into_inner().unwrap()[..], 9).unwrap_err();
        error.to_string()
    };
    assert_eq!(refused(EntryType::Regular, "a/../b", None), "a/../b: a member's name must not have '..'");
    assert_eq!(refused(EntryType::Link, "b", Some("a")), "b: it links to a member that is not there");
    assert_eq!(refused(EntryType::Char, "tty", None), "tty: neither a file, nor a directory, nor a link");
}
