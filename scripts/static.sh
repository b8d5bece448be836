#!/bin/sh
# Builds cloudbox as a stripped, static musl binary: target/static/TARGET/cloudbox
#
#   scripts/static.sh [TARGET]       TARGET: x86_64-unknown-linux-musl (this machine's, if none is given),
#                                    aarch64-, armv7-…-musleabihf, i686-, mipsel-, mips-, riscv64gc-unknown-linux-musl
#                                    (scripts/static-check.sh tries those of other processors)
#   scripts/static.sh --feed [TARGET]
#                                    builds it as OpenWrt's packages feed does (openwrt/cloudbox/Makefile), to measure what
#                                    most people get: target/static/TARGET/feed/cloudbox
#   scripts/static.sh --test TARGET  runs the tests of the protocol crates as programs of TARGET, under qemu-user
#
# Where rustup has the target's std, that is used. Elsewhere std is built from source: the source is Debian's
# rust-src of the compiler's own version, linker and C library are zig's (from PyPI). What is fetched lives in
# target/static-tools/; neither the machine's packages nor its Rust toolchain are changed.
set -eu

cd "$(dirname "$0")/.."
mode=
case ${1:-} in
--feed | --test) mode=$1 && shift ;;
esac
target=${1:-$(uname -m)-unknown-linux-musl}
tools=$PWD/target/static-tools
out=$PWD/target/static/$target${mode:+/feed}

die() {
	echo "static.sh: $*" >&2
	exit 1
}

case $target in
*-linux-musl*) ;;
*) die "$target is no musl target" ;;
esac
for tool in file readelf python3 xz; do
	command -v $tool >/dev/null || die "$tool is missing: run scripts/install-deps.sh package"
done
version=$(rustc --version | cut -d' ' -f2) || die "rustc is missing: scripts/install-deps.sh says how to get it"

