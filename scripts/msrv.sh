#!/bin/sh
# Builds the program and runs the unit tests with the oldest Rust that Cargo.toml promises (`rust-version`): that of
# Debian's stable release. It is unpacked in target/msrv/root; the machine's own Rust and packages stay as they are.
#
# Needs root. The tests run in a root directory and a mount namespace of their own, and the mounts go with them.
set -eu
cd "$(dirname "$0")/.."

release=trixie
place=$PWD/target/msrv
root=$place/root

die() {
	echo "msrv.sh: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || die "needs root: Debian's Rust runs in a root directory of its own"
for tool in mmdebstrap unshare cargo; do
	command -v $tool >/dev/null || die "$tool is missing: run scripts/install-deps.sh test"
done
promised=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$promised" ] || die "Cargo.toml has no rust-version"

mkdir -p "$place"
# Two at once share one root.
exec 9>"$place/.lock"
flock 9
# With what the unit tests call.
packages=rustc,cargo,gcc,libc6-dev,e2fsprogs,iproute2,xz-utils,zstd
key="$release $packages"
if [ "$(cat "$place/key" 2>/dev/null)" != "$key" ]; then
	echo "msrv.sh: unpacking the Rust of Debian's $release"
	rm -rf "$root" "$place/key" "$place/new"
	mirror=$(scripts/debian-mirror.sh uri)
	scripts/debian-mirror.sh options >"$place/apt.conf"
	mmdebstrap --quiet --variant=minbase --include="$packages" --skip=cleanup/apt/lists \
		--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
		--aptopt="$place/apt.conf" --aptopt='APT::Install-Recommends "false"' \
		"$release" "$place/new" \
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" ||
		die "Debian's $release could not be unpacked"
	rm -rf "$place/new/var/cache/apt" "$place/new/var/lib/apt/lists" "$place/new/usr/share/doc" "$place/new/usr/share/man"
	mkdir -p "$place/new/src"
	mv "$place/new" "$root"
	echo "$key" >"$place/key"
fi

# Debian's cargo has no network, and looks at nothing of the machine's.
cargo vendor --quiet --locked --versioned-dirs "$place/vendor" >/dev/null
mkdir -p "$root/root/.cargo"
cat >"$root/root/.cargo/config.toml" <<END
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "/src/target/msrv/vendor"
END

# The private namespace keeps every mount, those of the tests too.
# shellcheck disable=SC2016
exec unshare --mount --propagation private sh -euc '
	root=$1 top=$2 promised=$3
	mount --bind "$top" "$root/src"
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/tmp"
	# A test looks up the name.
	echo "127.0.0.1 localhost" >"$root/etc/hosts"
	exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		CARGO_TARGET_DIR=/src/target/msrv/build CARGO_INCREMENTAL=0 CARGO_NET_OFFLINE=true \
		chroot "$root" sh -euc "
			cd /src
			version=\$(rustc --version | cut -d\" \" -f2)
			case \$version in
			$promised | $promised.*) ;;
			*) echo \"msrv.sh: Cargo.toml promises $promised, and this is \$version\" >&2; exit 1 ;;
			esac
			echo \"msrv.sh: rustc \$version\"
			cargo build --locked --package cloudbox --no-default-features
			cargo test --locked --workspace --all-features --lib --bins --no-fail-fast
		"
' sh "$root" "$PWD" "$promised"
