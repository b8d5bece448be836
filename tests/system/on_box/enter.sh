#!/bin/sh
# Makes this process the first one of a box, in a mount namespace of its own:
#
#   unshare --mount enter.sh DIRECTORY STAND_INS
#
# The box's root is the machine's with a layer of DIRECTORY above it; its shell is busybox's; what a Debian machine lacks of
# OpenWrt's is stood in for. DIRECTORY has the same name inside, its etc is the box's /etc/config, its run is /run.
set -eu
dir=$1
stand_ins=$2

mount --make-rprivate /
root=$dir/root
mkdir -p "$dir/upper" "$dir/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root"
for special in proc sys dev; do
	mount --rbind "/$special" "$root/$special"
done
mount --bind "$dir/run" "$root/run"
mkdir -p "$root$dir" "$root/etc/config" "$root/etc/rc.d" "$root/lib/functions" "$root/usr/lib/opkg/info"
mount --bind "$dir" "$root$dir"
mount --bind "$dir/etc" "$root/etc/config"
# The box's own log, whatever the machine has. A link of systemd's leads to what is not in the box's /run.
if [ -S /dev/log ] && [ ! -L /dev/log ]; then
	mount --bind "$dir/run/log" "$root/dev/log"
fi
ln -sf "$(command -v busybox)" "$root/bin/sh"
cp "$stand_ins/functions.sh" "$root/lib/functions.sh"
cp "$stand_ins/procd.sh" "$root/lib/functions/procd.sh"
cp "$stand_ins/rc.common" "$root/etc/rc.common"
cp "$stand_ins/uci" "$stand_ins/opkg" "$root/usr/bin/"
chmod 755 "$root/etc/rc.common" "$root/usr/bin/uci" "$root/usr/bin/opkg"
ln -s "$dir/bus" "$root/run/ubus/ubus.sock"

cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
echo entered
exec sleep 2147483647
