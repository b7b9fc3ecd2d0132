#!/bin/sh
# What only swift-os has: its tools, events, and layout. Any user.
. "${0%/*}/lib.sh"

# --- events
events >all
check events-begin-with-the-kernel '1' "$(grep -c '^\[evt\] kernel.entry t=' all)"
check events-reach-the-login '1' "$(grep -c '^\[evt\] boot.ready t=' all)"
check events-by-name '0' "$(events service | grep -cv '^\[evt\] service\.')"
check events-by-name-and-dot "$(events service)" "$(events service.)"
yes events-of-init sh -c "events service.start | grep -q 'name=console'"
check events-in-order 'in order' "$(sed 's/.* t=\([0-9.]*\).*/\1/' all | sort -c -n && echo in order)"
check events-none '' "$(events no.such.name)"
no events-bad-option events -x
if [ "$(id -u)" -eq 0 ]; then
    echo 'test.mark number=7 text="two words"' >/dev/events
    check event-written '1' "$(events test.mark | grep -c ' number=7 text="two words"$')"
else
    no event-refused sh -c 'echo test.forged >/dev/events'
fi

# --- memory: files in /tmp are shared memory, which is cached and not available
kib() { awk -v key="$1:" '$1 == key { print $2 }' /proc/meminfo; }
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }
shared=$(kib Shmem) free=$(kib MemFree) available=$(kib MemAvailable)
dd if=/dev/zero of=/tmp/large.$$ bs=1M count=16 2>"$work/.out"
yes files-in-memory-are-shared between $(($(kib Shmem) - shared)) 16384 16500
yes files-in-memory-are-cached test "$(kib Cached)" -ge "$(kib Shmem)"
yes files-in-memory-take-free-memory between $((free - $(kib MemFree))) 16384 17500
yes files-in-memory-are-not-available between $((available - $(kib MemAvailable))) 16384 17500
check free-shows-shared "$(kib Shmem)" "$(free | awk '$1 == "Mem:" { print $5 }')"
rm /tmp/large.$$
yes gone-with-the-file between $(($(kib Shmem) - shared)) -100 100

# --- tools
check id-whole "uid=$(id -u)($(id -un)) gid=$(id -g)($(id -gn))" "$(/usr/bin/id | cut -d' ' -f1,2)"
check id-of-guest 'uid=1000(guest) gid=1000(guest) groups=1000(guest)' "$(/usr/bin/id guest)"
check top-has-every-cpu "$(nproc)" "$(/usr/bin/top -b -n 1 | grep -c '^cpu[0-9]* .*% idle$')"
yes top-shows-init sh -c "/usr/bin/top -b -n 1 | grep -q ' init\$'"
check top-twice '2' "$(/usr/bin/top -b -n 2 -d 1 | grep -c COMMAND)"
[ "$(id -u)" -eq 0 ] || no halt-refused /usr/bin/halt
no reboot-argument /usr/bin/reboot now

# --- layout
check release 'swift-os' "$(. /etc/os-release; echo "$ID")"
check one-directory-of-programs '/usr/bin /usr/bin /usr/bin' "$(realpath /bin /sbin /usr/sbin | tr '\n' ' ' | sed 's/ $//')"
check read-only-base 'refused' "$(touch /usr/bin/x 2>/dev/null || echo refused)"
check init-is-first '/usr/bin/init' "$(events init.start | sed 's/.*path=\([^ ]*\).*/\1/' | xargs realpath)"
check shadow-is-for-root 'nobody else' "$(stat -c '%a %u' /etc/shadow | grep -q '^[46][04]0 0$' && echo 'nobody else')"

# --- the root is a mount of its own; a Linux on which these scripts run in a chroot has none
check root-is-a-mount '/' "$(awk '$2 == "/" { print $2 }' /proc/mounts)"
yes df-of-a-folder df .

finish
