#!/bin/sh
# Tries the upgrade from an earlier version on a box with twenty containers that run, and sysupgrade's way.
#
#   scripts/upgrade-test.sh [COMMIT]     the version before containers were isolated, unless another is named
#
# The earlier version is built in target/upgrade, from a work tree of its own. Where the history does not reach back to it,
# as in a shallow clone, the test is skipped.
set -eu
cd "$(dirname "$0")/.."
base=${1:-${BASE:-a17c4bc}}

if ! git rev-parse --verify --quiet "$base^{commit}" >/dev/null; then
	echo "skipped: an_upgrade_restarts_nothing_and_loses_nothing: $base is not in this clone's history (git fetch --unshallow)"
	exit 0
fi
. scripts/test-places.sh
mkdir -p target/upgrade

tree=$PWD/target/upgrade/tree
if [ "$(git -C "$tree" rev-parse HEAD 2>/dev/null)" != "$(git rev-parse "$base^{commit}")" ]; then
	git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"
	git worktree prune
	git worktree add --quiet --detach "$tree" "$base"
fi
(cd "$tree" && CARGO_TARGET_DIR=../build cargo build --bin cloudbox)
export CLOUDBOX_UPGRADE_FROM="$tree"
export CLOUDBOX_UPGRADE_PROGRAM="$PWD/target/upgrade/build/debug/cloudbox"
cargo test --features faults --test system -- an_upgrade --show-output
