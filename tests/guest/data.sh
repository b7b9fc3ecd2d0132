#!/bin/sh
# What a file system for persistent data has to do, in the directory that TMPDIR names: sizes, holes, room, names by the hundred, links, order
# of what is written, files without a name. Any user.
. "${0%/*}/lib.sh"

sum() { md5sum | cut -d ' ' -f 1; }
# numbers FIRST LAST: text that differs everywhere, as sums find out
numbers() { seq -w "$1" "$2"; }

# --- contents of many sizes
for size in 0 1 4095 4096 4097 65536 1000001 5000000; do
    numbers 1 800000 | head -c $size >size.$size
    check "size-$size" "$size $(numbers 1 800000 | head -c $size | sum)" "$(stat -c %s size.$size) $(sum <size.$size)"
done
sync
check after-sync "$(numbers 1 800000 | head -c 5000000 | sum)" "$(sum <size.5000000)"
cp size.5000000 copy
check copy 0 "$(cmp -s size.5000000 copy; echo $?)"
cat copy >>copy.twice; cat copy >>copy.twice
check append "10000000 $(cat copy copy | sum)" "$(stat -c %s copy.twice) $(sum <copy.twice)"
check read-backwards "$(numbers 1 800000 | head -c 5000000 | tail -c 3 | sum)" "$(tail -c 3 copy | sum)"
rm copy copy.twice

# --- overwriting in the middle, before and behind the end
numbers 1 3000 >f
printf 'XXXX' | dd of=f bs=1 seek=5000 conv=notrunc 2>/dev/null
check overwrite "15000 XXXX" "$(stat -c %s f) $(dd if=f bs=1 skip=5000 count=4 2>/dev/null)"
printf 'end' | dd of=f bs=1 seek=20000 conv=notrunc 2>/dev/null
check behind-the-end "20003 0" "$(stat -c %s f) $(dd if=f bs=1 skip=15000 count=5000 2>/dev/null | tr -d '\0' | wc -c | tr -d ' ')"

# --- shorter and longer: what was cut off does not come back
truncate -s 4100 f; truncate -s 9000 f
check cut-is-zero 0 "$(tail -c 4900 f | tr -d '\0' | wc -c | tr -d ' ')"
check kept "$(numbers 1 3000 | head -c 4100 | sum)" "$(head -c 4100 f | sum)"
truncate -s 0 f
check emptied '0 0' "$(stat -c '%s %b' f)"

# --- holes and room
truncate -s 1G hole
check hole-takes-no-room '1073741824 0' "$(stat -c '%s %b' hole)"
printf x | dd of=hole bs=1 seek=1000000000 conv=notrunc,fsync 2>/dev/null
check hole-with-data '1 yes' "$(dd if=hole bs=1 skip=1000000000 count=1 2>/dev/null | wc -c | tr -d ' ') \
$([ "$(stat -c %b hole)" -le 64 ] && echo yes)"
fallocate -l 1000000 room
check room '1000000 yes 0' "$(stat -c %s room) $([ $(($(stat -c %b room) * 512)) -ge 1000000 ] && echo yes) \
$(tr -d '\0' <room | wc -c | tr -d ' ')"
printf y | dd of=room bs=1 seek=500000 conv=notrunc 2>/dev/null
check written-into-room 'y' "$(tr -d '\0' <room)"
rm hole room

# --- names
mkdir many
for i in $(seq 400); do echo $i >many/a-name-that-is-not-so-short.$i; done
check many-names 400 "$(ls many | wc -l | tr -d ' ')"
check each-its-own 80200 "$(cat many/* | awk '{ sum += $1 } END { print sum }')"
(cd many && for i in $(seq 1 2 400); do rm a-name-that-is-not-so-short.$i; done)
check half-of-them 200 "$(find many -type f | wc -l | tr -d ' ')"
no not-empty rmdir many
for i in $(seq 2 2 400); do mv many/a-name-that-is-not-so-short.$i many/b.$i; done
check renamed "200 40200" "$(ls many | grep -c '^b') $(cat many/b.* | awk '{ sum += $1 } END { print sum }')"
rm -r many
no gone test -e many
long=$(head -c 255 /dev/zero | tr '\0' L)
echo long >"$long"
check longest-name long "$(cat "$long")"
no too-long touch "${long}x"
check any-byte-in-a-name 'odd' "$(echo odd >"$(printf 'a\tb\001\303\277 \\')"; cat "$(printf 'a\tb\001\303\277 \\')")"

# --- links and moving
echo one >one; echo two >two
ln one other
check hard-link '2 one' "$(stat -c %h one) $(cat other)"
mv two one
check replaced 'two 1 one' "$(cat one) $(stat -c %h other) $(cat other)"
target=$(head -c 3000 /dev/zero | tr '\0' t)
ln -s "$target" soft
check long-target "$target" "$(readlink soft)"
mkdir -p d/e/f && echo deep >d/e/f/g
mv d/e h
check directory-moved 'deep 2 3' "$(cat h/f/g) $(stat -c %h d) $(stat -c %h h)"
no into-itself mv h h/f/h
mkfifo pipe
check fifo 'through' "$(echo through >pipe & cat pipe)"

# --- modes and times
chmod 4751 one
check mode 4751 "$(stat -c %a one)"
touch -d '2001-02-03 04:05:06' one
check time '2001-02-03 04:05:06' "$(TZ=UTC stat -c %y one | cut -c 1-19)"

# --- a file without a name
numbers 1 50000 >nameless
exec 5<nameless
rm nameless
check nameless "$(numbers 1 50000 | sum)" "$(sum <&5)"
exec 5<&-

# --- several at once
for who in 1 2 3 4; do
    (for i in $(seq 30); do numbers $((who * 100000)) $((who * 100000 + 3000)) >w$who.$i; [ $((i % 10)) = 0 ] && sync; done) &
done
wait
for who in 1 2 3 4; do
    check "writer-$who" "30 1" "$(ls w$who.* | wc -l | tr -d ' ') $(md5sum w$who.* | cut -d ' ' -f 1 | sort -u | wc -l | tr -d ' ')"
done
for who in 1 2 3 4; do
    (for i in $(seq 50); do echo "$who $i" >>log; done) &
done
wait
check appended-together 200 "$(sort -u log | wc -l | tr -d ' ')"
dd if=/dev/zero of=synced bs=512 count=20 oflag=append conv=fsync 2>/dev/null
check each-synced 10240 "$(stat -c %s synced)"

finish
