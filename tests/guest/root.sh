#!/bin/sh
# What only root may do, and what a change of user does. To be run as root.
. "${0%/*}/lib.sh"

check root 'uid=0 gid=0' "$(id | sed 's/([a-z]*)//g' | cut -d' ' -f1,2)"
umask 022
chmod 755 .
echo data >f
chown 1000:100 f
check chown '1000:100' "$(stat -c %u:%g f)"
chmod 6755 f
check setuid-mode '6755' "$(stat -c %a f)"
chown 1001 f
check chown-clears-setuid '755' "$(stat -c %a f)"
chgrp 7 f
check chgrp '1001:7' "$(stat -c %u:%g f)"
chmod 000 f
check root-reads-all 'data' "$(cat f)"
check root-writes-all 'more' "$(echo more >>f; tail -n 1 f)"
chmod 644 f
check root-needs-an-x-to-run '126' "$(./f 2>/dev/null; echo $?)"
mkdir d; chown 1000:1000 d; ln -s f l; chown -h 5:6 l
check link-owner '5:6 1001:7' "$(stat -c %u:%g l) $(stat -L -c %u:%g l)"
chown -R 42:43 d
check recursive '42:43' "$(stat -c %u:%g d)"

# --- mounts
mkdir m b; echo under >m/f
yes mount-tmpfs mount -t tmpfs -o size=64k,mode=700 none m
check mount-hides 'drwx------ 0' "$(ls -ld m | cut -c1-10) $(ls m | wc -l)"
no mount-has-a-limit dd if=/dev/zero of=m/big bs=1k count=100
check mount-is-full '64' "$(df -k m | awk 'END { print $3 }')"
no rename-out-of-mount sh -c 'ln m/big hard'
rm m/big; mkdir m/sub; echo x >m/sub/f
yes bind mount -o bind m/sub b
check bind-shows 'x' "$(cat b/f)"
check mounts-are-listed '2' "$(grep -c "$work/[mb] " /proc/mounts)"
no unmount-twice-used sh -c 'rmdir m'
umount b && umount m
check unmounted 'under' "$(cat m/f)"
no unmount-none umount m

# --- as another user
cat >as-other <<END
id -u; id -g
cat "$work/secret" 2>/dev/null || echo refused
echo x 2>/dev/null >>"$work/public" || echo read-only
rm -f "$work/sticky/roots" 2>/dev/null || echo kept
touch "$work/sticky/own" && rm "$work/sticky/own" && echo own
END
echo s >secret; chmod 600 secret
echo p >public; chmod 644 public
mkdir sticky; chmod 1777 sticky; touch sticky/roots
# the first ordinary user that there is: start-stop-daemon wants one with a name
other=$(awk -F: '$3 >= 1000 { print $3 ":" $4; exit }' /etc/passwd)
check another-user "${other%:*} ${other#*:} refused read-only kept own" \
    "$(start-stop-daemon -S -q -p "$work/none" -c "$other" -a "$sh" -x "$sh" -- "$work/as-other" | tr '\n' ' ' | sed 's/ $//')"

finish
