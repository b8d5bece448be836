#!/bin/sh
# Types the commands of the pages on a box of its own, and compares what they print with what the pages say. Also looks
# whether the tables of docs/ubus.md are what the code says, and whether links lead somewhere.
#
#   scripts/docs-test.sh [PAGE]       all pages, or those with PAGE in their path
#   UPDATE=1 scripts/docs-test.sh     writes what came into the pages
set -eu
cd "$(dirname "$0")/.."
. scripts/test-places.sh

cargo test --test reference
cargo test --test docs -- "$@"
