#!/bin/sh
# Debian's sqlite3: journals, locks between processes, crashes, import and export, mapped files. Any user.
. "${0%/*}/lib.sh"

db=$work/a.db
sql() { sqlite3 -batch "$db" "$@" 2>&1; }
rows() { sql 'select count(*) from t'; }

# --- one process
check memory '3' "$(sqlite3 :memory: 'select 1 + 2')"
check from-standard-input '6' "$(echo 'select 2 * 3;' | sqlite3)"
check create '1|one' "$(sql 'create table t(a integer primary key, b); insert into t(b) values("one")' 'select * from t')"
check magic 'SQLite format 3' "$(head -c 15 "$db")"
check on-disk-size '8192' "$(wc -c <"$db" | tr -d ' ')"
check rollback '1' "$(sql 'begin; insert into t(b) values(2); rollback; select count(*) from t')"
check constraint 'failed' "$(sql 'insert into t values(1, 2)' | grep -o failed)"
check many '10000|50005000' "$(sql 'with recursive n(x) as (values(1) union all select x + 1 from n where x < 10000)
    insert or replace into t select x, x from n; select count(*), sum(b) from t')"
check sorts-on-disk '10000 1' "$(sql 'pragma temp_store = file; pragma cache_size = 2;
    select b from t order by random()' | sort -n | awk 'NR == 1 { first = $1 } END { print $1, first }')"
check index '1' "$(sql 'create index i on t(b); explain query plan select * from t where b = 5' | grep -c 'USING.*INDEX i')"
check integrity 'ok' "$(sql 'pragma integrity_check')"
check deletes-give-pages-back 'shrunk' "$(sql 'delete from t where a > 1; vacuum'; [ "$(wc -c <"$db")" -lt 20000 ] && echo shrunk)"
check blob '1000000' "$(sql 'create table big(x); insert into big values(randomblob(1000000)); select length(x) from big')"
check big-blob-is-whole '1' "$(sql 'insert into big select x from big; select count(distinct x) from big')"
check full-text 'two words' "$(sql 'create virtual table f using fts5(x);
    insert into f values("one"), ("two words"); select x from f where f match "words"')"
check floats '0.1|1.0e+300|-2.5' "$(sqlite3 :memory: 'select 0.1, 1e300, -2.5')"
check dates '2001-09-09 01:46:40' "$(sqlite3 :memory: 'select datetime(1000000000, "unixepoch")')"
no cannot-open sqlite3 /none/x.db 'create table t(a)'
no not-a-database sh -c 'echo "no database, but long enough to be one" >text.db; sqlite3 text.db .tables'
yes compressed-archive sh -c 'echo archived >member; sqlite3 -A -cf a.sqlar member && sqlite3 -A -tf a.sqlar | grep -q member'

# --- journal modes
for mode in delete truncate persist memory off wal; do
    rm -f m.db*
    check "mode-$mode" "$mode 3 ok" "$(sqlite3 m.db "pragma journal_mode = $mode; create table t(a)" \
        'insert into t values(1)' 'insert into t values(2)' 'begin; insert into t values(3); commit' \
        'select count(*) from t; pragma integrity_check' | tr '\n' ' ' | sed 's/ $//')"
done
check persistent-journal '0' "$(sqlite3 p.db 'pragma journal_mode = persist' 'create table t(a)' >/dev/null
    head -c 8 p.db-journal | tr -d '\0' | wc -c | tr -d ' ')"
check truncated-journal '0' "$(sqlite3 q.db 'pragma journal_mode = truncate' 'create table t(a)' >/dev/null
    wc -c <q.db-journal | tr -d ' ')"
check wal-is-kept 'wal' "$(sqlite3 m.db 'pragma journal_mode')"
check wal-goes-with-the-last 'm.db' "$(ls m.db*)"
check exclusive-wal-needs-no-index '1' "$(sqlite3 m.db 'pragma locking_mode = exclusive; insert into t values(4)' \
    '.shell test -e m.db-shm || echo no index' | grep -c 'no index')"

