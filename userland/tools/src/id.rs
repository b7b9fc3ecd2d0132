//! `id`: in the words of GNU coreutils.

use crate::{Usage, unknown};
use accounts::{FILE_MAX, groups, groups_of, user, users};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write;
use rt::rustix::process::{getegid, geteuid, getgid, getgroups, getuid};

pub const HELP: &str = "usage: id [-u | -g | -G] [-n] [-r] [USER]
Shows the ids and groups of USER, or of this process.
  -u  only the user id
  -g  only the group id
  -G  all group ids
  -n  names instead of numbers (with -u, -g, -G)
  -r  the real id instead of the effective one (with -u, -g, -G)
";

/// Whose ids they are: effective and real, and all groups.
struct Ids {
    uid: (u32, u32),
    gid: (u32, u32),
    groups: Vec<u32>,
}

pub fn run(_: &str, arguments: &[&str]) -> Result<i32, Usage> {
    let (mut only, mut names, mut real, mut whose) = (None, false, false, None);
    for argument in arguments {
        match argument.strip_prefix('-').filter(|flags| !flags.is_empty()) {
            Some(flags) => {
                for flag in flags.chars() {
                    match flag {
                        'u' | 'g' | 'G' if only.is_none_or(|o| o == flag) => only = Some(flag),
                        'u' | 'g' | 'G' => return Err(Usage("only one of -u, -g and -G can be had".into())),
                        'n' => names = true,
                        'r' => real = true,
                        _ => return Err(unknown(argument)),
                    }
                }
            }
            None if whose.is_none() => whose = Some(*argument),
            None => return Err(unknown(argument)),
        }
    }
    if only.is_none() && (names || real) {
        return Err(Usage("-n and -r need one of -u, -g and -G".into()));
    }
    let read = |path| rt::fs::read_text(path, FILE_MAX).unwrap_or_default();
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let ids = match whose {
        None => of_this_process(),
        Some(name) => match user(&passwd, name) {
            Some(user) => {
                Ok(Ids { uid: (user.uid, user.uid), gid: (user.gid, user.gid), groups: groups_of(&user, &group) })
            }
            None => {
                rt::errln!("id: '{name}': no such user");
                return Ok(1);
            }
        },
    };
    let ids = match ids {
        Ok(ids) => ids,
        Err(error) => {
            rt::errln!("id: cannot get the groups: {}", rt::errno::text(error));
            return Ok(1);
        }
    };
    let user_name = |uid| users(&passwd).find(|u| u.uid == uid).map(|u| u.name);
    let group_name = |gid| groups(&group).find(|g| g.gid == gid).map(|g| g.name);
    let text = match only {
        None => full(&ids, user_name, group_name),
        Some(which) => {
            let show =
                |id: u32, name: Option<&str>| name.filter(|_| names).map_or_else(|| id.to_string(), String::from);
            let pick = |(effective, of_real)| if real { of_real } else { effective };
            match which {
                'u' => show(pick(ids.uid), user_name(pick(ids.uid))),
                'g' => show(pick(ids.gid), group_name(pick(ids.gid))),
                _ => ids.groups.iter().map(|&g| show(g, group_name(g))).collect::<Vec<_>>().join(" "),
            }
        }
    };
    Ok(i32::from(!rt::out!("{text}\n")))
}

/// The effective group first, the others as the kernel keeps them.
fn of_this_process() -> Result<Ids, rt::Errno> {
    let gid = getegid().as_raw();
    let others = getgroups()?.into_iter().map(|g| g.as_raw()).filter(|&g| g != gid);
    Ok(Ids {
        uid: (geteuid().as_raw(), getuid().as_raw()),
        gid: (gid, getgid().as_raw()),
        groups: [gid].into_iter().chain(others).collect(),
    })
}

fn full<'a>(ids: &Ids, user: impl Fn(u32) -> Option<&'a str>, group: impl Fn(u32) -> Option<&'a str>) -> String {
    let named = |id: u32, name: Option<&str>| name.map_or_else(|| id.to_string(), |name| format!("{id}({name})"));
    let ((euid, uid), (egid, gid)) = (ids.uid, ids.gid);
    let mut text = format!("uid={} gid={}", named(uid, user(uid)), named(gid, group(gid)));
    if euid != uid {
        let _ = write!(text, " euid={}", named(euid, user(euid)));
    }
    if egid != gid {
        let _ = write!(text, " egid={}", named(egid, group(egid)));
    }
    let groups: Vec<String> = ids.groups.iter().map(|&g| named(g, group(g))).collect();
    let _ = write!(text, " groups={}", groups.join(","));
    text
}