# Debian carries each compiler's std in the suite that was current then; each is asked in turn.
fetch_std() {
	src=$tools/rust-src-$version
	[ ! -e "$src/library/std/Cargo.toml" ] || return 0
	echo "static.sh: fetching the source of std $version"
	apt=$tools/apt
	rm -rf "$apt" "$src.new"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$src.new"
	mirror=$(scripts/debian-mirror.sh uri)
	for suite in bookworm-backports trixie trixie-backports forky sid; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/$suite.list"
		set -- -qq -o Dir::Etc::SourceList="$apt/$suite.list" -o Dir::Etc::SourceParts=/dev/null \
			-o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=
		apt-get "$@" update >/dev/null 2>&1 || continue
		deb=$(apt-cache "$@" madison rust-src | awk -v v="$version" 'index($3, v "+") == 1 { print $3; exit }')
		[ -n "$deb" ] || continue
		(cd "$src.new" && apt-get "$@" download "rust-src=$deb") || continue
		dpkg -x "$src.new"/rust-src_*.deb "$src.new/deb"
		# Only the library: the package holds the compiler's source too, six times as much.
		mv "$src.new/deb/usr/src/rustc-$version/library" "$src.new/library"
		rm -rf "$src.new/deb" "$src.new"/*.deb "$src"
		mv "$src.new" "$src"
		return 0
	done
	die "no suite of $mirror has rust-src $version; where rustup can download: rustup target add $target"
}

fetch_zig() {
	# 0.14 is the last with musl's own malloc. Those behind it have one that never gives memory back: a daemon of
	# 0.2 MB had grown to 1 MB after a thousand jobs.
	wanted='ziglang==0.14.1 cargo-zigbuild==0.24.0'
	[ "$(cat "$tools/venv/versions" 2>/dev/null)" != "$wanted" ] || return 0
	echo "static.sh: fetching zig and cargo-zigbuild"
	rm -rf "$tools/venv"
	python3 -m venv "$tools/venv" || die "python3-venv is missing: run scripts/install-deps.sh package"
	# Two words for pip.
	# shellcheck disable=SC2086
	"$tools/venv/bin/pip" install -q $wanted || {
		rm -rf "$tools/venv"
		die "pip could not fetch ziglang and cargo-zigbuild"
	}
	echo "$wanted" >"$tools/venv/versions"
}

# A panic names the line of source: the same one wherever it was built.
places="--remap-path-prefix=$HOME=~ --remap-path-prefix=$PWD=."
# No tables for unwinding, which a program that aborts never reads. Addresses are what the linker says: zig links no
# static-pie, so that code which could be anywhere would be longer for nothing (on mips by a sixth).
plain="$places -Clink-self-contained=no -Ctarget-feature=+crt-static -Crelocation-model=static"
flags="$plain -Cforce-unwind-tables=no"
std=std,panic_abort
std_features=-Zbuild-std-features=optimize_for_size
# The words that only some builds have. As small as it gets, std keeps what walks the stack of a panic, though this is
# switched off: with its hook inlined it falls away, 17 KB.
set -- --config 'profile.release.package.std.opt-level="s"'
if [ "$mode" = --feed ]; then
	# The feed's rust-values.mk sets these, whatever Cargo.toml says.
	export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_LTO=true \
		CARGO_PROFILE_RELEASE_OPT_LEVEL=z CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_PANIC=unwind
	# Its std comes with the compiler: made for speed, and with what writes backtraces.
	for part in core alloc std; do set -- "$@" --config "profile.release.package.$part.opt-level=3"; done
	flags=$plain
	std=std,panic_unwind
	std_features=
fi

# The same words as for the program, with a panic that unwinds, as the test harness wants it. Left out are those that
# start this program anew: the kernel would have to know how to run it.
run_tests() {
	fetch_std
	fetch_zig
	qemu=$(scripts/qemu-user.sh "$target")
	export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_RUNNER=$qemu"
	PATH=$tools/venv/bin:$PATH \
		__CARGO_TESTS_ONLY_SRC_ROOT=$tools/rust-src-$version/library \
		RUSTC_BOOTSTRAP=1 \
		RUSTFLAGS="$plain" \
		cargo-zigbuild test --release --config 'profile.release.panic="unwind"' --config profile.release.lto=false \
		--package openwrt-ubus --package openwrt-uci --package mqtt-session --lib --tests --target "$target" \
		-Zbuild-std=std,panic_unwind,test -- --skip killed --skip processes
}

mkdir -p "$tools" "$out"
if [ "$mode" = --test ]; then
	export CARGO_TARGET_DIR="$PWD/target/static-test"
	run_tests
	exit
fi
export CARGO_TARGET_DIR="$PWD/target/static-build${mode:+-feed}"
sysroot=$(rustc --print sysroot)
started=$(date +%s)
if [ -d "$sysroot/lib/rustlib/$target" ] && [ "$target" = "$(uname -m)-unknown-linux-musl" ]; then
	# rustup's std brings its own musl; another architecture would still need a linker.
	RUSTFLAGS="$places" \
		cargo build --release --no-default-features --package cloudbox --bin cloudbox --target "$target"
else
	fetch_std
	fetch_zig
	# cargo looks for std in the toolchain, unless this variable (its own tests use it) names another place.
	# zig's crt files are used instead of the ones that rustup would have brought. They come along as they are: made
	# for size (-Os), memcpy and memmove are 0.8 KB smaller and copy byte by byte.
	# No features are no word.
	# shellcheck disable=SC2086
	PATH=$tools/venv/bin:$PATH \
		__CARGO_TESTS_ONLY_SRC_ROOT=$tools/rust-src-$version/library \
		RUSTC_BOOTSTRAP=1 \
		RUSTFLAGS="$flags" \
		cargo zigbuild --release --no-default-features --package cloudbox --bin cloudbox --target "$target" \
		"$@" -Zbuild-std=$std $std_features
fi
cp "$CARGO_TARGET_DIR/$target/release/cloudbox" "$out/cloudbox"
file "$out/cloudbox" | sed "s|^$PWD/||"
case $(file "$out/cloudbox") in
*"statically linked"* | *"static-pie linked"*) ;;
*) die "$out/cloudbox is not static" ;;
esac
case $(file "$out/cloudbox") in
*"not stripped"*) die "$out/cloudbox is not stripped" ;;
esac
# What a loader would be asked for: an interpreter, other libraries, and where to look for them.
asked=$(readelf -l -d "$out/cloudbox" | grep -E 'INTERP|NEEDED|RPATH|RUNPATH' || true)
[ -z "$asked" ] || die "$out/cloudbox asks for what a box may not have: $asked"
# Nothing tells where it was built.
for place in "$PWD" "$HOME/"; do
	! grep -aqF "$place" "$out/cloudbox" || die "$out/cloudbox holds the path $place of this machine"
done
packed=$(xz -9 -c "$out/cloudbox" | wc -c)
echo "${out#"$PWD/"}/cloudbox: $(stat -c %s "$out/cloudbox") bytes, $packed packed by xz, built in $(($(date +%s) - started)) s"
