#!/bin/sh
# Packs cloudbox and its pages in LuCI for OpenWrt's opkg: target/package/ARCH/ is a directory that a box can use as a feed.
#
#   scripts/package.sh [--binary FILE] [--out DIRECTORY] [--key KEY] [ARCH...]
#
# ARCH is an architecture as OpenWrt names it (`opkg print-architecture` on the box): x86_64 if none is given,
# aarch64_generic, aarch64_cortex-a53, arm_cortex-a7_neon-vfpv4, mipsel_24kc, riscv64_generic, i386_pentium4, ...
# The program is built by scripts/static.sh, unless --binary brings it. With --key (or USIGN_KEY), usign's secret key, the
# index is signed. The same sources give the same packages, byte for byte.
#
# Versions, dependencies, scripts and texts are those of the Makefiles in openwrt/.
set -eu
umask 022
cd "$(dirname "$0")/.."

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

# The Rust target of an architecture: only of those whose every processor runs what is built for it.
target_of() {
	case $1 in
	x86_64) echo x86_64-unknown-linux-musl ;;
	aarch64_*) echo aarch64-unknown-linux-musl ;;
	# With a floating-point unit.
	arm_cortex-a*_*vfp* | arm_cortex-a*_neon*) echo armv7-unknown-linux-musleabihf ;;
	riscv64_*) echo riscv64gc-unknown-linux-musl ;;
	# With SSE2, which pentium-mmx lacks.
	i386_pentium4) echo i686-unknown-linux-musl ;;
	# Of MIPS32's second release.
	mipsel_24kc* | mipsel_74kc) echo mipsel-unknown-linux-musl ;;
	mips_24kc | mips_4kec) echo mips-unknown-linux-musl ;;
	*) die "no program is built for the architecture $1" ;;
	esac
}

# --- What a Makefile of the feed says ---------------------------------------------------------------------
# use DIRECTORY: what follows is read from its Makefile.
use() {
	makefile=openwrt/$1/Makefile
	version="$(variable PKG_VERSION)-r$(variable PKG_RELEASE)"
}
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
	tr -s ' \t' '\n' | sed -n 's/^+//p' | paste -sd , | sed 's/,/, /g'
}

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
	chmod 644 "$work/control/control"
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

# plain_modes: a checkout's modes are its owner's umask's, but for the bit that git keeps.
plain_modes() {
	find "$work/data" -type f -exec chmod go-w,u+rw,go+r {} +
	find "$work/data" -type f -perm -u+x -exec chmod 755 {} +
}

# facts NAME DEPENDENCIES SECTION: the fields that every package has.
facts() {
	echo "Package: $1"
	echo "Version: $version"
	echo "Depends: $2"
	# opkg takes SourceName and SourceDateEpoch for Source again, into the room of the first: it must not be the shortest.
	source=${makefile%/Makefile}
	echo "Source: feeds/cloudbox/${source#openwrt/}"
	echo "SourceName: $1"
	echo "License: $(variable PKG_LICENSE)"
	echo "Section: $3"
	echo "SourceDateEpoch: $epoch"
	echo "Maintainer: $(variable PKG_MAINTAINER)"
}

pack_daemon() {
	use cloudbox
	mkdir -p "$work/data/usr/bin" "$work/control"
	cp -R files/. "$work/data/"
	plain_modes
	chmod 600 "$work"/data/etc/config/*
	cp "$1" "$work/data/usr/bin/cloudbox"
	chmod 755 "$work/data/usr/bin/cloudbox"

	scripts cloudbox
	definition cloudbox/conffiles >"$work/control/conffiles"
	chmod 644 "$work/control/conffiles"
	{
		facts cloudbox "$(field DEPENDS | dependencies)" "$(field SECTION | tr -d ' ')"
		echo "LicenseFiles: $(variable PKG_LICENSE_FILES)"
		echo "Require-User: $(field USERID | sed 's/^ *//')"
		echo "Architecture: $arch"
		echo "Installed-Size: 0"
		definition cloudbox/description | sed 's/^[[:space:]]*/ /; 1s/^/Description:/'
	} >"$work/control/control"
	pack cloudbox "$arch"
}

# LuCI's pages, as luci.mk packs them, but not minified.
pack_pages() {
	use luci-app-cloudbox
	mkdir -p "$work/data/www" "$work/control"
	cp -R openwrt/luci-app-cloudbox/htdocs/. "$work/data/www/"
	cp -R openwrt/luci-app-cloudbox/root/. "$work/data/"
	plain_modes
	scripts luci-app-cloudbox
	cat >"$work/control/postinst-pkg" <<-'END'
		[ -n "${IPKG_INSTROOT}" ] || {
			rm -f /tmp/luci-indexcache.*
			rm -rf /tmp/luci-modulecache/
			/etc/init.d/rpcd reload 2>/dev/null
			exit 0
		}
	END
	chmod 755 "$work/control/postinst-pkg"
	{
		facts luci-app-cloudbox "$(variable LUCI_DEPENDS | dependencies)" luci
		echo "Architecture: all"
		echo "Installed-Size: 0"
		echo "Description: $(variable LUCI_DESCRIPTION)"
	} >"$work/control/control"
	pack luci-app-cloudbox all
}

# pack_translation LANGUAGE: the pages' texts, and the language's name for the menu of LuCI's settings.
pack_translation() {
	case $1 in
	ca) language="Català (Catalan)" ;;
	es) language="Español (Spanish)" ;;
	*) die "luci.mk's name of the language $1 is to be added to package.sh" ;;
	esac
	use luci-app-cloudbox
	mkdir -p "$work/data/etc/uci-defaults" "$work/data/usr/lib/lua/luci/i18n" "$work/control"
	echo "uci set luci.languages.$1='$language'; uci commit luci" >"$work/data/etc/uci-defaults/luci-i18n-cloudbox-$1"
	scripts/po2lmo.py "openwrt/luci-app-cloudbox/po/$1/cloudbox.po" "$work/data/usr/lib/lua/luci/i18n/cloudbox.$1.lmo"
	scripts luci-i18n-cloudbox
	{
		facts "luci-i18n-cloudbox-$1" luci-app-cloudbox luci
		echo "Architecture: all"
		echo "Installed-Size: 0"
		echo "Description: Translation for luci-app-cloudbox - $language"
	} >"$work/control/control"
	pack "luci-i18n-cloudbox-$1" all
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

command -v python3 >/dev/null || die "python3, which writes LuCI's translations, is missing: run scripts/install-deps.sh package"
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
	pack_pages
	for po in openwrt/luci-app-cloudbox/po/*/cloudbox.po; do
		language=${po%/cloudbox.po}
		pack_translation "${language##*/}"
	done
	index "$out/$arch"
	if [ -n "$key" ]; then
		usign -S -m "$out/$arch/Packages" -s "$key"
		echo "$out/$arch: a feed, signed"
	else
		echo "$out/$arch: a feed, unsigned (--key KEY signs it): a box takes it only without \`option check_signature\`"
	fi
done