# A process that is told line by line what to do: start NAME DATABASE, tell NAME LINE..., hear NAME. hear gives what it said since
# then; a line of its own says where that ends.
start() {
    mkfifo "$1.in" "$1.out"
    sqlite3 -batch "$2" <"$1.in" >"$1.out" 2>&1 &
    eval "$1=\$!"
    case $1 in
        one) exec 3>"one.in" 4<"one.out" ;;
        two) exec 5>"two.in" 6<"two.out" ;;
    esac
}
tell() {
    case $1 in
        one) shift; printf '%s\n' "$@" '.print end' >&3 ;;
        two) shift; printf '%s\n' "$@" '.print end' >&5 ;;
    esac
}
hear() {
    said=
    while read -r line; do
        [ "$line" = end ] && break
        said="$said$line "
    done
    echo "${said% }"
}
ask() {
    who=$1
    tell "$@"
    case $who in one) hear <&4 ;; two) hear <&6 ;; esac
}
stop() {
    case $1 in one) exec 3>&- 4<&- ;; two) exec 5>&- 6<&- ;; esac
    rm -f "$1.in" "$1.out"
}
locked='database is locked'
has() { case $1 in *"$2"*) echo yes ;; *) echo "no: $1" ;; esac; }

# --- two processes and a rollback journal
sqlite3 r.db 'create table t(a); insert into t values(1)'
start one r.db
start two r.db
check reserved-lets-read '1' "$(ask one 'begin immediate; insert into t values(2);' >/dev/null; ask two 'select count(*) from t;')"
check second-writer-waits yes "$(has "$(ask two 'insert into t values(9);')" "$locked")"
check reader-keeps-writer-out yes "$(ask two 'begin; select count(*) from t;' >/dev/null; has "$(ask one 'commit;')" "$locked")"
check pending-keeps-new-readers-out yes "$(has "$(sqlite3 r.db 'select * from t' 2>&1)" "$locked")"
check reader-goes-writer-writes '2' "$(ask two 'commit;' >/dev/null; ask one 'commit;' >/dev/null; sqlite3 r.db 'select count(*) from t')"
check exclusive-keeps-all-out yes "$(ask one 'begin exclusive;' >/dev/null; has "$(ask two 'select * from t;')" "$locked")"
check timeout-outlasts-it '3' "$(ask one 'insert into t values(3);' >/dev/null; tell two '.timeout 60000' 'select count(*) from t;'
    ask one 'commit;' >/dev/null; hear <&6)"

# --- a process dies in a transaction: its journal is hot, and the next one rolls back
ask one 'pragma cache_spill = 1; pragma cache_size = 1; begin;' \
    'with recursive n(x) as (values(1) union all select x + 1 from n where x < 20000) insert into t select x from n;' >/dev/null
kill -KILL $one; wait $one 2>/dev/null
stop one
check hot-journal 'hot' "$([ "$(wc -c <r.db-journal)" -gt 512 ] && [ "$(wc -c <r.db)" -gt 100000 ] && echo hot)"
check rolled-back '3 ok' "$(ask two 'select count(*) from t; pragma integrity_check;')"
no journal-is-gone test -e r.db-journal
stop two
wait $two

# --- two processes and a write-ahead log, whose index both have mapped
sqlite3 w.db 'pragma journal_mode = wal; create table t(a); insert into t values(1)' >/dev/null
start one w.db
start two w.db
check readers-do-not-wait '1' "$(ask one 'begin immediate; insert into t values(2);' >/dev/null; ask two 'select count(*) from t;')"
check one-writer yes "$(has "$(ask two 'insert into t values(9);')" "$locked")"
check index-is-shared '2' "$(ask one 'commit;' >/dev/null; ask two 'select count(*) from t;')"
check snapshot-stays '2 3' "$(ask two 'begin; select count(*) from t;' >/dev/null; ask one 'insert into t values(3);' >/dev/null
    echo "$(ask two 'select count(*) from t;') $(ask two 'commit; select count(*) from t;')")"
check log-files 'w.db w.db-shm w.db-wal' "$(echo w.db*)"
check checkpoint '0' "$(ask one 'pragma wal_checkpoint(truncate);' >/dev/null; wc -c <w.db-wal | tr -d ' ')"
ask one 'pragma wal_autocheckpoint = 0; pragma cache_size = 1; begin;' \
    'with recursive n(x) as (values(1) union all select x + 1 from n where x < 20000) insert into t select x from n;' >/dev/null
kill -KILL $one; wait $one 2>/dev/null
stop one
check log-of-the-dead 'left' "$([ "$(wc -c <w.db-wal)" -gt 100000 ] && echo left)"
check lock-of-the-dead-is-gone '4 ok' "$(ask two 'insert into t values(4); select count(*) from t; pragma integrity_check;')"
kill -KILL $two; wait $two 2>/dev/null
stop two
check index-is-rebuilt '4 ok' "$(sqlite3 w.db 'select count(*) from t; pragma integrity_check' | tr '\n' ' ' | sed 's/ $//')"
check last-one-cleans-up 'w.db' "$(echo w.db*)"

