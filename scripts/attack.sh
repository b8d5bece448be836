#!/bin/sh
# The attacks of tests/attack in their long form, against the released program with places to fail on purpose.
#
#   scripts/attack.sh [words that the names of tests have in them]
#
# Takes hours of a machine that has nothing else to do. SEED=NUMBER repeats a row of random numbers; KILLS=NUMBER is how many
# daemons are killed (10,000). The short form is a part of `make test`.
set -eu
cd "$(dirname "$0")/.."

. scripts/test-places.sh
export CLOUDBOX_ATTACK=long
status=0
# One after the other: some measure.
cargo test --release --package cloudbox --features faults --test attack -- --nocapture --test-threads=1 "$@" || status=$?
rmdir -p --ignore-fail-on-non-empty "/run/lxc$place" "/run/lxc/lock$place" 2>/dev/null || true
exit $status
