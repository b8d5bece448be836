#!/bin/sh
# Builds the distro image a second time, dated as the first one, and compares every byte.
set -eu
cd "$(dirname "$0")/.."
scripts/install-deps.sh demo
scripts/image.sh distro
first=target/image/distro.squashfs second=target/image/.second.squashfs
trap 'rm -f $second' EXIT
trap 'exit 1' HUP INT TERM
# A squashfs says when it was made.
SOURCE_DATE_EPOCH=$(od -An -tu4 -j8 -N4 $first | tr -d ' ')
export SOURCE_DATE_EPOCH
distro/build.sh $second
cmp $first $second || {
	echo "image-twice: they differ. If the archive has new packages since the first was built, remove it and try again" >&2
	exit 1
}
echo "image-twice: both are the same, byte by byte"
