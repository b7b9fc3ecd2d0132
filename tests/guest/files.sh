#!/bin/sh
# Files on a writable file system: names, links, modes, times, contents, archives.
. "${0%/*}/lib.sh"

# --- directories and names
mkdir -p a/b/c
check mkdir-parents 'a/b/c' "$(find a -type d | tail -n 1)"
no mkdir-exists mkdir a
no rmdir-not-empty rmdir a
rmdir a/b/c
check rmdir 'a/b' "$(find a | tail -n 1)"
no rmdir-missing rmdir a/none
touch 'name with  blanks' "ünïcode" -- -dash
check odd-names '3' "$(ls | grep -c -e blanks -e cod -e dash)"
long=$(head -c 255 /dev/zero | tr '\0' n)
yes longest-name touch "$long"
no too-long-name touch "${long}n"
check list-sorted 'a -dash' "$(ls -d a ./-dash | sed 's,\./,,' | sort -r | tr '\n' ' ' | sed 's/ $//')"
i=0
mkdir many
while [ $i -lt 500 ]; do : >many/file.$i; i=$((i + 1)); done
check many-files '500' "$(ls many | wc -l)"
rm -r many
check many-removed '0' "$(ls -d many 2>/dev/null | wc -l)"
mkdir -p deep; d=deep
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do d=$d/$i; done
mkdir -p $d && echo bottom >$d/f
check deep-path 'bottom' "$(cat $d/f)"
check dot-dot 'bottom' "$(cat $d/../20/./f)"
check working-directory "$work/$d" "$(cd $d; pwd -P)"
no file-as-directory cat $d/f/x
no directory-as-file sh -c 'echo x >deep'

# --- contents
echo hello >f
check size '6' "$(stat -c %s f)"
printf 'XY' | dd of=f bs=1 seek=1 conv=notrunc 2>/dev/null
check overwrite-inside 'hXYlo' "$(cat f)"
truncate -s 3 f
check truncated 'hXY' "$(cat f)"
truncate -s 6 f
check grown-with-zeros '68 58 59 00 00 00' "$(od -An -tx1 f | sed 's/^ *//')"
dd if=/dev/zero of=sparse bs=1 count=1 seek=1000000 2>/dev/null
check hole '1000001 0' "$(stat -c %s sparse) $(head -c 1000000 sparse | tr -d '\0' | wc -c)"
dd if=/dev/urandom of=random bs=65536 count=16 2>/dev/null
cp random copy
check copy-of-a-mebibyte '1048576 0' "$(stat -c %s copy) $(cmp -s random copy; echo $?)"
check read-at-an-offset "$(tail -c 100 random | md5sum)" "$(dd if=random bs=1 skip=1048476 2>/dev/null | md5sum)"
check append-from-two '400' "$(for p in 1 2 3 4; do (for n in $(seq 1 100); do echo "$p $n" >>app; done) & done; wait; wc -l <app)"
exec 6<f
rm f
check read-after-unlink 'hXY' "$(head -c 3 <&6)"
exec 6<&-
no gone cat f

# --- links
echo data >orig
ln orig hard
check hard-link '2 data' "$(stat -c %h orig) $(cat hard)"
echo more >>hard
check hard-link-same-file '2' "$(wc -l <orig)"
check same-inode '0' "$([ orig -ef hard ]; echo $?)"
rm orig
check hard-link-survives '1' "$(stat -c %h hard)"
no hard-link-to-directory ln deep deeplink
ln -s hard soft
check symbolic-link 'hard' "$(readlink soft)"
check through-symbolic-link 'data' "$(head -n 1 soft)"
ln -s nowhere dangling
no dangling-link cat dangling
yes dangling-is-there test -L dangling
ln -s loop2 loop1; ln -s loop1 loop2
no loop cat loop1
ln -s deep/1 dirlink
check link-to-directory '2' "$(ls dirlink)"
check realpath "$work/deep/1/2" "$(realpath dirlink/2)"
echo new >soft
check write-through-link 'new' "$(cat hard)"

