#!/bin/sh
# Simulates the commons for many seeds, on all processors.
#
#   scripts/commons-sim.sh [SEEDS] [PLAN]
#
# SEEDS is a number, or FIRST..LAST; PLAN is mixed, model or large (tests/commons_sim/faults.rs). A seed that fails is told with
# the fewest things that must happen for it. LEAST=100 fails a run in which some fault or rule fired less often than that.
set -eu
cd "$(dirname "$0")/.."
seeds=${1:-2000}
plan=${2:-mixed}
first=1
last=$seeds
case $seeds in
*..*)
	first=${seeds%..*}
	last=${seeds#*..}
	;;
esac
cargo build --profile sim --test commons_sim
program=$(cargo test --profile sim --test commons_sim --no-run 2>&1 | sed -n 's/.*(\(.*commons_sim-[^)]*\))$/\1/p')
jobs=$(nproc)
count=$((last - first + 1))
mkdir -p target/tmp
outputs=$(mktemp -d target/tmp/commons-sim.XXXXXX)
trap 'rm -rf "$outputs"' EXIT
pids=
at=$first
job=0
while [ $job -lt "$jobs" ] && [ "$at" -le "$last" ]; do
	to=$((first + count * (job + 1) / jobs - 1))
	COMMONS_SIM_SEEDS=$at..$to COMMONS_SIM_PLAN=$plan COMMONS_SIM_LEAST=${LEAST:+$((LEAST / jobs))} \
		"$program" >"$outputs/$job" 2>&1 &
	pids="$pids $!"
	at=$((to + 1))
	job=$((job + 1))
done
failed=0
for pid in $pids; do
	wait "$pid" || failed=1
done
cat "$outputs"/*
exit $failed
