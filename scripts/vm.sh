#!/bin/sh
# Tries the package on a virtual box: a machine of QEMU's with a pure cgroup v2, as OpenWrt has it. The package is installed,
# a memory limit enforced, a hostile guest let loose, the box rebooted, and its plug pulled in the middle of creates and deletes.
#
#   scripts/vm.sh [--pulls NUMBER] [--package FILE.ipk]     4 of each, and the package of this machine's architecture
#
# The kernel and everything else on the box is Debian's; what OpenWrt has and Debian has not is stood in for by
# tests/system/on_box. Works in target/vm, where what took long is kept for the next time.
set -eu
cd "$(dirname "$0")/.."
vm=$PWD/target/vm

die() {
	echo "vm.sh: $*" >&2
	exit 1
}

pulls=4 package=
while [ $# -gt 0 ]; do
	case $1 in
	--pulls) pulls=${2:?--pulls needs a number} && shift 2 ;;
	--package) package=${2:?--package needs a file} && shift 2 ;;
	*) die "usage: scripts/vm.sh [--pulls NUMBER] [--package FILE.ipk]" ;;
	esac
done
[ "$(uname -m)" = x86_64 ] || die "the virtual box is an x86_64 one, and so must this machine be"
[ "$(id -u)" = 0 ] || die "needs root, to give the files of the box their owners"

scripts/install-deps.sh vm
scripts/image.sh mini
if [ -z "$package" ]; then
	scripts/package.sh x86_64
	package=$(ls target/package/x86_64/cloudbox_*.ipk)
fi
cargo build --quiet --release --package openwrt-ubus --features broker --bin ubus-broker
broker=${CARGO_TARGET_DIR:-target}/release/ubus-broker
mkdir -p "$vm"

