#!/bin/sh
# Builds the distro image: a minimal Debian with systemd, D-Bus, avahi and DHCP on eth0, as one squashfs.
#
#   distro/build.sh [--release NAME] [--tar FILE] OUTPUT.squashfs
#
# The same packages and the same SOURCE_DATE_EPOCH give the same bytes. Without SOURCE_DATE_EPOCH the image is
# dated at the start of today (UTC). Needs root, mmdebstrap and squashfs-tools.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=guifi-community-distro
tar=
release=
out=

die() {
	echo "distro/build.sh: $*" >&2
	exit 1
}

while [ $# -gt 0 ]; do
	case $1 in
	--release) release=${2:?--release needs a name} && shift 2 ;;
	--tar) tar=${2:?--tar needs a file} && shift 2 ;;
	-*) die "unknown option $1" ;;
	*) out=$1 && shift ;;
	esac
done
[ -n "$out" ] || die "usage: distro/build.sh [--release NAME] [--tar FILE] OUTPUT.squashfs"
[ "$(id -u)" = 0 ] || die "needs root, to give the files of the image their owners"
for tool in mmdebstrap sqfstar; do
	command -v $tool >/dev/null || die "$tool is missing: run scripts/install-deps.sh demo"
done

# networkd for the link, resolved for /etc/resolv.conf: both keep trying when the box's DHCP server comes up
# after the container. ifupdown's clients give up, and need 50 ms more.
packages=systemd-sysv,dbus,avahi-daemon,libnss-mdns,iproute2,iputils-ping,netbase,systemd-resolved
# With /usr merged from the start nothing needs usrmerge, which would bring all of Perl: 45 MB.
packages=$packages,usr-is-merged

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
if [ -n "$release" ] && [ "$release" != "$host" ]; then
	sed -i "s/^\(Suites: \)$host/\1$release/" "$work/debian.sources"
else
	release=$host
fi
"$here/../scripts/debian-mirror.sh" options >"$work/apt.conf"
arch=$(uname -m)

# What is not wanted in the image is not unpacked at all. Copyright files stay, as Debian asks.
started=$(date +%s)
TMPDIR=$work mmdebstrap --quiet --variant=minbase --include="$packages" \
	--skip=output/dev \
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
	--customize-hook="sh '$here/customize.sh' \"\$1\" $name $arch $SOURCE_DATE_EPOCH" \
	"$release" "$work/image.tar" "$work/debian.sources" >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	die "mmdebstrap failed; its words are above"
}
# LXC makes the device nodes, on a tmpfs of its own: the image has only the place to mount it.
mkdir "$work/dev"
tar --append --file "$work/image.tar" -C "$work" --owner=0 --group=0 --numeric-owner --mode=0755 \
	--mtime="@$SOURCE_DATE_EPOCH" ./dev
packed=$(date +%s)

# 256 KiB blocks: smaller than 128 KiB ones, and a cold read still costs little memory. The level is zstd's default of 15:
# sqfstar 4.5 cannot parse the option, and higher ones cost much time for little.
sqfstar -comp zstd -b 256K -quiet -no-progress "$work/image.sqfs" <"$work/image.tar" >"$work/sqfstar.log" 2>&1 ||
	die "sqfstar: $(cat "$work/sqfstar.log")"
done=$(date +%s)

mv "$work/image.sqfs" "$out"
echo "$out: $(stat -c %s "$out") bytes, sha256 $(sha256sum "$out" | cut -d' ' -f1)"
echo "  from a tar of $(stat -c %s "$work/image.tar") bytes; bootstrap $((packed - started)) s, packing $((done - packed)) s"
if [ -n "$tar" ]; then
	mv "$work/image.tar" "$tar"
	echo "$tar: $(stat -c %s "$tar") bytes"
fi
