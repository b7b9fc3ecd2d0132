#!/bin/sh
# The text tools, on data whose answers are known.
. "${0%/*}/lib.sh"

cat >people <<'END'
anna:34:Bern
bert:27:Oslo
cleo:41:Bern
dora:27:Rome
END

check sort-by-number 'bert dora anna cleo' "$(sort -t: -k2,2n -k1,1 people | cut -d: -f1 | tr '\n' ' ' | sed 's/ $//')"
check sort-reverse-unique '41 34 27' "$(cut -d: -f2 people | sort -rnu | tr '\n' ' ' | sed 's/ $//')"
check uniq-count '2 Bern' "$(cut -d: -f3 people | sort | uniq -c | sort -rn | head -n 1 | sed 's/^ *//')"
check grep-count '2' "$(grep -c Bern people)"
check grep-extended 'bert dora' "$(grep -E '^(b|d).*:27:' people | cut -d: -f1 | tr '\n' ' ' | sed 's/ $//')"
check grep-invert-number '2:bert:27:Oslo' "$(grep -nv Bern people | head -n 1)"
check grep-only-matching '34' "$(grep -o '[0-9]*' people | head -n 1)"
check grep-fixed-quiet '0' "$(grep -qF 'o:41' people; echo $?)"
check grep-recursive 'd/x' "$(mkdir -p d && echo needle >d/x && grep -rl needle d)"
no grep-nothing grep nobody people

check sed-substitute 'A-nn-A' "$(echo anna | sed 's/a/A-/;s/a$/-A/')"
check sed-groups 'Bern=anna' "$(sed -n '1s/\([^:]*\):[^:]*:\(.*\)/\2=\1/p' people)"
check sed-range 'bert cleo' "$(sed -n '2,3p' people | cut -d: -f1 | tr '\n' ' ' | sed 's/ $//')"
check sed-delete-global '1-2-3' "$(printf '1 2 3\nx\n' | sed '/x/d;s/ /-/g')"
check sed-in-place 'ANNA' "$(cp people p2; sed -i 's/^anna/ANNA/' p2; head -n 1 p2 | cut -c1-4)"
check sed-hold 'c b a' "$(printf 'a\nb\nc\n' | sed -n '1!G;h;$p' | tr '\n' ' ' | sed 's/ $//')"
check sed-extended '[34]' "$(sed -nE '1s/.*:([0-9]+):.*/[\1]/p' people)"

check awk-sum '129' "$(awk -F: '{ s += $2 } END { print s }' people)"
check awk-group 'Bern 2' "$(awk -F: '{ n[$3]++ } END { for (c in n) print c, n[c] }' people | sort | head -n 1)"
check awk-printf '  34|034|22|3.14' "$(awk 'BEGIN { printf "%4d|%03d|%x|%.2f\n", 34, 34, 34, 3.14159 }')"
check awk-functions 'OLLEH 5 ell' "$(awk 'function r(s,  i, o) { for (i = length(s); i; i--) o = o substr(s, i, 1); return o } BEGIN { w = "hello"; print toupper(r(w)), length(w), substr(w, 2, 3) }')"
check awk-regex 'yes a-b' "$(echo 'a_b' | awk '/^[a-z]_/ { gsub("_", "-"); print "yes", $0 }')"
check awk-getline '2' "$(awk 'BEGIN { while ((getline l < "people") > 0) if (l ~ /27/) n++; print n }')"
check awk-floats '0.3333 1024 0.5' "$(awk 'BEGIN { printf "%.4f %d %s\n", 1 / 3, 1024.9, 1e3 / 2000 }')"
check awk-pipe 'b,a,' "$(awk 'BEGIN { print "a\nb" | "sort -r"; close("sort -r") }' | tr '\n' ',')"

