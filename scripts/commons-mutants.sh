#!/bin/sh
# Takes one rule after the other out of the core of the commons, and sees whether the simulation notices.
#
#   scripts/commons-mutants.sh [SEEDS] [words that the names of patches have in them]
#
# The patches are tests/commons_sim/mutants/*.patch. Each is applied to this tree, which must have no changes of its own in
# src/commons, and taken back. A patch that does not fit any more is told as well.
set -eu
cd "$(dirname "$0")/.."
seeds=${1:-300}
word=${2:-}
git diff --quiet HEAD -- src/commons || {
	echo "commons-mutants.sh: src/commons has changes; commit or stash them" >&2
	exit 1
}
patch=
trap '[ -z "$patch" ] || git apply -R "$patch"' EXIT
trap 'exit 1' HUP INT TERM
survived=
for each in tests/commons_sim/mutants/*"$word"*.patch; do
	name=$(basename "$each" .patch)
	git apply "$each" || {
		echo "$name: does not fit any more"
		survived="$survived $name"
		continue
	}
	patch=$each
	cargo build --quiet --profile sim --test commons_sim
	program=$(cargo test --profile sim --test commons_sim --no-run 2>&1 | sed -n 's/.*(\(.*commons_sim-[^)]*\))$/\1/p')
	if COMMONS_SIM_SEEDS=1..$seeds "$program" >target/tmp/commons-mutant.out 2>&1; then
		echo "$name: survived $seeds seeds"
		survived="$survived $name"
	else
		killer=$(grep -m1 -E '^seed|FAILED$|panicked' target/tmp/commons-mutant.out)
		echo "$name: killed by: $killer"
	fi
	git apply -R "$each"
	patch=
done
[ -z "$survived" ] || {
	echo "survived:$survived"
	exit 1
}
