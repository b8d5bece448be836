#!/bin/sh
# Packs cloudbox for OpenWrt's opkg: target/package/ARCH/ is a directory that a box can use as a feed.
#
#   scripts/package.sh [--binary FILE] [--out DIRECTORY] [--key KEY] [ARCH...]
#
# ARCH is an architecture as OpenWrt names it (`opkg print-architecture` on the box): x86_64 if none is given,
# aarch64_generic, aarch64_cortex-a53, arm_cortex-a7_neon-vfpv4, mipsel_24kc, riscv64_generic, i386_pentium4, ...
# The program is built by scripts/static.sh, unless --binary brings it. With --key (or USIGN_KEY), usign's secret key, the
# index is signed. The same sources give the same packages, byte for byte.
#
# Version, dependencies, scripts and texts are those of openwrt/cloudbox/Makefile.
set -eu
umask 022
cd "$(dirname "$0")/.."
makefile=openwrt/cloudbox/Makefile

die() {
	echo "package.sh: $*" >&2
	exit 1
}

binary='' out=target/package key=${USIGN_KEY:-} archs=''
while [ $# -gt 0 ]; do
	case $1 in
	--binary | --out | --key) [ $# -gt 1 ] || die "$1 needs a value" ;;
	esac
	case $1 in
	--binary) binary=$2 && shift ;;
	--out) out=$2 && shift ;;
	--key) key=$2 && shift ;;
	-*) die "there is no option $1" ;;
	*[!a-zA-Z0-9_+.-]*) die "$1 is no name of an architecture" ;;
	*) archs="$archs $1" ;;
	esac
	shift
done
# A list of names without blanks.
# shellcheck disable=SC2086
set -- ${archs:-x86_64}
[ -z "$binary" ] || [ $# = 1 ] || die "--binary goes with one architecture"

# The Rust target of an architecture.
target_of() {
	case $1 in
	x86_64) echo x86_64-unknown-linux-musl ;;
	aarch64_*) echo aarch64-unknown-linux-musl ;;
	# Only those with a floating-point unit.
	arm_cortex-a*_*vfp* | arm_cortex-a*_neon*) echo armv7-unknown-linux-musleabihf ;;
	riscv64_*) echo riscv64gc-unknown-linux-musl ;;
	i386_pentium4 | i386_pentium-mmx) echo i686-unknown-linux-musl ;;
	mipsel_*) echo mipsel-unknown-linux-musl ;;
	mips_*) echo mips-unknown-linux-musl ;;
	*) die "no program is built for the architecture $1" ;;
	esac
}

# --- What the feed's Makefile says ------------------------------------------------------------------------
variable() {
	sed -n "s/^$1:=//p" "$makefile" | grep . || die "$makefile has no $1"
}
# The text between `define Package/NAME` and `endef`, as make passes it on.
definition() {
	awk -v name="define Package/$1" '
		$0 == "endef" { inside = 0 }
		inside { gsub(/\$\$/, "$"); print }
		$0 == name { inside = 1 }
	' "$makefile"
}
# A field of the package's definition, with its continued lines.
field() {
	definition cloudbox | awk -v field="  $1:=" '
		index($0, field) == 1 { $0 = substr($0, length(field) + 1); inside = 1 }
		inside { line = line " " $0; if (sub(/\\$/, "", line)) next; print line; exit }
	'
}
# Each with a plus is a package to be installed along; the others are conditions of the build.
dependencies() {
	field DEPENDS | tr -s ' \t' '\n' | sed -n 's/^+//p' | paste -sd , | sed 's/,/, /g'
}
version="$(variable PKG_VERSION)-r$(variable PKG_RELEASE)"

# What changes only when the sources do.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null)} ||
	die "this is no git checkout: set SOURCE_DATE_EPOCH to the date of the sources, in seconds"

