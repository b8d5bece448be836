#!/bin/sh
# Installs the Debian packages that a task of the Makefile needs, and only those that are missing.
#
#   scripts/install-deps.sh demo|test|package|vm|ci
#   scripts/install-deps.sh --installed      tells what was installed so far, and how to remove it
#
# No service of the machine is started, stopped or reconfigured.
set -eu

die() {
	echo "install-deps: $*" >&2
	exit 1
}

# What this script has installed on the machine, with what apt took along: one package a line.
record=$(dirname "$0")/../target/installed
if [ "${1:-}" = --installed ]; then
	[ ! -s "$record" ] || {
		echo "Installed on this machine for the tasks of the Makefile: $(paste -sd' ' "$record")"
		echo "To remove them: apt-get purge \$(cat target/installed) && rm target/installed"
	}
	exit
fi

# What builds the images and runs the containers.
demo="lxc squashfs-tools mmdebstrap debian-archive-keyring dnsmasq-base iproute2 iputils-ping e2fsprogs util-linux
	avahi-daemon avahi-utils dbus zstd xz-utils ca-certificates gcc libc6-dev"
# The distro has wheels from PyPI. A Python that did not come from Debian has its pip with it.
python3 -m pip --version >/dev/null 2>&1 || demo="$demo python3 python3-pip"
# The static build and the packages.
package="file git xz-utils python3 python3-venv debian-archive-keyring ca-certificates gcc libc6-dev"
# The tests add the small image, the tools that look at the result from outside, nft for isolation, something that the
# distro can draw graphs of, the packages, a disk of XFS, certificates, what signs as OpenWrt's usign does, and brokers.
test="$demo $package busybox-static nftables curl jq snmpd make xfsprogs openssl signify-openbsd mosquitto nats-server"
# The virtual box.
vm="$package mmdebstrap busybox-static e2fsprogs squashfs-tools kmod cpio xz-utils qemu-system-x86"
# Continuous integration adds the linters, other processors, what the C peers of the differential tests need, and node for
# LuCI's pages.
ci="$test $vm qemu-user shellcheck make cmake pkg-config g++ libjson-c-dev libclang-dev"
# A node that did not come from Debian has its npm with it.
command -v npm >/dev/null || ci="$ci nodejs npm"

case ${1:-} in
demo) wanted=$demo ;;
test) wanted=$test ;;
package) wanted=$package ;;
vm) wanted=$vm ;;
ci) wanted=$ci ;;
*) die "usage: scripts/install-deps.sh demo|test|package|vm|ci" ;;
esac

command -v apt-get >/dev/null || die "apt is missing: on a machine that is not Debian's, install by hand: $wanted"

missing=
for package in $wanted; do
	case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
	*" ok installed") ;;
	*) missing="$missing $package" ;;
	esac
done

if [ -n "$missing" ]; then
	echo "install-deps: installing$missing"
	[ "$(id -u)" = 0 ] || die "needs root to install packages; as root: scripts/install-deps.sh $1"
	# Debian starts a package's service as it is installed, unless a policy says no (101). A policy that the
	# machine already has stays in charge.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		trap 'exit 1' HUP INT TERM
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	install() {
		# One word per package is what is meant.
		# shellcheck disable=SC2086
		apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing
	}
	installed() { dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii  *//p' | sort; }
	mkdir -p "$(dirname "$record")"
	installed >"$record.before"
	install || { apt-get update -qq && install; } || die "apt-get could not install:$missing"
	installed | comm -13 "$record.before" - >"$record.new"
	echo "install-deps: installed on this machine: $(paste -sd' ' "$record.new")"
	cat "$record.new" >>"$record"
	rm -f "$record.before" "$record.new"
else
	echo "install-deps: everything for '$1' is installed"
fi

command -v cargo >/dev/null || die "cargo is missing: install Rust with rustup (its installer is at https://rustup.rs),
	or Debian's own packages rustc and cargo where they are new enough (see rust-version in Cargo.toml)"
