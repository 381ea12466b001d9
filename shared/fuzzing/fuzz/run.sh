#!/usr/bin/env bash
# Runs all fuzzers of a folder that `build` made, one on each core at a time, and says of each how many inputs it ran, how
# much code they covered and how many of them broke a reader. Fails if any did.
#
#   run.sh SECONDS        how long each of them runs
#
# Logs, new inputs and what crashes go to NAME.log, NAME.corpus and NAME.artifacts in $OUT [default: out, beside this script].
set -euo pipefail
seconds=${1:?for how many seconds}
OUT=${OUT:-$(dirname "$0")/out}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
cd "$(dirname "$0")"

# Readers of files are given files: in memory, where there is a file system in memory.
if [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# A crash ends a fuzzer. It is begun again for the time that is left, so that the first thing that it finds is not the last.
MOST_CRASHES=20
fuzz() {
    local name=$1 end=$((SECONDS + seconds)) crashes
    mkdir -p "$OUT/$name.artifacts" "$OUT/$name.corpus"
    for ((crashes = 0; crashes < MOST_CRASHES && SECONDS < end; crashes++)); do
        FUZZ_TARGET=$name ./fuzzers "$OUT/$name.corpus" "corpora/$name" -max_total_time=$((end - SECONDS)) \
            -rss_limit_mb=2048 -timeout=20 -artifact_prefix="$OUT/$name.artifacts/" -print_final_stats=1 && return
    done
    return 1
}

names=$(cd corpora && printf '%s\n' * | sort)
export -f fuzz
export OUT MOST_CRASHES seconds
# A fuzzer that shares its core would take inputs for slow that only wait.
xargs -P "$(nproc)" -I NAME bash -c 'code=0; fuzz NAME >"$OUT/NAME.log" 2>&1 || code=$?; echo $code >"$OUT/NAME.code"' <<<"$names"

failed=0
printf '%-14s %12s %9s %8s  %s\n' reader runs coverage crashes exit
for name in $names; do
    code=$(cat "$OUT/$name.code")
    runs=$(awk '/^stat::number_of_executed_units:/ { sum += $2 } END { print sum + 0 }' "$OUT/$name.log")
    coverage=$(grep -oE ' cov: [0-9]+' "$OUT/$name.log" | tail -n 1 | tr -dc 0-9) || true
    crashes=$(find "$OUT/$name.artifacts" -type f ! -name 'slow-unit-*' | wc -l)
    printf '%-14s %12s %9s %8s  %s\n' "$name" "$runs" "${coverage:--}" "$crashes" "$code"
    [ "$code" = 0 ] && [ "$crashes" = 0 ] || failed=1
done
exit $failed
