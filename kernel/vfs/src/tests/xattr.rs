//! Who may do what with which extended attribute. What the file system itself says then is tested where one has them.

use super::*;
use crate::inode::SetXattr;
use crate::xattr::{get, list, remove, set};

/// Sets, gets and removes; tmpfs has none, so what was allowed ends in `EOPNOTSUPP`.
fn outcomes(context: &PathContext<Host>, path: &str, name: &str) -> [Errno; 3] {
    let place = lookup(context, &at(path), false).unwrap();
    let name = name.as_bytes();
    [
        set(context, &place, name, b"v", SetXattr::Any).unwrap_err(),
        get(context, &place, name).unwrap_err(),
        remove(context, &place, name).unwrap_err(),
    ]
}

#[test]
fn namespaces_and_permissions() {
    use Errno as E;
    let root = furnished();
    crate::attributes::set_mode(&root, &lookup(&root, &at("f"), true).unwrap(), 0o644).unwrap();
    let other = as_user(&root, 5);
    let none = [E::EOPNOTSUPP; 3];
    for (path, name, by_root, by_other) in [
        ("f", "user.a", none, [E::EACCES, E::EOPNOTSUPP, E::EACCES]),
        ("locked", "user.a", none, [E::EACCES; 3]),
        // Sticky: only the owner, though all may write.
        ("open", "user.a", none, [E::EPERM, E::EOPNOTSUPP, E::EPERM]),
        ("tofile", "user.a", [E::EPERM, E::ENODATA, E::EPERM], [E::EPERM, E::ENODATA, E::EPERM]),
        ("f", "trusted.a", none, [E::EPERM, E::ENODATA, E::EPERM]),
        ("tofile", "trusted.a", none, [E::EPERM, E::ENODATA, E::EPERM]),
        ("f", "security.a", none, [E::EPERM, E::EOPNOTSUPP, E::EPERM]),
        ("f", "system.posix_acl_access", none, none),
        ("f", "user.", [E::EINVAL; 3], [E::EACCES, E::EINVAL, E::EACCES]),
        ("f", "nonsense", none, [E::EACCES, E::EOPNOTSUPP, E::EACCES]),
    ] {
        assert_eq!(outcomes(&root, path, name), by_root, "{path} {name}");
        assert_eq!(outcomes(&other, path, name), by_other, "{path} {name} by another");
    }
    assert_eq!(list(&root, &lookup(&root, &at("f"), true).unwrap()), Ok(Vec::new()));
}
