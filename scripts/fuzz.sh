#!/bin/sh
# Runs every fuzz target of fuzz/ for some seconds each: scripts/fuzz.sh [SECONDS]
#
# What is found on the way stays in fuzz/target/; the committed corpora are only read.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ -f fuzz/Cargo.toml ] || {
	echo "fuzz.sh: there is no fuzz/Cargo.toml" >&2
	exit 1
}
PATH=$PWD/target/tools/bin:$PATH
command -v cargo-fuzz >/dev/null || cargo install --locked --root target/tools cargo-fuzz
# Sanitizers are a nightly option; the stable compiler has them as well.
export RUSTC_BOOTSTRAP=1
failed=0
for name in $(cargo fuzz list); do
	echo "== $name, $seconds s"
	mkdir -p "fuzz/target/corpus/$name" "fuzz/corpus/$name"
	cargo fuzz run "$name" "fuzz/target/corpus/$name" "fuzz/corpus/$name" -- -max_total_time="$seconds" || failed=1
done
exit $failed
