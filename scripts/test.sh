#!/bin/sh
# Every test of the workspace: the unit tests, the protocol crates', and those of the whole against real LXC.
#
#   scripts/test.sh [--fast] [arguments for the system tests, as `cargo test` takes them]
#
# --fast leaves out what needs root and containers.
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-}" = --fast ]; then
	scripts/luci-test.sh
	exec cargo test --workspace --all-features --lib --bins
fi
[ "$(id -u)" = 0 ] || {
	echo "test.sh: the system tests start containers and need root; without it: scripts/test.sh --fast" >&2
	exit 1
}

scripts/install-deps.sh test
scripts/image.sh distro mini
export CLOUDBOX_TEST_IMAGE="$PWD/target/image/distro.squashfs"
export CLOUDBOX_TEST_MINI="$PWD/target/image/mini.squashfs"

mkdir -p target/tmp
place=$(scripts/storage-place.sh target/tmp /var/tmp /srv)
export CLOUDBOX_TEST_DIR="$place"

# All are run, whatever the first one says.
failed=0
scripts/luci-test.sh || failed=1
cargo test --workspace --exclude cloudbox --all-features --no-fail-fast || failed=1
# Places to fail on purpose are compiled in only for the tests.
faults=
! grep -q '^faults *=' Cargo.toml || faults="--features faults"
# shellcheck disable=SC2086
cargo test --package cloudbox $faults --no-fail-fast "$@" || failed=1
exit $failed
