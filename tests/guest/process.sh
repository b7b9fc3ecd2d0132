#!/bin/sh
# Processes: status, signals, groups, orphans, fifos, limits, and what /proc says of them.
. "${0%/*}/lib.sh"

# --- status
for status in 0 1 127 255; do
    sh -c "exit $status"
    check exit-$status "$status" "$?"
done
check status-is-a-byte '44' "$(sh -c 'exit 300'; echo $?)"
for signal in HUP:1 INT:2 KILL:9 USR1:10 SEGV:11 ALRM:14 TERM:15; do
    sh -c "kill -${signal%:*} \$\$" 2>/dev/null
    check "killed-by-${signal%:*}" "$((128 + ${signal#*:}))" "$?"
done
sh -c 'echo $PPID' >parent
check own-parent "$$" "$(cat parent)"
yes true-succeeds true
no false-fails false
check timeout-kills '143' "$(timeout 1 $sh -c 'while :; do sleep 1; done'; echo $?)"
check timeout-lets-go '5' "$(timeout 30 $sh -c 'exit 5'; echo $?)"
before=$(date +%s)
sleep 1
after=$(date +%s)
yes time-passes test $after -gt $before
check usleep '0' "$(usleep 1000; echo $?)"

# --- signals
check signal-order 'a b' "$(sh -c 'trap "printf a\ " USR1; trap "printf b" USR2; kill -USR1 $$; kill -USR2 $$; :')"
check child-signal 'ended' "$(sh -c 'trap "echo ended" CHLD; sh -c "exit 0"; :' | head -n 1)"
sh -c 'trap "exit 9" TERM; while :; do sleep 1; done' & worker=$!
sleep 1
kill $worker
wait $worker
check handler-in-loop '9' "$?"
sleep 60 & worker=$!
kill -STOP $worker
sleep 1
check stopped-state 'T' "$(awk '{ print $3 }' /proc/$worker/stat)"
kill -CONT $worker
sleep 1
check continued-state 'S' "$(awk '{ print $3 }' /proc/$worker/stat)"
kill -KILL $worker
wait $worker
check kill-is-final '137' "$?"
no signal-to-nobody kill -TERM $worker
yes signal-zero kill -0 $$
no bad-signal kill -NOSUCH $$
{ sh -c 'while :; do echo x; done'; echo $? >status; } | head -n 1 >first
check broken-pipe 'x 141' "$(cat first) $(cat status)"
check session '6' "$(setsid $sh -c 'exit 6'; echo $?)"

# --- orphans and many children
sh -c '(sleep 1; echo orphan >orphan) & exit 0'
no orphan-still-works test -e orphan
sleep 2
check orphan-ended 'orphan' "$(cat orphan)"
i=0
while [ $i -lt 200 ]; do i=$((i + 1)); (exit $i); done
check two-hundred-children '200' "$?"
for i in $(seq 1 40); do sleep 1 & done
wait
check forty-at-once '0' "$?"
check nested-shells '12' "$(n=0; c='echo $n'; sh -c 'f() { if [ $1 -gt 0 ]; then sh -c "$2" sh $(($1 - 1)) "$2"; else echo bottom; fi; }; n=12; s='"'"'if [ $1 -gt 0 ]; then printf x; sh -c "$2" sh $(($1 - 1)) "$2"; fi'"'"'; sh -c "$s" sh $n "$s" | wc -c')"

# --- between processes
mkfifo pipe1
(echo through >pipe1) &
check fifo 'through' "$(cat pipe1)"
wait
(exec 7<>pipe1; echo kept >&7; cat <&7 >got & reader=$!; sleep 1; kill $reader)
check fifo-both-ways 'kept' "$(cat got)"
check parallel-xargs '8' "$(seq 1 8 | xargs -P 4 -n 1 $sh -c 'echo done' sh | wc -l)"
check shared-offset '1 2' "$({ read a; printf '%s ' "$a"; sh -c 'read b; echo $b'; } <<END
1
2
END
)"

# --- limits and attributes
check file-limit '16' "$(ulimit -n 16; ulimit -n)"
check umask-inherited '0027' "$(umask 027; sh -c umask)"
check directory-inherited '/' "$(cd /; sh -c pwd)"
check system-name 'Linux aarch64' "$(uname -s) $(uname -m)"

# --- /proc
sleep 60 & worker=$!
check command-line '2' "$(tr '\0' '\n' </proc/$worker/cmdline | grep -cx -e sleep -e 60)"
check process-directory "$work" "$(readlink /proc/self/cwd)"
check parent-in-stat "$$" "$(awk '{ print $4 }' /proc/$worker/stat)"
check status-fields '4' "$(grep -cE '^(Name|State|Pid|PPid):' /proc/$worker/status)"
check descriptors '3' "$(ls /proc/$worker/fd | grep -c '^[012]$')"
yes listed-by-ps sh -c "ps -o pid | grep -q '^ *$worker\$'"
check maps-has-a-stack '1' "$(grep -c '\[stack\]' /proc/$worker/maps)"
kill $worker
wait $worker
no gone-from-proc test -d /proc/$worker
check cpus-in-stat "$(nproc)" "$(grep -c '^cpu[0-9]' /proc/stat)"
check memory-fields '2' "$(grep -cE '^Mem(Total|Free):  *[0-9]+ kB$' /proc/meminfo)"
yes uptime-grows sh -c 'a=$(cut -d. -f1 /proc/uptime); sleep 1; b=$(cut -d. -f1 /proc/uptime); [ $b -gt $a ]'
check mounts '/proc' "$(awk '$2 == "/proc" { print $2 }' /proc/mounts | sort -u)"
yes version-is-there grep -q . /proc/version

# --- processor time, of a process that runs all the while on a CPU of its own, of one that sleeps, of one that ended
ticks() { awk -v from="$2" -v to="$3" '{ print $from + $to }' "/proc/$1/stat"; }
before=$(date +%s)
sh -c 'while :; do :; done' & worker=$!
sleep 2
spent=$(ticks $worker 14 15)
user=$(awk '{ print $14 }' /proc/$worker/stat)
after=$(date +%s)
yes running-takes-time test "$spent" -ge 40
yes running-takes-no-more-than-there-is test "$spent" -le $(((after - before + 1) * 100))
yes running-is-user-time test "$user" -ge $((spent / 2))
sleep 60 & sleeper=$!
sleep 1
yes sleeping-takes-none test "$(ticks $sleeper 14 15)" -le 20
own=$(ticks $$ 16 17)
kill $sleeper $worker
wait $sleeper $worker
yes ended-children-are-counted test $(($(ticks $$ 16 17) - own)) -ge "$spent"
seconds=$(time -p $sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done' 2>&1 | awk '$1 == "user" { print $2 }')
yes time-of-a-command sh -c "echo $seconds | grep -q '^[0-9]*\.[0-9]*[1-9]'"

# --- devices
check null '0' "$(cat /dev/null | wc -c; echo x >/dev/null)"
check zero '0' "$(head -c 4096 /dev/zero | tr -d '\0' | wc -c)"
check random-differs '1' "$(a=$(head -c 16 /dev/urandom | md5sum); b=$(head -c 16 /dev/urandom | md5sum); [ "$a" = "$b" ]; echo $?)"
check full 'No space' "$(sh -c 'echo x >/dev/full' 2>&1 | grep -o 'No space')"

finish