# --- four writers, each its own process, two hundred rows
for journal in delete wal; do
    rm -f c.db*
    sqlite3 c.db "pragma journal_mode = $journal; create table t(who, n)" >/dev/null
    writers=
    for who in 1 2 3 4; do
        { echo '.timeout 120000'; for n in $(seq 50); do echo "insert into t values($who, $n);"; done; } |
            sqlite3 -batch c.db >"writer$who" 2>&1 & writers="$writers $!"
    done
    wait $writers
    check "writers-$journal-complain" '' "$(cat writer1 writer2 writer3 writer4)"
    check "writers-$journal" '200|50|ok' "$(sqlite3 c.db 'select count(*), count(distinct n), (select integrity_check from pragma_integrity_check) from t')"
done

# --- in and out
sqlite3 s.db 'create table t(a integer primary key, b text); create index i on t(b); create view v as select b from t;
    insert into t values(1, "it'"'"'s"), (2, null), (3, "zwei
Zeilen")'
sqlite3 s.db .dump >dump.sql
check dump-and-read '1' "$(sqlite3 d.db <dump.sql; sqlite3 d.db .dump | cmp - dump.sql && echo 1)"
printf 'x,y\n1,"a,b"\n2,"c ""d"""\n' >in.csv
check import '1|a,b 2|c "d"' "$(sqlite3 i.db '.import --csv in.csv t' 'select * from t' | tr '\n' ' ' | sed 's/ $//')"
check export '1,"a,b"' "$(sqlite3 -csv i.db 'select * from t' | head -n 1 | tr -d '\r')"
check output-to-a-file '2' "$(sqlite3 i.db '.output out.txt' 'select count(*) from t' && cat out.txt)"
check backup 'ok' "$(sqlite3 s.db '.backup b.db' && sqlite3 b.db .dump | cmp - dump.sql && echo ok)"
check restore 'ok' "$(sqlite3 e.db '.restore b.db' .dump | cmp - dump.sql && echo ok)"
check vacuum-into 'ok' "$(sqlite3 s.db "vacuum into 'v.db'" && sqlite3 v.db .dump | cmp - dump.sql && echo ok)"
check clone '3' "$(sqlite3 s.db '.clone n.db' >/dev/null 2>&1; sqlite3 n.db 'select count(*) from t')"
check attach '6' "$(sqlite3 s.db "attach 'd.db' as other; select (select count(*) from t) + (select count(*) from other.t)")"
check recover 'ok' "$(sqlite3 s.db .recover | sqlite3 rec.db; sqlite3 rec.db 'pragma integrity_check')"
check page-sizes '512 ok 65536 ok' "$(for size in 512 65536; do sqlite3 ps$size.db "pragma page_size = $size; create table t(a);
    insert into t values(randomblob(100000)); pragma page_size; pragma integrity_check"; done | tr '\n' ' ' | sed 's/ $//')"
check read-only 'readonly' "$(sqlite3 -readonly s.db 'insert into t values(9, 9)' 2>&1 | grep -o readonly | head -n 1)"
check immutable '3' "$(sqlite3 "file:$work/s.db?immutable=1" 'select count(*) from t')"

# --- the database mapped into memory, growing and shrinking under the mapping
check mapped '5000 ok' "$(sqlite3 mm.db 'pragma mmap_size = 268435456; create table t(a integer primary key, b)' \
    'with recursive n(x) as (values(1) union all select x + 1 from n where x < 5000) insert into t select x, randomblob(100) from n' \
    'select count(*) from t; pragma integrity_check' | tail -n 2 | tr '\n' ' ' | sed 's/ $//')"
check mapped-and-vacuumed '1 ok' "$(sqlite3 mm.db 'pragma mmap_size = 268435456' 'select sum(length(b)) from t' \
    'delete from t where a > 1' vacuum 'select count(*) from t; pragma integrity_check' | tail -n 2 | tr '\n' ' ' | sed 's/ $//')"
start one mm.db
start two mm.db
check mapped-by-two '268435456 1' "$(ask one 'pragma mmap_size = 268435456; select count(*) from t;')"
check growth-is-seen '2' "$(ask two 'pragma mmap_size = 268435456; insert into t values(2, zeroblob(1000000));' >/dev/null
    ask one 'select count(*) from t;')"
stop one; stop two
wait

finish