check tr-delete-squeeze 'ab c' "$(echo 'a1b2  c' | tr -d 0-9 | tr -s ' ')"
check tr-classes 'ABC' "$(echo abc | tr '[:lower:]' '[:upper:]')"
check cut-characters 'bcd' "$(echo abcdef | cut -c2-4)"
check head-tail '3' "$(seq 1 5 | head -n 3 | tail -n 1)"
check tail-from '4 5' "$(seq 1 5 | tail -n +4 | tr '\n' ' ' | sed 's/ $//')"
check head-bytes 'abc' "$(echo abcdef | head -c 3)"
check wc-all '4 4 52' "$(wc people | awk '{ print $1, $2, $3 }')"
check tee-copies 'samesame' "$(printf same | tee copy; cat copy)"
check paste-columns 'a:1 b:2' "$(printf 'a\nb\n' >l; printf '1\n2\n' >r; paste -d: l r | tr '\n' ' ' | sed 's/ $//')"
check rev-tac 'cba 2 1' "$(echo abc | rev) $(printf '1\n2\n' | tac | tr '\n' ' ' | sed 's/ $//')"
check fold-nl '2 cd' "$(echo abcd | fold -w 2 | nl -w 1 -s ' ' | tail -n 1)"
check expand-tabs 'a       b' "$(printf 'a\tb\n' | expand)"
check seq-step '10 8 6' "$(seq -s ' ' 10 -2 6)"
check expr-arithmetic '14 1 3' "$(expr 2 + 3 \* 4) $(expr 5 \> 3) $(expr length abc)"
check expr-match '123' "$(expr 'abc123' : '[a-z]*\([0-9]*\)')"
check bc-big '1267650600228229401496703205376' "$(echo '2^100' | bc)"
check dc-stack '7' "$(echo '3 4 + p' | dc)"
check printf-escapes '61 0a 09' "$(printf 'a\n\t' | od -An -tx1 | sed 's/^ *//')"
check od-octal '0000000 061' "$(printf '1' | od -b | head -n 1 | sed 's/ *$//')"
check hexdump '00000000  41 42' "$(printf AB | hexdump -C | head -n 1 | cut -c1-15)"
check xxd-round-trip 'round' "$(printf round | xxd -p | xxd -r -p)"
check base64-round-trip 'AAH/ 4' "$(printf '\000\001\377' | base64) $(printf '\000\001\377x' | base64 | base64 -d | wc -c)"
check md5 '900150983cd24fb0d6963f7d28e17f72' "$(printf abc | md5sum | cut -d' ' -f1)"
check sha256 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad' "$(printf abc | sha256sum | cut -d' ' -f1)"
check sha512 'ddaf35a193617aba' "$(printf abc | sha512sum | cut -c1-16)"
check crc32 '352441c2' "$(printf abc >abc; crc32 abc | cut -d' ' -f1)"
check cmp-and-diff '1 1' "$(cmp -s l r; printf '%s ' $?; diff l r >/dev/null; echo $?)"
check diff-and-patch 'same' "$(cp people new; sed -i 's/Oslo/Nuuk/' new; diff -u people new >patch; cp people old; patch old patch >/dev/null; cmp old new && echo same)"
check xargs-groups '3' "$(seq 1 9 | xargs -n 3 echo | wc -l)"
check xargs-replace '<a> <b>' "$(printf 'a\nb\n' | xargs -I{} echo '<{}>' | tr '\n' ' ' | sed 's/ $//')"
check xargs-null '2' "$(printf 'a b\0c\0' | xargs -0 -n 1 echo | wc -l)"
check find-names 'd d/x' "$(find d | sort | tr '\n' ' ' | sed 's/ $//')"
check find-type-exec 'd/x:7' "$(find d -type f -name 'x*' -exec $sh -c 'echo "$1:$(wc -c <"$1")"' sh {} \;)"
check find-size-depth './big' "$(head -c 5000 /dev/zero >big; find . -maxdepth 1 -size +4k -type f)"
check strings 'readable' "$(printf '\001\002readable\003' | strings)"
check unix2dos '61 0d 0a' "$(echo a >u; unix2dos u; od -An -tx1 u | sed 's/^ *//')"
check factor-shuf '12: 2 2 3|10' "$(factor 12)|$(seq 1 10 | shuf | sort -n | tail -n 1)"
check date-of-zero '1970-01-01 00:00:00' "$(date -u -d @0 '+%Y-%m-%d %H:%M:%S')"
check cal-month '30' "$(cal 11 2026 | grep -o '[0-9]*' | tail -n 1)"
check basename-dirname 'c /a/b' "$(basename /a/b/c.x .x) $(dirname /a/b/c.x)"
check time-reports '3' "$(time -p sleep 0 2>&1 | grep -cE '^(real|user|sys) [0-9.]+$')"

finish
