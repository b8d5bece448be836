#!/bin/sh
# Run by mmdebstrap on the unpacked image, as distro/build.sh asks: customize.sh ROOT NAME MACHINE EPOCH
set -eu
root=$1 name=$2 arch=$3 epoch=$4

file() {
	mkdir -p "$(dirname "$root$1")"
	cat >"$root$1"
}

# --- Nothing of the build machine -------------------------------------------------------------------------
# cloudbox gives each container its own name; systemd makes the machine id at the first boot.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/.resolv.conf.systemd-resolved.bak" \
	"$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
file /etc/hosts <<'EOF'
127.0.0.1	localhost
::1		localhost ip6-localhost ip6-loopback
EOF
# mmdebstrap leaves the build machine's proxy and mirror options here; the dpkg excludes stay, for upgrades.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
file /etc/apt/apt.conf.d/80cloudbox <<'EOF'
APT::Install-Recommends "false";
Acquire::Languages "none";
EOF
file /etc/apt/apt.conf.d/20auto-upgrades <<'EOF'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
APT::Periodic::AutocleanInterval "7";
EOF
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt \
	"$root"/var/log/journal "$root"/var/cache/ldconfig/aux-cache "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old \
	"$root"/var/cache/fontconfig/* "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow-

# --- No way in but cloudbox's -----------------------------------------------------------------------------
chroot "$root" passwd --quiet --lock root
# sshd is started by its socket when somebody comes, and makes its key then: no two containers have the same.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/ssh/moduli"
chroot "$root" systemctl --quiet disable ssh.service
chroot "$root" systemctl --quiet enable ssh.socket

# --- Services, each off until its file in /etc/cloudbox-distro says otherwise --------------------------------
for user in tahoe graphs; do
	chroot "$root" useradd --system --no-create-home --home-dir "/var/lib/$user" --shell /usr/sbin/nologin $user
done
for unit in squid.service lighttpd.service mrtg.service mrtg.timer unattended-upgrades.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -f "$root/etc/cron.d/mrtg" "$root/etc/mrtg.cfg"
chroot "$root" systemctl --quiet enable tahoe-introducer.service tahoe-storage.service proxy.service graphs.service

