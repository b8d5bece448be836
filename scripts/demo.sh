#!/bin/sh
# Shows a container's life on this machine, with a bus, a daemon, a bridge and a storage of its own.
#
#   scripts/demo.sh            runs through it and checks every answer; leaves nothing behind
#   scripts/demo.sh --keep     stops before the first container, says what to type elsewhere; Ctrl-C ends it
#
# Needs root. DEMO_DIR names another place for the storage, which must be a real disk (not tmpfs, not overlay).
set -eu
cd "$(dirname "$0")/.."
top=$PWD

keep=
case ${1:-} in
'') ;;
--keep) keep=yes ;;
*) echo "usage: scripts/demo.sh [--keep]" >&2 && exit 2 ;;
esac

say() { printf '\n== %s\n' "$*"; }
fail() {
	printf '\ndemo: %s\n' "$*" >&2
	[ ! -s "${dir:-/nonexistent}/daemon.log" ] || {
		echo "--- the daemon's last words:" >&2
		tail -n 30 "$dir/daemon.log" >&2
	}
	exit 1
}
[ "$(id -u)" = 0 ] || fail "needs root: containers, mounts and a bridge are made"

# --- What is needed ---------------------------------------------------------------------------------------
scripts/install-deps.sh demo
scripts/image.sh distro
bin=${CARGO_TARGET_DIR:-$top/target}/release
cargo build --release --package cloudbox
if command -v ubusd >/dev/null; then
	bus=ubusd
else
	cargo build --release --package openwrt-ubus --features broker --bin ubus-broker
	bus=$bin/ubus-broker
fi
PATH=$bin:$PATH
export PATH

mkdir -p target
# shellcheck disable=SC2086
place=$(scripts/storage-place.sh ${DEMO_DIR:-target /var/tmp /srv}) || fail "set DEMO_DIR to a better one"

# --- What is undone at the end, whatever happens ----------------------------------------------------------
dir='' bridge='' bus_pid='' daemon_pid='' dhcp_pid='' avahi_pids='' neighbour=''
# The first namespace with a name makes this directory, and a mount of it: the machine may have had neither.
netns=/run/netns
[ -e $netns ] || netns_is_ours=yes
adverts() { find /etc/avahi -type f -exec sha256sum {} + 2>/dev/null | sort; }
adverts_before=$(adverts)