# --- The kernel -------------------------------------------------------------------------------------------
# Idmapped mounts of squashfs need 6.2: this release's own kernel where it is new enough, else a backport of a later one.
fetch_kernel() {
	[ ! -e "$vm/kernel/done" ] || return 0
	echo "vm.sh: fetching a kernel"
	rm -rf "$vm/kernel" "$vm/apt"
	mkdir -p "$vm/kernel" "$vm/apt/lists/partial" "$vm/apt/cache/archives/partial"
	mirror=$(scripts/debian-mirror.sh uri)
	for suite in bookworm-backports trixie; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$vm/apt/$suite.list"
		set -- -qq -o Dir::Etc::SourceList="$vm/apt/$suite.list" -o Dir::Etc::SourceParts=/dev/null \
			-o Dir::State::Lists="$vm/apt/lists" -o Dir::Cache="$vm/apt/cache" -o APT::Sandbox::User=
		apt-get "$@" update || continue
		name=$(apt-cache "$@" depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && !n++ { print $2 }')
		[ -n "$name" ] || continue
		(cd "$vm/kernel" && apt-get "$@" download "$name") || continue
		dpkg -x "$vm"/kernel/*.deb "$vm/kernel/deb"
		rm "$vm"/kernel/*.deb
		touch "$vm/kernel/done"
		return 0
	done
	die "neither bookworm-backports nor trixie of $mirror has linux-image-cloud-amd64"
}
fetch_kernel
release=$(ls "$vm"/kernel/deb/lib/modules)
kernel=$vm/kernel/deb/boot/vmlinuz-$release
modules=$vm/kernel/deb/lib/modules/$release
[ -e "$modules/modules.dep.bin" ] || depmod -b "$vm/kernel/deb" "$release"

# The files of modules and of what they need, in the order of loading.
with_needed() {
	for module; do
		modprobe -d "$vm/kernel/deb" -S "$release" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++'
}

# plain MODULE TO: as the kernel itself reads it
plain() {
	case $1 in
	*.xz) xz -dc "$1" >"$2" ;;
	*) cp "$1" "$2" ;;
	esac
}

# --- What it boots from -----------------------------------------------------------------------------------
make_initrd() {
	dir=$vm/initrd
	rm -rf "$dir"
	mkdir -p "$dir/bin" "$dir/modules"
	cp "$(command -v busybox)" "$dir/bin/busybox"
	cp tests/vm/early "$dir/init"
	with_needed virtio_pci virtio_blk ext4 crc32c_generic | while read -r file; do
		name=$(basename "${file%.xz}")
		plain "$file" "$dir/modules/$name"
		echo "$name" >>"$dir/modules/order"
	done
	touch "$dir/modules/order"
	(cd "$dir" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$vm/initrd.gz"
}

# --- The box's root ---------------------------------------------------------------------------------------
base_packages=lxc,squashfs-tools,e2fsprogs,iproute2,iputils-ping,kmod,procps,busybox-static,usr-is-merged
box_modules="overlay squashfs ext4 loop veth bridge nft_meta_bridge nft_limit"
make_base() {
	key=$(cat scripts/debian-mirror.sh /etc/debian_version - <<-END | sha256sum | cut -d' ' -f1
		$base_packages
	END
	)
	[ "$(cat "$vm/base.key" 2>/dev/null)" != "$key" ] || return 0
	echo "vm.sh: making the box's root"
	rm -f "$vm/base.key"
	scripts/debian-mirror.sh sources >"$vm/debian.sources"
	scripts/debian-mirror.sh options >"$vm/apt.conf"
	suite=$(awk '/^Suites:/ && $2 !~ /-/ { print $2; exit }' "$vm/debian.sources")
	TMPDIR=$vm mmdebstrap --quiet --variant=minbase --skip=output/dev \
		--include="$base_packages" \
		--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
		--aptopt="$vm/apt.conf" --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$vm/base.tar" "$vm/debian.sources" >"$vm/base.log" 2>&1 || {
		cat "$vm/base.log" >&2
		die "mmdebstrap failed; its words are above"
	}
	echo "$key" >"$vm/base.key"
}

make_disk() {
	root=$vm/root
	rm -rf "$root"
	mkdir -p "$root"
	tar -xf "$vm/base.tar" -C "$root"
	mkdir -p "$root/dev" "$root/vm" "$root/lib/functions" "$root/etc/rc.d" "$root/etc/config" "$root/etc/avahi/services" \
		"$root/etc/modules.d" "$root/usr/lib/opkg/info" "$root/lib/modules/$release"
	# The shell and the tools of a box are busybox's.
	for applet in sh syslogd usleep logger killall awk sed grep reboot; do
		ln -sf busybox "$root/bin/$applet"
	done
	cp tests/vm/init "$root/sbin/init"
	cp tests/vm/scenario.sh "$root/vm/"
	cp "$package" "$root/vm/cloudbox.ipk"
	cp target/image/mini.squashfs "$root/vm/"
	cp "$broker" "$root/usr/bin/ubus-broker"
	gcc -static -Os -o "$root/vm/evil" tests/attack/guest/evil.c
	cp tests/system/on_box/functions.sh "$root/lib/"
	cp tests/system/on_box/procd.sh "$root/lib/functions/"
	cp tests/system/on_box/rc.common "$root/etc/"
	cp tests/system/on_box/uci tests/system/on_box/opkg "$root/usr/bin/"
	chmod 755 "$root/etc/rc.common"
	# Split into words on purpose.
	# shellcheck disable=SC2086
	with_needed $box_modules | while read -r file; do
		to=$root/lib/modules/$release/${file#"$modules"/}
		mkdir -p "$(dirname "$to")"
		plain "$file" "${to%.xz}"
	done
	cp "$modules"/modules.builtin* "$modules/modules.order" "$root/lib/modules/$release/"
	depmod -b "$root" "$release"
	echo "$box_modules" | tr ' ' '\n' >"$root/etc/modules.d/box"
	rm -f "$vm/disk.img"
	truncate -s 2G "$vm/disk.img"
	mke2fs -q -t ext4 -d "$root" "$vm/disk.img"
	rm -rf "$root"
}

# --- Running it -------------------------------------------------------------------------------------------
log=$vm/console.log
qemu_pid=
# Called by the trap.
# shellcheck disable=SC2317,SC2329
stop_qemu() {
	[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2>/dev/null || true
}
trap stop_qemu EXIT
trap 'exit 1' HUP INT TERM

# boot STEPS: until it is off, or says that the plug is to be pulled
boot() {
	printf '\n=== %s\n' "$1" >>"$log"
	: >"$vm/now.log"
	# tcg: kvm hangs in the firmware where this machine is a virtual one itself. Without cx16: QEMU 7.2
	# spoils the flags at cmpxchg16b, and with them the kernel's lists.
	# OpenWrt's LXC knows no AppArmor.
	# One thread for both processors: while the kernel patches its code on one, qemu's other may run what is not there any
	# more ("Oops: int3", once in some dozen boots).
	qemu-system-x86_64 -accel tcg,thread=single -cpu max,cx16=off -smp 2 -m 512 -no-reboot -display none -monitor none -nodefaults \
		-serial "file:$vm/now.log" -kernel "$kernel" -initrd "$vm/initrd.gz" \
		-drive "file=$vm/disk.img,format=raw,if=virtio" \
		-append "console=ttyS0 quiet panic=-1 apparmor=0 scenario=$(echo "$1" | tr ' ' ,)" &
	qemu_pid=$!
	end=$(($(date +%s) + 300))
	pulled=
	while kill -0 "$qemu_pid" 2>/dev/null; do
		if [ -z "$pulled" ] && grep -aq '^VM: pull the plug' "$vm/now.log"; then
			kill -KILL "$qemu_pid"
			pulled=yes
		fi
		[ "$(date +%s)" -lt "$end" ] || {
			kill -KILL "$qemu_pid"
			tail -n 40 "$vm/now.log" >&2
			die "the box hangs; its console is in $log"
		}
		sleep 0.02
	done
	wait "$qemu_pid" 2>/dev/null || true
	qemu_pid=
	cat "$vm/now.log" >>"$log"
	tr -d '\r' <"$vm/now.log" | sed -n 's/^VM: /    /p' | grep -v '^    off$' || true
	if grep -aq '^VM: FAILED' "$vm/now.log" || { [ -z "$pulled" ] && ! grep -aq '^VM: off' "$vm/now.log"; }; then
		sed -n '/VM: FAILED/,$p' "$vm/now.log" >&2
		[ -n "$(grep -a '^VM: FAILED' "$vm/now.log" || true)" ] || tail -n 40 "$vm/now.log" >&2
		die "failed in: $1; the console of all runs is in $log"
	fi
}
measured() { tr -d '\r' <"$vm/now.log" | sed -n "s/^VM: $1 \([0-9]*\)$/\1/p"; }

began=$(date +%s)
make_initrd
make_base
make_disk
: >"$log"
echo "vm.sh: kernel $release, $(basename "$package"), made ready in $(($(date +%s) - began)) s"
began=$(date +%s)
boot "install limit"
boot "hostile"
boot "came_back measure"
create=$(measured create) delete=$(measured delete)
n=0
next=
while [ $n -lt "$pulls" ]; do
	boot "$next create:$((create * n / pulls))"
	boot "check delete:$((delete * n / pulls))"
	next=check
	n=$((n + 1))
done
boot "check end"
e2fsck -fn "$vm/disk.img" >"$vm/fsck.log" 2>&1 || {
	cat "$vm/fsck.log" >&2
	die "the box's disk is damaged"
}
rm -f "$vm/disk.img"
echo "vm.sh: installed, limited, attacked from inside, rebooted, its plug pulled $((2 * pulls)) times: all is well after $(($(date +%s) - began)) s"
