//! Who there is: the text of /etc/passwd, /etc/group and /etc/shadow, read line by line.
//!
//! A line that is not well formed names nobody: it is passed over, as every reader of these files does. Nothing here
//! opens a file.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

/// The most that a reader takes of one of these files.
pub const FILE_MAX: usize = 64 << 10;

/// A line of /etc/passwd: `name:x:uid:gid:description:home:shell`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Login name.
    pub name: &'a str,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Where a session starts.
    pub home: &'a str,
    /// What a session runs; empty means /bin/sh.
    pub shell: &'a str,
}

/// A line of /etc/group: `name:x:gid:member,member`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Name.
    pub name: &'a str,
    /// Group id.
    pub gid: u32,
    members: &'a str,
}

impl Group<'_> {
    /// Whether the user is named in the group's last field.
    pub fn has_member(&self, user: &str) -> bool {
        self.members.split(',').any(|m| m == user)
    }
}

/// The fields of a line, if there are exactly `N`.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut parts = line.split(':');
    let mut found = [""; N];
    for field in &mut found {
        *field = parts.next()?;
    }
    (parts.next().is_none() && !found[0].is_empty()).then_some(found)
}

/// An id is decimal digits only; `u32::MAX` means "no id" to the kernel and names nobody.
fn id(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?.filter(|&id| id != u32::MAX)
}

/// Every user of a passwd file, in order.
pub fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let [name, _, uid, gid, _, home, shell] = fields(line)?;
        Some(User { name, uid: id(uid)?, gid: id(gid)?, home, shell })
    })
}

/// Every group of a group file, in order.
pub fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let [name, _, gid, members] = fields(line)?;
        Some(Group { name, gid: id(gid)?, members })
    })
}

/// The first user of this name.
pub fn user<'a>(passwd: &'a str, name: &str) -> Option<User<'a>> {
    users(passwd).find(|u| u.name == name)
}

/// The user's groups: the primary one first, then those that name them, each once.
pub fn groups_of(user: &User, group: &str) -> Vec<u32> {
    let mut found = alloc::vec![user.gid];
    for other in groups(group).filter(|g| g.has_member(user.name)) {
        if !found.contains(&other.gid) {
            found.push(other.gid);
        }
    }
    found
}

/// The password field of a shadow file's line: `name:field:…`, nine fields.
pub fn password_field<'a>(shadow: &'a str, name: &str) -> Option<&'a str> {
    shadow.lines().filter_map(fields::<9>).find(|f| f[0] == name).map(|f| f[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken:x:1\nbad:x:-1:0:::\nnone:x:4294967295:0:::\n\
                          guest:x:1000:1000:Guest,,,:/home/guest:/bin/sh\n";
    const GROUP: &str = "root:x:0:\ntty:x:5:guest\nguest:x:1000:guest\nwheel:x:10:root,guest\nnot:x:11:guest2\n";

    #[test]
    fn users_are_found_and_broken_lines_name_nobody() {
        let names: Vec<_> = users(PASSWD).map(|u| u.name).collect();
        assert_eq!(names, ["root", "guest"]);
        let guest = User { name: "guest", uid: 1000, gid: 1000, home: "/home/guest", shell: "/bin/sh" };
        assert_eq!(user(PASSWD, "guest"), Some(guest));
        assert_eq!(user(PASSWD, "gues"), None);
        assert_eq!(user(PASSWD, ""), None);
        assert_eq!(user(":x:0:0::/:/bin/sh\n", ""), None, "an empty name is nobody's, least of all root's");
    }

    #[test]
    fn groups_come_primary_first_and_once() {
        assert_eq!(groups_of(&user(PASSWD, "guest").unwrap(), GROUP), [1000, 5, 10]);
        assert_eq!(groups_of(&user(PASSWD, "root").unwrap(), GROUP), [0, 10]);
    }

    #[test]
    fn the_password_field_is_the_second_of_nine() {
        let shadow = "root:$6$a$b:1:0:99999:7:::\nguest:!:1:0:99999:7:::\nshort:$6$a$b\n";
        assert_eq!(password_field(shadow, "root"), Some("$6$a$b"));
        assert_eq!(password_field(shadow, "guest"), Some("!"));
        assert_eq!(password_field(shadow, "short"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in ".{0,300}", name in "[a-z:]{0,4}") {
            if let Some(found) = user(&text, &name) {
                prop_assert_eq!(found.name, &name[..]);
                prop_assert!(!groups_of(&found, &text).is_empty());
            }
            let _ = password_field(&text, &name);
        }
    }
}