ended() {
	n=0
	while kill -0 "$1" 2>/dev/null; do
		# A child that is not waited for yet is still there for kill.
		case $(sed -n 's/^State:\t//p' "/proc/$1/status" 2>/dev/null) in Z* | '') return 0 ;; esac
		n=$((n + 1))
		[ $n -lt 100 ] || return 1
		sleep 0.1
	done
}
stop() {
	[ -n "$1" ] || return 0
	kill "$1" 2>/dev/null || return 0
	ended "$1" || kill -9 "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}
ours() { [ -z "$dir" ] || grep -F " $dir/" /proc/self/mounts | awk '{ print $2 }' | sort -r; }
# The daemon's cgroup has a name made from that of the storage (src/steps/layout.rs), here as there: FNV-1a.
groups() {
	[ -n "$dir" ] || return 0
	hash=$((0x811c9dc5))
	for byte in $(printf %s "$dir/storage" | od -An -v -tu1); do
		hash=$(((hash ^ byte) * 0x01000193 & 0xffffffff))
	done
	awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts | while read -r root; do
		group=$root/$(printf 'cloudbox-%08x' $hash)
		[ ! -d "$group" ] || echo "$group"
	done
}
# LXC's monitors carry their directory in the title.
monitors() { [ -z "$dir" ] || pgrep -f -- "^\[lxc monitor\] $dir/" || true; }

# Called by the trap.
# shellcheck disable=SC2317,SC2329
cleanup() {
	status=$?
	trap - EXIT
	trap '' HUP INT TERM
	set +e
	if [ -n "$daemon_pid" ]; then
		for c in $(cloudbox list --names 2>/dev/null); do
			cloudbox delete "$c" --force >/dev/null 2>&1
		done
	fi
	stop "$daemon_pid"
	for m in $(monitors); do
		for p in $(pgrep -P "$m"); do kill -9 "$p"; done
		ended "$m" || kill -9 "$m"
	done
	stop "$bus_pid"
	stop "$dhcp_pid"
	for p in $avahi_pids; do stop "$p"; done
	[ -z "$neighbour" ] || ip netns delete "$neighbour" 2>/dev/null
	# Others may have used it meanwhile.
	[ -z "${netns_is_ours:-}" ] || [ ! -d $netns ] || [ -n "$(ls -A $netns)" ] || { umount $netns && rmdir $netns; }
	for g in $(groups); do find "$g" -depth -type d -exec rmdir {} +; done
	for m in $(ours); do umount "$m" || umount -l "$m"; done
	[ -z "$bridge" ] || ip link delete "$bridge" 2>/dev/null
	left=$(ours)$(monitors)$(groups)
	if [ -n "$dir" ]; then
		rm -rf "$dir" "/run/lxc$dir" "/run/lxc/lock$dir"
		# LXC makes the directories above, too.
		rmdir -p --ignore-fail-on-non-empty "/run/lxc$place" "/run/lxc/lock$place" 2>/dev/null
	fi
	[ -z "$dir" ] || [ ! -e "$dir" ] || left="$left $dir"
	[ -z "$bridge" ] || [ ! -e "/sys/class/net/$bridge" ] || left="$left $bridge"
	[ "$(adverts)" = "$adverts_before" ] || left="$left /etc/avahi"
	if [ -n "$left" ]; then
		echo "demo: left behind: $left" >&2
		status=1
	else
		say "nothing is left: no process, no mount, no bridge, no namespace, no cgroup, no file"
	fi
	scripts/install-deps.sh --installed
	exit $status
}
trap cleanup EXIT
# It is how --keep ends.
if [ -n "$keep" ]; then trap 'exit 0' INT; else trap 'exit 130' INT; fi
trap 'exit 143' HUP TERM

# Waits for a command to succeed: within SECONDS command ...
within() {
	deadline=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $deadline ] || return 1
		sleep 0.05
	done
}

# What runs in the background has a session of its own: Ctrl-C is for this script, which ends them in order.

# --- A network of its own ---------------------------------------------------------------------------------
dir=$(mktemp -d "$place/demo.XXXXXX")
chmod 755 "$dir"
mkdir -p "$dir/storage" "$dir/run" "$dir/etc/config"
mkdir -p "$dir/avahi/services" "$dir/avahi-run" "$dir/neighbour" "$dir/neighbour-run"
n=0
while [ -e "/sys/class/net/cbdemo$n" ] || ip -4 route | grep -q "10\.213\.$((77 + n))\."; do
	n=$((n + 1))
	[ $n -lt 50 ] || fail "no free bridge name or network among 50"
done
net=10.213.$((77 + n))
bridge=cbdemo$n
say "a bridge of its own, $bridge ($net.1/24), with DHCP on it"
ip link add "$bridge" type bridge
ip address add "$net.1/24" dev "$bridge"
ip link set "$bridge" up
setsid dnsmasq --keep-in-foreground --conf-file=/dev/null --no-ping --no-hosts --no-resolv --port=0 --bind-interfaces \
	--interface="$bridge" --except-interface=lo --dhcp-range="$net.10,$net.250,255.255.255.0,1h" \
	--dhcp-authoritative --dhcp-option=option:dns-server,"$net.1" \
	--dhcp-leasefile="$dir/leases" --pid-file= --log-facility="$dir/dnsmasq.log" &
dhcp_pid=$!

