#!/bin/sh
# The shell itself: expansion, redirection, pipes, here-documents, functions, traps, jobs.
. "${0%/*}/lib.sh"

# --- words and expansion
v='a  b'
check quoted-expansion 'a  b' "$v"
check unquoted-splits '2' "$(set -- $v; echo $#)"
check default-value 'x' "${unset_one:-x}"
check alternate-value '' "${unset_one:+x}"
check assign-default 'y y' "${assigned:=y} $assigned"
check length '4' "${#v}"
path=/usr/share/doc/file.tar.gz
check strip-shortest-end '/usr/share/doc/file.tar' "${path%.*}"
check strip-longest-end '/usr/share/doc/file' "${path%%.*}"
check strip-longest-start 'file.tar.gz' "${path##*/}"
check substring 'share' "${path:5:5}"
check replace '/usr/share/doc/file-tar.gz' "${path/./-}"
check arithmetic '17 1 -3 255' "$((2 + 3 * 5)) $((7 % 3)) $((-7 / 2)) $((0xff))"
check arithmetic-shift-and-logic '1024 6 1 0' "$((1 << 10)) $((14 & 7)) $((3 > 2 && 1)) $((!5))"
check arithmetic-64-bit '9223372036854775807' "$((0x7fffffffffffffff))"
check nested-substitution 'deep' "$(echo "$(echo "$(echo deep)")")"
check backquotes 'old' "`echo old`"
check single-quotes '$v `x` \n' '$v `x` \n'
check tilde "$HOME" "$(echo ~)"
check ifs 'a:b:c 3' "$(IFS=:; set -- a b c; echo "$* $#")"
check positional 'c 3' "$(set -- a b c; shift 2; echo "$1 $((2 + $#))")"
check all-positional 'a b|c' "$(set -- 'a b' c; for i in "$@"; do printf '%s|' "$i"; done | sed 's/|$//')"

# --- globbing
touch a1 a2 b1 .hidden 'with space'
mkdir sub && touch sub/x.c sub/y.h
check glob-star 'a1 a2' "$(echo a*)"
check glob-question 'a1 b1' "$(echo ?1)"
check glob-class 'a2' "$(echo [a-b][2-9])"
check glob-negated-class 'b1' "$(echo [!a]1)"
check glob-hidden '.hidden' "$(echo .h*)"
check glob-directories 'sub/x.c sub/y.h' "$(echo */*.[ch])"
check glob-no-match 'none*' "$(echo none*)"
check glob-quoted '*' "$(echo '*')"
check glob-off 'a*' "$(set -f; echo a*)"

# --- redirection
echo one >f
echo two >>f
check append 'one two' "$(cat f | tr '\n' ' ' | sed 's/ $//')"
: >f
check truncate '0' "$(wc -c <f)"
{ echo out; echo err >&2; } >o 2>e
check separate-streams 'out err' "$(cat o) $(cat e)"
{ echo out; echo err >&2; } >both 2>&1
check merged-streams '2' "$(wc -l <both)"
check read-from-descriptor 'three' "$(exec 3<<X
three
X
cat <&3)"
exec 4>fd4
echo via-four >&4
exec 4>&-
check descriptor-four 'via-four' "$(cat fd4)"
no closed-descriptor sh -c 'echo x >&4'
echo abc >rw
exec 5<>rw
read line <&5
echo def >&5
exec 5>&-
check read-and-write 'abc def' "$(tr '\n' ' ' <rw | sed 's/ $//')"
set -C
no noclobber sh -c 'set -C; echo x >rw'
echo forced >|rw
set +C
check clobber-forced 'forced' "$(cat rw)"
no missing-input sh -c 'cat <does-not-exist'
no missing-directory sh -c 'echo >nowhere/x'

# --- here-documents
name=World
check here-document 'Hello World 3' "$(cat <<END
Hello $name $((1 + 2))
END
)"
check here-document-quoted 'Hello $name' "$(cat <<'END'
Hello $name
END
)"
check here-document-tabs 'no tab' "$(cat <<-END
	no tab
	END
)"
check here-document-large '2000' "$(i=0; while [ $i -lt 2000 ]; do echo "line $i of a long here-document"; i=$((i + 1)); done >big
{ echo 'cat <<END'; cat big; echo END; } >bigdoc.sh; sh bigdoc.sh | wc -l)"

# --- pipes
check pipe 'B' "$(echo b | tr a-z A-Z)"
check long-pipe '10' "$(seq 1 10 | cat | cat | cat | cat | cat | cat | cat | tail -n 1)"
check pipe-status '3' "$(true | sh -c 'exit 3'; echo $?)"
check pipe-first-status-lost '0' "$(false | true; echo $?)"
check pipe-negated '1' "$(! true; echo $?)"
check pipe-large '300000' "$(head -c 300000 /dev/zero | cat | wc -c)"
check pipe-closed-early 'y' "$(yes_lines() { while :; do echo y; done; }; yes_lines 2>/dev/null | head -n 1)"
check pipe-into-loop '6' "$(printf '1\n2\n3\n' | { s=0; while read n; do s=$((s + n)); done; echo $s; })"
check pipe-subshell-variable 'outer' "$(x=outer; echo inner | read x; echo $x)"
check group-redirect '2' "$({ echo a; echo b; } | wc -l)"

