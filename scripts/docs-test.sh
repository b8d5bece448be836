#!/bin/sh
# Types the commands of the pages on a box of its own, and compares what they print with what the pages say. Also looks
# whether the tables of docs/ubus.md are what the code says, and whether links lead somewhere.
#
#   scripts/docs-test.sh [PAGE]       all pages, or those with PAGE in their path
#   UPDATE=1 scripts/docs-test.sh     writes what came into the pages
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || {
	echo "docs-test.sh: the pages' commands start containers and need root" >&2
	exit 1
}

scripts/install-deps.sh test
scripts/image.sh distro mini
export CLOUDBOX_TEST_IMAGE="$PWD/target/image/distro.squashfs"
export CLOUDBOX_TEST_MINI="$PWD/target/image/mini.squashfs"
mkdir -p target/tmp
place=$(scripts/storage-place.sh target/tmp /var/tmp /srv)
export CLOUDBOX_TEST_DIR="$place"

cargo test --test reference
cargo test --test docs -- "$@"
