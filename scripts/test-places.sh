# shellcheck shell=sh
# What the tests of the whole are given, for a script to read in (`.`) at the top of the tree: the images, and a real disk.
# `place` is the disk's directory.

[ "$(id -u)" = 0 ] || {
	echo "${0##*/}: the tests start containers and need root" >&2
	exit 1
}
scripts/install-deps.sh test
scripts/image.sh distro mini
mkdir -p target/tmp
export CLOUDBOX_TEST_IMAGE="$PWD/target/image/distro.squashfs"
export CLOUDBOX_TEST_MINI="$PWD/target/image/mini.squashfs"
place=$(scripts/storage-place.sh target/tmp /var/tmp /srv)
export CLOUDBOX_TEST_DIR="$place"