# --- Packing ----------------------------------------------------------------------------------------------
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# A tar as OpenWrt's ipkg-build makes it: all of directory $1, or the members named.
pack_tar() (
	cd "$1"
	shift
	[ $# -gt 0 ] || set -- .
	tar --format=gnu --numeric-owner --owner=0 --group=0 --sort=name --mtime="@$epoch" -cf - "$@"
)

# pack NAME ARCHITECTURE: $work/data and $work/control become $out/ARCH/NAME_VERSION_ARCHITECTURE.ipk
pack() {
	find "$work/data" "$work/control" -type d -exec chmod 755 {} +
	pack_tar "$work/data" >"$work/data.tar"
	sed -i "s/^Installed-Size: .*/Installed-Size: $(wc -c <"$work/data.tar")/" "$work/control/control"
	gzip -9n <"$work/data.tar" >"$work/data.tar.gz"
	pack_tar "$work/control" | gzip -9n >"$work/control.tar.gz"
	echo 2.0 >"$work/debian-binary"
	ipk=$out/$arch/$1_${version}_$2.ipk
	pack_tar "$work" ./debian-binary ./data.tar.gz ./control.tar.gz | gzip -9n >"$ipk"
	echo "$ipk: $(wc -c <"$ipk") bytes"
	rm -rf "$work/data" "$work/control" "$work/data.tar"
}

# What OpenWrt's build system puts around a package's own scripts, which stand beside them.
scripts() {
	cat >"$work/control/postinst" <<-'END'
		#!/bin/sh
		[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
		[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
		. ${IPKG_INSTROOT}/lib/functions.sh
		default_postinst $0 $@
	END
	cat >"$work/control/prerm" <<-'END'
		#!/bin/sh
		[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
		. ${IPKG_INSTROOT}/lib/functions.sh
		default_prerm $0 $@
	END
	for script in postinst prerm; do
		definition "$1/$script" >"$work/control/$script-pkg"
		chmod 755 "$work/control/$script" "$work/control/$script-pkg"
		[ -s "$work/control/$script-pkg" ] || rm "$work/control/$script-pkg"
	done
}

pack_daemon() {
	mkdir -p "$work/data/usr/bin" "$work/control"
	cp -R files/. "$work/data/"
	# A checkout's modes are its owner's umask's, but for the bit that git keeps.
	find "$work/data" -type f -exec chmod go-w,u+rw,go+r {} +
	find "$work/data" -type f -perm -u+x -exec chmod 755 {} +
	chmod 600 "$work"/data/etc/config/*
	cp "$1" "$work/data/usr/bin/cloudbox"
	chmod 755 "$work/data/usr/bin/cloudbox"

	scripts cloudbox
	definition cloudbox/conffiles >"$work/control/conffiles"
	{
		echo "Package: cloudbox"
		echo "Version: $version"
		echo "Depends: $(dependencies)"
		# opkg takes SourceName and SourceDateEpoch for Source again, into the room of the first: it must not be the shortest.
		echo "Source: feeds/cloudbox/cloudbox"
		echo "SourceName: cloudbox"
		echo "License: $(variable PKG_LICENSE)"
		echo "LicenseFiles: $(variable PKG_LICENSE_FILES)"
		echo "Section: $(field SECTION | tr -d ' ')"
		echo "Require-User: $(field USERID | tr -d ' ')"
		echo "SourceDateEpoch: $epoch"
		echo "Maintainer: $(variable PKG_MAINTAINER)"
		echo "Architecture: $arch"
		echo "Installed-Size: 0"
		definition cloudbox/description | sed 's/^[[:space:]]*/ /; 1s/^/Description:/'
	} >"$work/control/control"
	chmod 644 "$work/control/control" "$work/control/conffiles"
	pack cloudbox "$arch"
}

# The index of what is in a directory, as opkg reads it.
index() (
	cd "$1"
	for ipk in *.ipk; do
		size=$(wc -c <"$ipk") hash=$(sha256sum "$ipk" | cut -d' ' -f1)
		tar -xzOf "$ipk" ./control.tar.gz | tar -xzOf - ./control |
			sed "s/^Description:/Filename: $ipk\nSize: $size\nSHA256sum: $hash\n&/"
		echo
	done >Packages
	gzip -9n <Packages >Packages.gz
)

if [ -n "$key" ]; then
	[ -r "$key" ] || die "the key $key cannot be read"
	command -v usign >/dev/null || die "usign, which signs the index, is not installed: it is a part of OpenWrt"
fi
for arch; do
	program=$binary
	if [ -z "$program" ]; then
		target=$(target_of "$arch")
		scripts/static.sh "$target"
		program=target/static/$target/cloudbox
	fi
	[ -f "$program" ] || die "there is no program $program"
	rm -rf "${out:?}/$arch"
	mkdir -p "$out/$arch"
	pack_daemon "$program"
	index "$out/$arch"
	if [ -n "$key" ]; then
		usign -S -m "$out/$arch/Packages" -s "$key"
		echo "$out/$arch: a feed, signed"
	else
		echo "$out/$arch: a feed, unsigned (--key KEY signs it): a box takes it only without \`option check_signature\`"
	fi
done
