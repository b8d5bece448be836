#!/bin/sh
# The tests of LuCI's pages: what needs no browser, in node.
set -eu
cd "$(dirname "$0")/.."

command -v node >/dev/null || {
	echo "luci-test: LuCI's pages are not tested: node is missing (scripts/install-deps.sh ci)"
	exit 0
}
exec node --test tests/luci/