# --- Python: a venv for Tahoe-LAFS, and everything compiled once, the same way each time ---------------------
venv=$root/opt/tahoe
site=$(echo "$venv"/lib/python3.*/site-packages)
python=$(basename "$(dirname "$site")")
mkdir -p "$venv/bin"
ln -sf "/usr/bin/$python" "$venv/bin/python3"
cat >"$venv/pyvenv.cfg" <<EOF
home = /usr/bin
include-system-site-packages = false
version = ${python#python}
EOF
cat >"$venv/bin/tahoe" <<'EOF'
#!/opt/tahoe/bin/python3
import sys
from allmydata.scripts.runner import run
sys.exit(run())
EOF
chmod 755 "$venv/bin/tahoe"
ln -s ../../opt/tahoe/bin/tahoe "$root/usr/bin/tahoe"
# pip's own scripts name the building machine's Python.
rm -rf "${site:?}/bin" "${site:?}/share"
for module in netifaces pycddl zfec; do
	for found in "$root"/usr/lib/python3/dist-packages/"$module"*; do
		ln -s "/usr/lib/python3/dist-packages/$(basename "$found")" "$site/"
	done
done
find "$site" "$root/usr/lib/python3/dist-packages" -depth -type d \( -name test -o -name tests \) -exec rm -rf {} +
find "$root/usr/lib" "$venv" -depth -type d -name __pycache__ -exec rm -rf {} +
# Not by the files' times, which a copy may change: Debian's own scripts compile anew what an upgrade changes.
PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=$epoch chroot "$root" "$python" -m compileall -q -j 1 \
	--invalidation-mode unchecked-hash "/usr/lib/$python" /usr/lib/python3/dist-packages "/opt/tahoe/lib/$python"

# --- Units that cannot work in an unprivileged container, or have nothing to do there ---------------------
# The mounts are refused by the kernel and would leave the system "degraded". A console nobody may log in at
# needs no getty. Modules, swap and discards are the box's business; there is no kernel command line to make network
# files from, and no journal to flush. /tmp stays on the disk: memory is what a box has least of.
for unit in sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
	modprobe@.service systemd-network-generator.service systemd-journal-flush.service tmp.mount lighttpd-maint.timer \
	systemd-modules-load.service systemd-remount-fs.service systemd-update-utmp.service \
	console-getty.service container-getty@.service getty@.service serial-getty@.service \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
file /etc/systemd/system.conf.d/cloudbox.conf <<'EOF'
[Manager]
DefaultTimeoutStopSec=20s
EOF
# Flash wears out, and a log must not fill a container's disk.
file /etc/systemd/journald.conf.d/cloudbox.conf <<'EOF'
[Journal]
Storage=volatile
RuntimeMaxUse=4M
EOF

# --- Network: networkd alone ------------------------------------------------------------------------------
# For a fixed address cloudbox puts 10-cloudbox.network in front of this.
file /etc/systemd/network/80-eth0.network <<'EOF'
[Match]
Name=eth0

[Network]
DHCP=ipv4
IPv6AcceptRA=yes

[DHCPv4]
UseDomains=yes
# The box gave it a name; asking for another only starts hostnamed.
UseHostname=no
EOF
# Where /sys is writable networkd waits for udev to announce each link, and a container has no udev.
file /etc/systemd/system/systemd-networkd.service.d/cloudbox.conf <<'EOF'
[Service]
ReadOnlyPaths=/sys
EOF
# One address is enough to be online; a router that sends no IPv6 advertisements must not cost half a minute.
file /etc/systemd/system/systemd-networkd-wait-online.service.d/cloudbox.conf <<'EOF'
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=30
EOF
# Names on the link are avahi's. resolved only turns the lease into resolv.conf: programs ask the server itself,
# and port 53 is left to the container.
file /etc/systemd/resolved.conf.d/cloudbox.conf <<'EOF'
[Resolve]
DNSStubListener=no
MulticastDNS=no
LLMNR=no
EOF
ln -s ../run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"
chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service

# --- avahi ------------------------------------------------------------------------------------------------
# The limit counts every process of that user id, over all containers that share an id range.
sed -i 's/^rlimit-nproc=/#&/' "$root/etc/avahi/avahi-daemon.conf"

# --- As updated as it can be: else the first boot would make ldconfig's cache and the like anew -------------------
touch -d "@$epoch" "$root/etc/.updated" "$root/var/.updated"

# --- What this image is -----------------------------------------------------------------------------------
# shellcheck source=/dev/null
release=$(. "$root/etc/os-release" && echo "$VERSION_ID")
# Of each package its source, where the version of that differs or it is called otherwise.
packages() {
	# The fields are dpkg's.
	# shellcheck disable=SC2016
	chroot "$root" dpkg-query -W -f '${Package} ${Version} ${source:Package} ${source:Version}\n' | LC_ALL=C sort |
		awk '{
			printf "%s\n  {\"name\":\"%s\",\"version\":\"%s\"", (NR > 1 ? "," : ""), $1, $2
			if ($3 != $1 || $4 != $2) printf ",\"source\":\"%s %s\"", $3, $4
			printf "}"
		}'
	sed -n 's/^\([A-Za-z][^ =]*\)==\([^ ]*\).*/\1 \2/p' "$(dirname "$0")/tahoe.txt" |
		awk '{ printf ",\n  {\"name\":\"%s\",\"version\":\"%s\",\"source\":\"PyPI\"}", $1, $2 }'
}
packages=$(packages)
# Optional ones are off until a container is made with them; then the guest announces them. Memory and disk: the least
# that a container of it starts in, with no service.
file /usr/share/cloudbox/image.json <<EOF
{"name":"$name","version":"$(date -u -d "@$epoch" +%Y%m%d)","os":"debian","release":"$release","arch":"$arch","init":"systemd",
 "memory":"64M","disk":"32M",
 "services":[
  {"name":"tahoe-introducer","type":"_tahoe-lafs._tcp","port":8097,"optional":true},
  {"name":"tahoe-storage","type":"_tahoe-storage._tcp","port":8098,"optional":true},
  {"name":"proxy","type":"_proxy3._tcp","port":3128,"optional":true},
  {"name":"graphs","type":"_snpservice._tcp","port":80,"optional":true}],
 "packages":[$packages]}
EOF
[ "$(wc -c <"$root/usr/share/cloudbox/image.json")" -lt 65536 ] || {
	echo "customize.sh: image.json is longer than cloudbox reads" >&2
	exit 1
}
