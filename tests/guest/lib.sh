# For the scripts beside it, which read it with a dot. One line per check: "ok NAME", or "not ok NAME" and why.
# Each script works in a directory of its own below ${TMPDIR:-/tmp}, and ends with finish.
passed=0
failed=0
script=${0##*/}
# by path: busybox starts a program of its own name without looking, and what it starts is to be what PATH names
sh=$(which sh)
work=${TMPDIR:-/tmp}/check.${script%.sh}.$$

# check NAME EXPECTED GOT
check() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
        echo "ok $1"
    else
        failed=$((failed + 1))
        echo "not ok $1: expected [$2], got [$3]"
    fi
}

# yes NAME COMMAND...: it must succeed. no NAME COMMAND...: it must fail, but not by a signal or for want of a program.
yes() {
    name=$1
    shift
    "$@" >|"$work/.out" 2>&1
    check "$name" "status 0" "status $?"
}
no() {
    name=$1
    shift
    "$@" >|"$work/.out" 2>&1
    status=$?
    [ $status -ne 0 ] && [ $status -lt 126 ] && status=failure
    check "$name" "status failure" "status $status"
}

finish() {
    cd / && rm -rf "$work"
    echo "$script: passed $passed failed $failed"
    [ $failed -eq 0 ]
    exit
}

mkdir -p "$work" && cd "$work" || exit 1
