#!/bin/sh
# Builds the distro image, Debian with the services of a community cloud, as one squashfs; README.md tells of it.
#
#   distro/build.sh [--arch amd64|arm64] [--tar FILE] OUTPUT.squashfs
#
# The same packages and the same SOURCE_DATE_EPOCH give the same bytes. Without SOURCE_DATE_EPOCH the image is
# dated at the start of today (UTC). Packages and wheels are kept in target/cache. Needs root, mmdebstrap,
# squashfs-tools, python3 with pip, and for another architecture qemu-user-static with binfmt_misc.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=guifi-community-distro
# Debian's stable release, and its Python: tahoe.txt is for that one.
release=trixie
python=3.13
tar=
arch=$(dpkg --print-architecture)
out=

die() {
	echo "distro/build.sh: $*" >&2
	exit 1
}

while [ $# -gt 0 ]; do
	case $1 in
	--arch) arch=${2:?--arch needs a name} && shift 2 ;;
	--tar) tar=${2:?--tar needs a file} && shift 2 ;;
	-*) die "unknown option $1" ;;
	*) out=$1 && shift ;;
	esac
done
[ -n "$out" ] || die "usage: distro/build.sh [--arch amd64|arm64] [--tar FILE] OUTPUT.squashfs"
[ "$(id -u)" = 0 ] || die "needs root, to give the files of the image their owners"
case $arch in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*) die "--arch $arch: there are wheels for amd64 and arm64 only" ;;
esac
for tool in mmdebstrap sqfstar; do
	command -v $tool >/dev/null || die "$tool is missing: run scripts/install-deps.sh demo"
done
python3 -m pip --version >/dev/null || die "pip is missing: run scripts/install-deps.sh demo"

# networkd for the link, resolved for /etc/resolv.conf: both keep trying when the box's DHCP server comes up
# after the container. ifupdown's clients give up, and need 50 ms more. With /usr merged from the start nothing
# needs usrmerge.
packages=systemd-sysv,dbus,libnss-mdns,iproute2,iputils-ping,netbase,systemd-resolved,usr-is-merged,tzdata
packages=$packages,avahi-daemon,avahi-utils,openssh-server,unattended-upgrades,ca-certificates
packages=$packages,squid,lighttpd,mrtg,librrds-perl,rrdtool
# Tahoe-LAFS is in tahoe.txt, but for these three.
packages=$packages,python3,python3-netifaces,python3-pycddl,python3-zfec

: "${SOURCE_DATE_EPOCH:=$(date -u -d "$(date -u +%F)" +%s)}"
export SOURCE_DATE_EPOCH
umask 022
mkdir -p "$(dirname "$out")"
# Beside the output, never in a RAM-backed /tmp.
work=$(mktemp -d "$(dirname "$out")/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"$here/../scripts/debian-mirror.sh" sources >"$work/debian.sources"
host=$(awk '/^Suites:/ && $2 !~ /-/ { print $2; exit }' "$work/debian.sources")
sed -i "s/^\(Suites: \)$host/\1$release/" "$work/debian.sources"
"$here/../scripts/debian-mirror.sh" options >"$work/apt.conf"

started=$(date +%s)
cache=$(mkdir -p "$here/../target/cache" && cd "$here/../target/cache" && pwd)
debs=$cache/debs-$release-$arch wheels=$cache/wheels-$machine
mkdir -p "$debs" "$wheels" "$work/root/opt/tahoe"
cp -a "$here/root/." "$work/root/"
# Tahoe-LAFS in a venv of its own, for the image's Python and not for this machine's.
pip() {
	word=$1
	shift
	set -- --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$here/tahoe.txt" \
		--only-binary=:all: --implementation cp --python-version $python "$@"
	# The image's libc is 2.41; a wheel names the oldest one it runs with.
	libc=41
	while [ $libc -ge 5 ]; do
		set -- "$@" --platform "manylinux_2_${libc}_$machine"
		libc=$((libc - 1))
	done
	for old in 2014 2010 1; do set -- "$@" --platform "manylinux${old}_$machine"; done
	python3 -m pip "$word" "$@"
}
site=$work/root/opt/tahoe/lib/python$python/site-packages
install_tahoe() { pip install --no-index --find-links "$wheels" --no-compile --target "$site"; }
install_tahoe >"$work/log" 2>&1 || { rm -rf "$site" && pip download --dest "$wheels" && install_tahoe; } ||
	die "Tahoe-LAFS cannot be installed; pip's words are above"

# What is not wanted in the image is not unpacked at all. Copyright files stay, as Debian asks.
TMPDIR=$work mmdebstrap --quiet --variant=minbase --include="$packages" \
	--architectures="$arch" --skip=output/dev,essential/unlink \
	--setup-hook="mkdir -p \"\$1/var/cache/apt/archives\"; cp -l '$debs'/*.deb \"\$1/var/cache/apt/archives\" || true" \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--aptopt="$work/apt.conf" \
	--aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-include=/usr/share/doc/*/copyright' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/info/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/lintian/*' \
	--dpkgopt='path-exclude=/usr/share/bug/*' \
	--dpkgopt='path-exclude=/usr/share/squid-langpack/*' \
	--dpkgopt='path-exclude=/usr/share/mrtg/icons/*' \
	--dpkgopt='path-exclude=/usr/share/perl*/*.pod' \
	--dpkgopt='path-exclude=/usr/lib/*/perl/*.pod' \
	--dpkgopt='path-exclude=/usr/lib/*/perl/*/CORE/*' \
	--customize-hook="cp -fl \"\$1\"/var/cache/apt/archives/*.deb '$debs'" \
	--customize-hook="cp -a '$work/root/.' \"\$1/\"" \
	--customize-hook="sh '$here/customize.sh' \"\$1\" $name $machine $SOURCE_DATE_EPOCH" \
	"$release" "$work/image.tar" "$work/debian.sources" >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	die "mmdebstrap failed; its words are above"
}
# LXC makes the device nodes, on a tmpfs of its own: the image has only the place to mount it.
mkdir "$work/dev"
tar --append --file "$work/image.tar" -C "$work" --owner=0 --group=0 --numeric-owner --mode=0755 \
	--mtime="@$SOURCE_DATE_EPOCH" ./dev
packed=$(date +%s)

# What OpenWrt's own kernel mounts: its squashfs knows xz and no other compressor, and no extended attributes. With
# 256 KiB blocks a cold read still costs little memory.
sqfstar -comp xz -b 256K -no-xattrs -quiet -no-progress "$work/image.sqfs" <"$work/image.tar" >"$work/sqfstar.log" 2>&1 ||
	die "sqfstar: $(cat "$work/sqfstar.log")"
done=$(date +%s)

mv "$work/image.sqfs" "$out"
echo "$out: $(stat -c %s "$out") bytes, sha256 $(sha256sum "$out" | cut -d' ' -f1)"
echo "  from a tar of $(stat -c %s "$work/image.tar") bytes; bootstrap $((packed - started)) s, packing $((done - packed)) s"
if [ -n "$tar" ]; then
	mv "$work/image.tar" "$tar"
	echo "$tar: $(stat -c %s "$tar") bytes"
fi