# --- Two avahi-daemons: the box's, and that of a neighbour on the same network ----------------------------
# avahi_at ETC RUN [command ...]: an avahi-daemon that sees these directories as its own.
avahi_at() {
	etc=$1 state=$2
	shift 2
	cat >"$etc/avahi-daemon.conf" <<EOF
[server]
host-name=$called
allow-interfaces=$interface
enable-dbus=$dbus
[wide-area]
enable-wide-area=no
EOF
	# The mounts go with the process.
	# shellcheck disable=SC2016
	setsid "$@" unshare --mount --propagation private sh -ec 'mount --bind "$1" /etc/avahi
		mount -t tmpfs none /run
		mkdir /run/avahi-daemon
		mount --bind "$2" /run/avahi-daemon
		exec avahi-daemon --no-rlimits' sh "$etc" "$state" >"$state.log" 2>&1 &
	avahi_pids="$avahi_pids $!"
}
say "a neighbour on the same network, with an avahi-daemon of its own"
interface=$bridge dbus=no called=demo
avahi_at "$dir/avahi" "$dir/avahi-run"
neighbour=$bridge-neighbour
ip netns add "$neighbour"
ip link add "${bridge}n" type veth peer name eth0 netns "$neighbour"
ip link set "${bridge}n" master "$bridge" up
ip -n "$neighbour" address add "$net.2/24" dev eth0
ip -n "$neighbour" link set eth0 up
ip -n "$neighbour" link set lo up
DBUS_SYSTEM_BUS_ADDRESS=unix:path=$dir/dbus.sock
export DBUS_SYSTEM_BUS_ADDRESS
cat >"$dir/dbus.conf" <<EOF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>$DBUS_SYSTEM_BUS_ADDRESS</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/></policy></busconfig>
EOF
setsid dbus-daemon --config-file="$dir/dbus.conf" --nofork --nosyslog >"$dir/dbus.log" 2>&1 &
avahi_pids="$avahi_pids $!"
interface=eth0 dbus=yes called=neighbour
within 10 test -S "$dir/dbus.sock" || fail "no D-Bus: $(cat "$dir/dbus.log")"
avahi_at "$dir/neighbour" "$dir/neighbour-run" ip netns exec "$neighbour"

# --- The configuration, the bus and the daemon ------------------------------------------------------------
cat >"$dir/etc/config/cloudbox" <<EOF
config cloudbox 'main'
	option enabled '1'
	option image 'distro'
	option bridge '$bridge'
	option memory '256M'
	option cpus '1'
	option disk '1G'
	option memory_reserve '64M'
	option disk_reserve '256M'
EOF
cat >"$dir/etc/config/cloudbox-host" <<EOF
config host 'host'
	option storage '$dir/storage'
EOF
say "the configuration"
cat "$dir/etc/config/cloudbox"

UBUS_SOCKET=$dir/ubus.sock
CLOUDBOX_CONFIG_DIR=$dir/etc/config
CLOUDBOX_STORAGE=$dir/storage
CLOUDBOX_RUN_DIR=$dir/run
CLOUDBOX_AVAHI=$dir/avahi
CLOUDBOX_AVAHI_RUN=$dir/avahi-run
# The machine's own name server, leases and scripts are none of the demo's business.
CLOUDBOX_HOSTS=$dir/hosts
CLOUDBOX_DNSMASQ_RUN=$dir/dnsmasq-run
CLOUDBOX_LEASES=$dir/leases
CLOUDBOX_HOTPLUG=$dir/hotplug
export UBUS_SOCKET CLOUDBOX_CONFIG_DIR CLOUDBOX_STORAGE CLOUDBOX_RUN_DIR CLOUDBOX_AVAHI CLOUDBOX_AVAHI_RUN
export CLOUDBOX_HOSTS CLOUDBOX_DNSMASQ_RUN CLOUDBOX_LEASES CLOUDBOX_HOTPLUG

setsid "$bus" -s "$UBUS_SOCKET" >"$dir/bus.log" 2>&1 &
bus_pid=$!
within 10 test -S "$UBUS_SOCKET" || fail "the bus does not answer: $(cat "$dir/bus.log")"
setsid cloudbox daemon >"$dir/daemon.log" 2>&1 &
daemon_pid=$!
within 20 cloudbox status || fail "the daemon does not answer"

# --- Typing -----------------------------------------------------------------------------------------------
out=$dir/output
shown=0
type_in() {
	printf '\n$ %s\n' "$1"
	if ! eval "$1" >"$out" 2>&1; then
		cat "$out"
		fail "that command failed"
	fi
	cat "$out"
	shown=$((shown + 1))
}
expect() { grep -Eq -- "$1" "$out" || fail "expected $2"; }
refuse() { ! grep -Eq -- "$1" "$out" || fail "did not expect $2"; }
# A long method answers with the number of its job.
finish() {
	job=$(sed -n 's/.*"job": *"\{0,1\}\([0-9]*\).*/\1/p' "$out" | head -n 1)
	[ -z "$job" ] || type_in "cloudbox job wait $job"
}

