#!/bin/sh
# Every test of the workspace: the unit tests, the protocol crates', and those of the whole against real LXC.
#
#   scripts/test.sh [--fast] [arguments for the system tests, as `cargo test` takes them]
#
# --fast leaves out what needs root and containers. The last line has the totals; above it stands what failed, and what was
# skipped and why.
set -eu
cd "$(dirname "$0")/.."

fast=
[ "${1:-}" != --fast ] || { fast=yes && shift; }
[ -n "$fast" ] || [ "$(id -u)" = 0 ] || {
	echo "test.sh: the system tests start containers and need root; without it: scripts/test.sh --fast" >&2
	exit 1
}

mkdir -p target/tmp
# What did not end well, a line each: a program may fail without a test that does.
unsound=$(mktemp target/tmp/unsound.XXXXXX)
trap 'rm -f "$unsound"' EXIT
trap 'exit 1' HUP INT TERM

# tests NAME COMMAND...: whatever it says, the others are run too.
tests() {
	name=$1
	shift
	"$@" || echo "$name" >>"$unsound"
}

if [ -n "$fast" ]; then
	{
		tests "LuCI's pages" scripts/luci-test.sh --test-reporter=tap
		tests "the unit tests" cargo test --workspace --all-features --lib --bins --no-fail-fast -- --show-output
	} | scripts/test-totals.py "$unsound"
	exit
fi

. scripts/test-places.sh

# What passed tells what it skipped only if it is asked to.
case " $* " in
*" -- "*) set -- "$@" --show-output ;;
*) set -- "$@" -- --show-output ;;
esac
# Places to fail on purpose are compiled in only for the tests.
status=0
{
	tests "LuCI's pages" scripts/luci-test.sh --test-reporter=tap
	tests "the tests of the crates" \
		cargo test --workspace --exclude cloudbox --all-features --no-fail-fast -- --show-output
	tests "the tests of cloudbox" cargo test --package cloudbox --features faults --no-fail-fast "$@"
} | scripts/test-totals.py "$unsound" || status=$?
# Each test removes what LXC made for its container, but not the directories above, where others may be at work.
rmdir -p --ignore-fail-on-non-empty "/run/lxc$place" "/run/lxc/lock$place" 2>/dev/null || true
scripts/install-deps.sh --installed
exit $status
