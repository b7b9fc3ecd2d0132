#!/bin/sh
# Job control: needs a terminal, whose foreground process group the shell moves.
. "${0%/*}/lib.sh"
set -m


sleep 60 &
sleeper=$!
jobs >|list
check job-listed 'Running' "$(awk '{ print $2 }' list)"
ps -o pid,pgid >|processes
check own-process-group "$sleeper" "$(awk -v pid=$sleeper '$1 == pid { print $2 }' processes)"
kill -STOP %1
sleep 1
jobs >|list
check job-stopped 'Stopped' "$(awk '{ print $2 }' list)"
bg %1 >/dev/null
jobs >|list
check job-continued 'Running' "$(awk '{ print $2 }' list)"
kill %1
sleep 1
jobs >|list
jobs >|list
check job-gone '' "$(cat list)"
no killed-process-is-gone kill -0 $sleeper

sh -c 'kill -STOP $$; exit 9'
check stopped-itself '147' "$?"
fg >/dev/null
check foreground-again '9' "$?"

sleep 61 | sleep 62 &
jobs -p >|list
leader=$(cat list)
sleep 1
ps -o args >|processes
check pipeline-runs '2' "$(grep -c 'sleep.* 6[12]$' processes)"
kill -TERM -$leader
sleep 1
ps -o args >|processes
check pipeline-killed-as-one '0' "$(grep -c 'sleep.* 6[12]$' processes)"

finish