# --- rename
mv hard moved
check moved 'new' "$(cat moved)"
echo other >target
mv moved target
check replaced 'new' "$(cat target)"
mkdir d1 d2
touch d1/in
mv d1 d2
check moved-directory 'd2/d1/in' "$(ls d2/d1/in)"
no move-into-itself mv d2 d2/d1
mkdir e1 e2; touch e2/x
no replace-full-directory sh -c 'mv -T e1 e2 2>&1'
check move-many '2' "$(touch m1 m2; mkdir m; mv m1 m2 m; ls m | wc -l)"

# --- modes and times
umask 022
touch mode; mkdir dmode
check default-modes '644 755' "$(stat -c %a mode) $(stat -c %a dmode)"
check umask-applies '600 700' "$(umask 077; touch mode2; mkdir dmode2; stat -c %a mode2 dmode2 | tr '\n' ' ' | sed 's/ $//')"
chmod 4751 mode
check chmod-octal '4751' "$(stat -c %a mode)"
chmod u-s,g+w,o= mode
check chmod-symbolic '770' "$(stat -c %a mode)"
check ls-mode '-rwxrwx---' "$(ls -l mode | cut -c1-10)"
chmod 1777 dmode
check ls-sticky 'drwxrwxrwt' "$(ls -ld dmode | cut -c1-10)"
touch -d '2020-02-03 04:05:06' mode
check times-set '2020-02-03 04:05:06' "$(stat -c %y mode | cut -c1-19)"
touch -d '2021-01-01 00:00:00' between
check older 'older' "$(test mode -nt between || echo older)"
echo x >>mode
yes write-changes-time test mode -nt between
check newer 'newer' "$(touch -d '2001-01-01' old; touch newer; find . -maxdepth 1 -name newer -newer old | sed 's,\./,,')"
printf '#!/bin/sh\necho "ran $1"\n' >prog
chmod +x prog
check script-with-interpreter 'ran x' "$(./prog x)"
chmod -x prog
check not-executable-now '126' "$(./prog 2>/dev/null; echo $?)"
check copy-keeps-mode '750' "$(chmod 750 prog; cp -p prog prog2; stat -c %a prog2)"
check types 'regular file directory symbolic link character special file fifo' \
    "$(mkfifo ff; stat -c %F prog2 d2 dangling /dev/null ff | tr '\n' ' ' | sed 's/ $//')"
check mktemp '0' "$(t=$(mktemp -p .); rm "$t"; echo $?)"
check du-and-df '0 0' "$(du -s . >/dev/null; printf '%s ' $?; df /proc >/dev/null; echo $?)"

# --- archives
mkdir -p tree/sub; echo 1 >tree/one; echo 2 >tree/sub/two; ln -s one tree/link; chmod 640 tree/one
tar -cf t.tar tree
mkdir out; tar -xf t.tar -C out
check tar-round-trip '1 2 one 640' "$(cat out/tree/one) $(cat out/tree/sub/two) $(readlink out/tree/link) $(stat -c %a out/tree/one)"
check tar-list '5' "$(tar -tf t.tar | wc -l)"
tar -czf t.tgz tree
check tar-gzip 'tree/sub/two' "$(tar -tzf t.tgz | grep two)"
check gzip-round-trip '0' "$(gzip -c random | gunzip | cmp - random; echo $?)"
check gzip-damage 'refused' "$(gzip -c prog2 >g.gz; printf 'X' | dd of=g.gz bs=1 seek=15 conv=notrunc 2>/dev/null; gunzip -t g.gz 2>/dev/null || echo refused)"
check bzip2-round-trip '0' "$(bzip2 -c prog2 | bunzip2 | cmp - prog2; echo $?)"
check cpio-round-trip '2' "$(mkdir cp; find tree | cpio -o -H newc 2>/dev/null | (cd cp; cpio -id 2>/dev/null); cat cp/tree/sub/two)"
check recursive-copy '0' "$(cp -a tree tree2; diff -r tree tree2; echo $?)"
rm -rf tree tree2
no removed test -e tree

finish
