#!/bin/sh
# Shows the commons: three boxes, each with a bus, a daemon, a bridge and a storage of its own, and two brokers. A slice of two
# with a spare is planned, applied and shown; a box is switched off, and the spare takes its place; a broker is killed, and the
# slice is deleted by the other one. Leaves nothing behind.
#
#   scripts/commons.sh
#
# Needs root. The boxes' clocks run thirty times as fast: a box is given up after a quarter of an hour otherwise.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || {
	echo "commons.sh needs root: containers, mounts and bridges are made" >&2
	exit 1
}
trap 'exit 1' HUP INT TERM
. scripts/test-places.sh
status=0
cargo test --package cloudbox --features faults --test system -- \
	--exact commons::a_spare_takes_the_place_of_a_box_that_is_lost --nocapture || status=$?
# The test removes what LXC made for its containers, but not the directories above, where others may be at work.
rmdir -p --ignore-fail-on-non-empty "/run/lxc$place" "/run/lxc/lock$place" 2>/dev/null || true
scripts/install-deps.sh --installed
exit $status
