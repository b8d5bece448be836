#!/bin/sh
# Measures cloudbox side by side with what it is compared with (DESIGN.md section 9), and prints one table.
#
#   scripts/bench.sh [--quick] [ROW...]        scripts/bench.sh --help lists the rows
#
# Needs root. A missed bar is printed, and is no failure. Everything runs on directories, a bridge and a bus of the
# bench's own; nothing of them is left behind. CLOUDBOX_BENCH_DIR names another place for the storage, which must be
# a real disk (not tmpfs, not overlay).
set -eu
cd "$(dirname "$0")/.."
top=$PWD

die() {
	echo "bench: $*" >&2
	exit 1
}

# Builds the bench program and tells where it is.
program() {
	cargo bench --package cloudbox --bench cloudbox --no-run --message-format=json-render-diagnostics |
		sed -n '/"kind":\["bench"\]/s/.*"executable":"\([^"]*\)".*/\1/p'
}

case " $* " in
*" -h "* | *" --help "*) exec "$(program)" --help ;;
esac
[ "$(id -u)" = 0 ] || die "needs root: containers, mounts and a bridge are made"

# --- What is needed ---------------------------------------------------------------------------------------
scripts/install-deps.sh test
scripts/image.sh distro mini

if scripts/static.sh; then
	CLOUDBOX_BENCH_BINARY=$top/target/static/$(uname -m)-unknown-linux-musl/cloudbox
	CLOUDBOX_BENCH_STATIC=1
	echo "bench: measuring the static binary"
else
	cargo build --release --package cloudbox
	CLOUDBOX_BENCH_BINARY=${CARGO_TARGET_DIR:-$top/target}/release/cloudbox
	CLOUDBOX_BENCH_STATIC=0
	echo "bench: there is NO static binary; measuring the release binary of this machine's C library"
fi

bus=${UBUSD:-$(command -v ubusd || true)}
if [ -z "$bus" ]; then
	cargo build --release --package openwrt-ubus --features broker --bin ubus-broker
	bus=${CARGO_TARGET_DIR:-$top/target}/release/ubus-broker
fi
CLOUDBOX_BENCH_BUS=$bus

mkdir -p target
# shellcheck disable=SC2086
place=$(scripts/storage-place.sh ${CLOUDBOX_BENCH_DIR:-target /var/tmp /srv}) || die "set CLOUDBOX_BENCH_DIR to a better one"
CLOUDBOX_BENCH_DIR=$place

# --- The measurement --------------------------------------------------------------------------------------
export CLOUDBOX_BENCH_BINARY CLOUDBOX_BENCH_STATIC CLOUDBOX_BENCH_BUS CLOUDBOX_BENCH_DIR
# Not by `cargo bench`: Ctrl-C ends cargo at once, while the program still takes down what it made.
program=$(program)
[ -x "$program" ] || die "the bench program does not build"
sync
exec "$program" "$@"