type_in "cloudbox status"
type_in "cloudbox image import target/image/distro.squashfs distro"
finish
type_in "cloudbox image list"
expect distro "the image in the list"

if [ -n "$keep" ]; then
	say "a bus and a daemon are running; type this in another terminal"
	cat <<EOF

export PATH=$bin:\$PATH
export UBUS_SOCKET=$UBUS_SOCKET
export CLOUDBOX_CONFIG_DIR=$CLOUDBOX_CONFIG_DIR CLOUDBOX_STORAGE=$CLOUDBOX_STORAGE CLOUDBOX_RUN_DIR=$CLOUDBOX_RUN_DIR
# For the neighbour's eyes: ip netns exec $neighbour avahi-browse -art
export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SYSTEM_BUS_ADDRESS

cloudbox create web
cloudbox list
cloudbox exec web -- ip address

The daemon writes to $dir/daemon.log. Ctrl-C here stops all of it and removes it.
EOF
	wait "$daemon_pid" || fail "the daemon ended"
	exit 0
fi

call="cloudbox call"
! command -v ubus >/dev/null || call="ubus -s $UBUS_SOCKET call"

type_in "$call cloudbox.container create '{\"name\":\"web\"}'"
finish
type_in "cloudbox list"
expect '^web' "web in the list"
# The container runs as soon as its init does; a moment later systemd can be asked.
type_in "cloudbox exec web -- sh -c 'until systemctl is-system-running --wait 2>/dev/null; do sleep 0.1; done'"
expect 'running$' "a system that runs without one failed unit"
type_in "cloudbox exec web -- cat /etc/os-release"
expect '^ID=debian' "Debian"
# Called by within.
# shellcheck disable=SC2317,SC2329
has_lease() { cloudbox exec web -- ip -4 -brief address show eth0 | grep -q "$net\."; }
within 10 has_lease || fail "web got no address from DHCP in 10 s"
type_in "cloudbox exec web -- ip -brief address"
expect "$net\\." "an address of this bridge"
address=$(sed -n "s/.*[[:space:]]\($net\.[0-9]*\).*/\1/p" "$out" | head -n 1)
type_in "ping -c 1 -W 2 $address"
type_in "cloudbox info web"
expect 'web' "web's particulars"

# Any program that listens will do.
listen='socket(S, 2, 1, 6); bind(S, pack(q(Snx12), 2, 8000)); listen(S, 9); accept(C, S) while 1'
type_in "cloudbox exec web -- setsid -f sh -c 'exec perl -e \"$listen\" >/dev/null 2>&1'"
type_in "cloudbox service publish web _http._tcp 8000 --name 'Our wiki' --txt path=/"
# Called by within.
# shellcheck disable=SC2317,SC2329
announced() { cloudbox service list | grep -q 'published  *Our wiki'; }
within 20 announced || fail "the service is not announced: $(cloudbox service list)"
type_in "cloudbox service list"
# shellcheck disable=SC2317,SC2329
seen() { ip netns exec "$neighbour" avahi-browse -rpt _http._tcp | grep -q '^=.*Our.*wiki'; }
within 10 seen || fail "the neighbour does not see the service"
say "what the neighbour sees, from its own network namespace"
type_in "ip netns exec $neighbour avahi-browse -rpt _http._tcp"
expect "^=.*Our.*wiki.*;$address;8000;" "the service at the container's address"
type_in "cloudbox browse"
expect '_http._tcp +Our wiki .*8000' "the service"
type_in "cloudbox delete web --force"
# shellcheck disable=SC2317,SC2329
unseen() { ! ip netns exec "$neighbour" avahi-browse -rpt _http._tcp | grep -q 'Our.*wiki'; }
within 10 unseen || fail "the neighbour still sees the service"
type_in "cloudbox list"
refuse '^web' "web in the list"
! grep -q "^config container" "$CLOUDBOX_CONFIG_DIR/cloudbox" || fail "the configuration still has a container"

say "shown: $shown commands; an image was imported, a container was made from it, got its address, ran Debian,
   answered a ping, was found by a neighbour through avahi, and was deleted with its data and its section of the configuration"
