#!/bin/sh
# Builds a tiny image for fast tests: one static busybox as init, shell, DHCP client and web server.
#
#   distro/mini.sh OUTPUT.squashfs
#
# For a web server in a running container: httpd -h /www
# Its init listens to SIGUSR1 (halt) and SIGTERM (reboot), as the manifest's "init":"busybox" tells cloudbox.
set -eu

die() {
	echo "distro/mini.sh: $*" >&2
	exit 1
}

out=${1:?usage: distro/mini.sh OUTPUT.squashfs}
busybox=$(command -v busybox) || die "busybox is missing: run scripts/install-deps.sh test"
command -v mksquashfs >/dev/null || die "mksquashfs is missing: run scripts/install-deps.sh test"
# A dynamic one would need its libraries in the image; it names its loader.
! grep -aq '/ld-linux\|/ld-musl' "$busybox" || die "$busybox is not static: run scripts/install-deps.sh test"

: "${SOURCE_DATE_EPOCH:=$(date -u -d "$(date -u +%F)" +%s)}"
export SOURCE_DATE_EPOCH
umask 022
mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
root=$work/root

for dir in bin dev etc/init.d proc root run sbin sys tmp usr/bin usr/sbin usr/share/cloudbox var www; do
	mkdir -p "$root/$dir"
done
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
ln -s ../run "$root/var/run"
cp "$busybox" "$root/bin/busybox"
"$busybox" --list-full | while read -r applet; do
	mkdir -p "$root/$(dirname "$applet")"
	[ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
done
# What scripts expect at the other of the two places.
[ -e "$root/bin/sh" ] || ln -s busybox "$root/bin/sh"
[ -e "$root/sbin/init" ] || ln -s ../bin/busybox "$root/sbin/init"

file() {
	cat >"$root$1"
}

file /etc/passwd <<'EOF'
root:*:0:0:root:/root:/bin/sh
nobody:*:65534:65534:nobody:/:/bin/false
EOF
file /etc/group <<'EOF'
root:x:0:
nogroup:x:65534:
EOF
file /etc/hosts <<'EOF'
127.0.0.1	localhost
EOF
file /etc/os-release <<'EOF'
ID=cloudbox-mini
NAME="cloudbox mini"
PRETTY_NAME="cloudbox mini (busybox)"
EOF
file /etc/inittab <<'EOF'
::sysinit:/etc/init.d/rcS
::respawn:/etc/init.d/network
::shutdown:/etc/init.d/rcK
EOF
# cloudbox writes its own over this for a fixed address.
mkdir "$root/etc/network"
file /etc/network/interfaces <<'EOF'
auto eth0
iface eth0 inet dhcp
EOF
file /etc/init.d/rcS <<'EOF'
#!/bin/sh
# /run is on the disk here: what an earlier shutdown was told is no word for the next.
rm -f /run/reboot
[ ! -s /etc/hostname ] || hostname -F /etc/hostname
ip link set lo up
grep -q '^iface eth0 inet dhcp' /etc/network/interfaces || ifup -a
EOF
file /etc/init.d/network <<'EOF'
#!/bin/sh
# Stays in the foreground, so that init starts it again; busybox's own ifup would give up without a server.
grep -q '^iface eth0 inet dhcp' /etc/network/interfaces || exec sleep 2147483647
exec udhcpc -f -R -i eth0 -t 5 -T 1 -A 3 -s /etc/udhcpc.script -x "hostname:$(hostname)"
EOF
file /etc/udhcpc.script <<'EOF'
#!/bin/sh
case $1 in
deconfig)
	ip -4 addr flush dev "$interface"
	ip link set "$interface" up
	;;
bound | renew)
	ip -4 addr replace "$ip/$mask" broadcast + dev "$interface"
	for r in $router; do
		ip route replace default via "$r" dev "$interface"
		break
	done
	{
		[ -z "$domain" ] || echo "search $domain"
		for n in $dns; do echo "nameserver $n"; done
	} >/etc/resolv.conf.new
	mv /etc/resolv.conf.new /etc/resolv.conf
	;;
esac
EOF
# busybox init would wait two seconds between its signals. Ending process 1 ends the rest, at once.
file /etc/init.d/rcK <<'EOF'
#!/bin/sh
kill -TERM -1
usleep 100000
[ ! -e /run/reboot ] || exec busybox reboot -nf
exec busybox poweroff -nf
EOF
rm -f "$root/sbin/reboot"
file /sbin/reboot <<'EOF'
#!/bin/sh
: >/run/reboot
exec busybox reboot "$@"
EOF
file /www/index.html <<'EOF'
cloudbox mini
EOF
chmod 755 "$root"/etc/init.d/* "$root/etc/udhcpc.script" "$root/sbin/reboot"
file /usr/share/cloudbox/image.json <<EOF
{"name":"mini","version":"$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)","os":"busybox","release":"$("$busybox" | sed -n 's/^BusyBox v\([0-9.]*\).*/\1/p')","arch":"$(uname -m)","init":"busybox","services":[]}
EOF
# Times only: mksquashfs takes SOURCE_DATE_EPOCH for its own header, and clamps nothing.
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# Everything here belongs to root, whoever builds it.
mksquashfs "$root" "$work/image.sqfs" -comp zstd -all-root -quiet -no-progress -noappend >/dev/null
mv "$work/image.sqfs" "$out"
echo "$out: $(stat -c %s "$out") bytes, sha256 $(sha256sum "$out" | cut -d' ' -f1)"
