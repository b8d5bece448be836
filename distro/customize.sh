#!/bin/sh
# Run by mmdebstrap on the unpacked image, as distro/build.sh asks: customize.sh ROOT NAME ARCH EPOCH
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
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt \
	"$root"/var/log/journal "$root"/var/cache/ldconfig/aux-cache "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old

# --- No way in but cloudbox's -----------------------------------------------------------------------------
chroot "$root" passwd --quiet --lock root

# --- Units that cannot work in an unprivileged container, or have nothing to do there ---------------------
# The mounts are refused by the kernel and would leave the system "degraded". A console nobody may log in at
# needs no getty. Modules, swap and discards are the box's business.
for unit in sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
	systemd-modules-load.service systemd-remount-fs.service systemd-update-utmp.service \
	console-getty.service container-getty@.service getty@.service serial-getty@.service \
	apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
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

# --- What this image is -----------------------------------------------------------------------------------
# shellcheck source=/dev/null
release=$(. "$root/etc/os-release" && echo "$VERSION_ID")
file /usr/share/cloudbox/image.json <<EOF
{"name":"$name","version":"$(date -u -d "@$epoch" +%Y%m%d)","os":"debian","release":"$release","arch":"$arch","init":"systemd","services":[]}
EOF
