#!/bin/sh
# The tests of LuCI's pages: what needs no browser, in node.
#
#   scripts/luci-test.sh [options for node]
set -eu
cd "$(dirname "$0")/.."

command -v node >/dev/null || {
	# As node says it in TAP, for scripts/test-totals.py.
	echo "ok 1 - LuCI's pages # SKIP node is missing (scripts/install-deps.sh ci)"
	exit 0
}
exec node --test "$@" tests/luci/
