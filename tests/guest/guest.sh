#!/bin/sh
# What an ordinary user may not do. To be run as one.
. "${0%/*}/lib.sh"

check not-root 'ordinary' "$([ "$(id -u)" -ne 0 ] && [ "$(id -g)" -ne 0 ] && echo ordinary)"
check no-group-of-root '0' "$(id -G | tr ' ' '\n' | grep -cx 0)"
check ids-agree "$(id -u) $(id -g)" "$(awk '/^Uid:/ { u = $3 } /^Gid:/ { g = $3 } END { print u, g }' /proc/self/status)"

# --- files of others
no shadow-is-secret cat /etc/shadow
yes passwd-is-public test -r /etc/passwd
no write-passwd sh -c 'echo x >>/etc/passwd'
no create-in-etc touch /etc/mine
no create-in-root touch /mine
no remove-passwd rm -f /etc/passwd
no rename-passwd mv -f /etc/passwd /etc/other
no chmod-passwd chmod 666 /etc/passwd
no chown-passwd chown "$(id -u)" /etc/passwd
no home-of-root ls /root
no write-memory-of-init sh -c 'echo x >/proc/1/mem'

# --- own files
touch mine
no give-away chown 0 mine
no give-group-away chgrp 0 mine
check own-mode '600' "$(chmod 600 mine; stat -c %a mine)"
echo secret >noread; chmod 000 noread
no own-mode-binds cat noread
chmod 400 noread
no own-read-only sh -c 'echo x >noread'
check owner-may-relax 'secret' "$(cat noread)"
mkdir closed; echo in >closed/f; chmod 600 closed
no no-search cat closed/f
chmod 300 closed
no no-listing ls closed
check search-without-listing 'in' "$(cat closed/f)"
chmod 500 closed
no no-creation touch closed/g
no no-removal rm -f closed/f
chmod 700 closed
check sticky-tmp '1777' "$(stat -c %a "${TMPDIR:-/tmp}")"

# --- processes of others
no signal-init kill -TERM 1
no signal-init-zero kill -0 1
yes signal-own kill -0 $$
no become-root setpriv --ambient-caps +all true
no mount-something mount -t tmpfs none "$work"
no device-node mknod "$work/node" c 1 3
no other-root chroot / /bin/true
no host-name hostname stolen
no better-priority renice -n -5 -p $$
check raise-limit 'refused' "$(sh -c 'ulimit -n 64; ulimit -n 128 || echo refused' 2>/dev/null)"

finish
