#!/usr/bin/env bash
# Writing to transparent_hugepage/enabled, even what it says already, undoes an administrator's vm.min_free_kbytes.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: vm.min_free_kbytes is set to 20,000; "madvise" is written to `enabled`, which was madvise: it is back at
#            what huge pages recommend (67,584 on this machine's zones). After "never" it stays there. A value above the
#            recommendation is kept. So the two sides of an A/B test of huge pages can have other watermarks than the
#            machine was tuned to, and stay so after it.
# Expected:  a sysctl keeps what it was set to, and a write that changes nothing changes nothing.
# Source:    mm/huge_memory.c enabled_store() calls start_stop_khugepaged() whatever was written; mm/khugepaged.c
#            set_recommended_min_free_kbytes() raises min_free_kbytes also where user_min_free_kbytes is set, with a
#            line in the kernel log.
set -euo pipefail
minimum=/proc/sys/vm/min_free_kbytes enabled=/sys/kernel/mm/transparent_hugepage/enabled
[ "$(id -u)" = 0 ] && [ -w "$enabled" ] || { echo "needs root, and transparent huge pages" >&2; exit 77; }
grep -q '\[madvise\]' "$enabled" || { echo "needs enabled = madvise" >&2; exit 77; }
recommended=$(cat "$minimum")
work=$(mktemp -d)
trap 'echo madvise >"$enabled"; echo "$recommended" >"$minimum"; rm -rf "$work"' EXIT
echo 20000 >"$minimum"
echo madvise >"$enabled"
[ "$(cat "$minimum")" -gt 20000 ] || { echo "the behaviour has changed, or 20000 is enough here" >&2; exit 1; }
raised=$(cat "$minimum")
say() { awk -v is="$(cat "$minimum")" -v raised="$raised" -v step="$1" \
  'BEGIN { print step ":", is == raised ? "as huge pages recommend" : is }'; }
{
  echo 20000 >"$minimum"; say "set to 20000"
  echo madvise >"$enabled"; say "madvise written again"
  echo never >"$enabled"; say "never"
  echo 20000 >"$minimum"; say "set to 20000 under never"
  echo madvise >"$enabled"; say "madvise"
  echo $((2 * raised)) >"$minimum"
  echo never >"$enabled"
  echo madvise >"$enabled"
  [ "$(cat "$minimum")" = $((2 * raised)) ] && echo "twice the recommendation, then never and madvise: kept"
} >"$work/seen"
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
set to 20000: 20000
madvise written again: as huge pages recommend
never: as huge pages recommend
set to 20000 under never: 20000
madvise: as huge pages recommend
twice the recommendation, then never and madvise: kept
EOF
echo "as described"