# --- control
check for-loop '1-2-3-' "$(for i in 1 2 3; do printf '%s-' $i; done)"
check while-break-continue '1 3 ' "$(i=0; while :; do i=$((i + 1)); [ $i = 2 ] && continue; [ $i -gt 3 ] && break; printf '%s ' $i; done)"
check until-loop '3' "$(i=0; until [ $i -ge 3 ]; do i=$((i + 1)); done; echo $i)"
check case-patterns 'vowel number other' "$(for w in a 7 z; do case $w in [aeiou]) echo vowel ;; [0-9]*) echo number ;; *) echo other ;; esac; done | tr '\n' ' ' | sed 's/ $//')"
check if-elif 'second' "$(if false; then echo first; elif true; then echo second; else echo third; fi)"
check and-or 'bc' "$(false && printf a; false || printf b; true && printf c)"
f() { local inner=1; outer=$((outer + $1)); return $((inner + 4)); }
outer=1
f 5
check function-status '5' "$?"
check function-variables '6 unset' "$outer ${inner:-unset}"
rec() { [ $1 -le 0 ] && return; rec $(($1 - 1)); depth=$((depth + 1)); }
depth=0
rec 200
check recursion '200' "$depth"
check getopts 'a b=val rest' "$(set -- -a -b val rest; while getopts ab: o; do case $o in a) printf 'a ' ;; b) printf 'b=%s ' "$OPTARG" ;; esac; done; shift $((OPTIND - 1)); echo "$1")"
check read-fields 'x|y z' "$(echo 'x y z' | { read a b; echo "$a|$b"; })"
check read-raw 'a\tb' "$(printf '%s\n' 'a\tb' | { read -r l; printf '%s\n' "$l"; })"
check eval 'evaluated' "$(w=echo; eval "$w evaluated")"
check subshell-directory "$work" "$(cd sub; (cd /); cd ..; pwd)"
check errexit '1 no-more' "$(sh -c 'set -e; false; echo reached'; echo "$? no-more")"
check nounset '2' "$(sh -c 'set -u; echo $nothing' 2>/dev/null; echo $?)"
check exit-status '42' "$(sh -c 'exit 42'; echo $?)"
check not-found '127' "$(sh -c 'no-such-program-here' 2>/dev/null; echo $?)"
printf 'data' >notexec
check not-executable '126' "$(sh -c './notexec' 2>/dev/null; echo $?)"
check type-builtin 'cd is a shell builtin' "$(type cd)"
check command-v 'cd' "$(command -v cd)"
check alias 'aliased' "$(printf 'alias say="echo aliased"\nsay\n' | sh)"
check dot-script 'sourced' "$(echo 'v2=sourced' >inc; . ./inc; echo $v2)"
check environment 'seen' "$(export EXPORTED=seen; sh -c 'echo $EXPORTED')"
check environment-of-one-command 'one |' "$(ONE=one sh -c 'echo "$ONE |"'; )"
check long-argument '100000' "$(a=$(head -c 100000 /dev/zero | tr '\0' x); sh -c 'echo ${#1}' sh "$a")"
check many-arguments '5000' "$(sh -c 'echo $#' sh $(seq 1 5000))"
check printf-formats '  7|007|ff|x   |1.5e' "$(printf '%3d|%03d|%x|%-4s|%se' 7 7 255 x 1.5)"
check test-operators '0 1 0 0' "$([ 3 -gt 2 ]; printf '%s ' $?; [ a = b ]; printf '%s ' $?; [ -n a -a ! -z b ]; printf '%s ' $?; [ a1 -ef a1 ]; printf '%s' $?)"

# --- traps
check trap-exit 'body bye' "$(sh -c 'trap "echo bye" EXIT; echo body' | tr '\n' ' ' | sed 's/ $//')"
check trap-signal 'caught' "$(sh -c 'trap "echo caught; exit" TERM; kill -TERM $$; sleep 5')"
check trap-ignored 'alive' "$(sh -c 'trap "" TERM; kill -TERM $$; echo alive')"
check trap-reset '143' "$(sh -c 'trap "echo no" TERM; trap - TERM; kill -TERM $$; echo no'; echo $?)"
check trap-while-waiting 'usr1' "$(sh -c 'trap "echo usr1" USR1; (sleep 1; kill -USR1 $$) & wait $!; wait')"
check ignored-signal-inherited 'alive' "$(sh -c 'trap "" HUP; sh -c "kill -HUP \$\$; echo alive"')"

# --- background jobs
(sleep 1; exit 7) &
check background-returns-at-once "$!" "$(jobs -p)"
wait $!
check wait-status '7' "$?"
sh -c 'exit 3' & first=$!
sh -c 'exit 4' & second=$!
wait $second; s2=$?
wait $first; s1=$?
check wait-in-any-order '3 4' "$s1 $s2"
sleep 60 & sleeper=$!
kill $sleeper
wait $sleeper
check wait-of-killed '143' "$?"
check wait-of-stranger '127' "$(wait 99999; echo $?)"
for i in 1 2 3 4 5 6 7 8; do (echo $i >par.$i) & done
wait
check parallel-jobs '8' "$(cat par.* | wc -l)"
check background-input '' "$(cat & wait)"

finish
