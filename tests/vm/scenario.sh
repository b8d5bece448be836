#!/bin/sh
# What happens on the virtual box in one run of it: scenario.sh STEP...
#
# Steps: install, limit, hostile, measure, came_back, check, create:MS, delete:MS, end. Lines with "VM:" are for scripts/vm.sh.
storage=/srv/cloudbox

say() { echo "VM: $*"; }
fail() {
	say "FAILED: $*"
	echo "--- the log:"
	tail -n 40 /var/log/messages
	echo "--- doctor:"
	cloudbox doctor
	cloudbox list
	cloudbox job list
	say "off"
	sync
	reboot -f
}

# within SECONDS COMMAND...: waits until it succeeds
within() {
	end=$(($(now) + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now)" -lt $end ] || return 1
		sleep 0.05
	done
}
# Milliseconds since the start.
now() {
	read -r up _ </proc/uptime
	echo "$((${up%.*} * 1000 + 10 * (1${up#*.} - 100)))"
}
reachable() { cloudbox status; }
state_of() { cloudbox list | awk -v name="$1" '$1 == name { print $2 }'; }
runs() { [ "$(state_of "$1")" = running ]; }
# No job is at work.
quiet() { ! cloudbox job list | grep -Eq 'running|pending'; }
# Runs a program in a container, with the patience that an emulated machine needs.
inside() {
	container=$1
	shift
	cloudbox exec --timeout 60 "$container" -- "$@"
}
# It wanted more processes than it may have, or more memory.
was_limited() {
	grep -q '^max [1-9]' "$(group "$1")/pids.events" || grep -q '^oom_kill [1-9]' "$(group "$1")/memory.events"
}
group() { echo "/sys/fs/cgroup/cloudbox/$1"; }

install() {
	opkg install /vm/cloudbox.ipk || fail "the package cannot be installed"
	within 30 reachable || fail "the service does not answer"
	uci set cloudbox.main.memory=64M
	uci set cloudbox.main.disk=64M
	uci set cloudbox.main.memory_reserve=64M
	uci set cloudbox.main.disk_reserve=64M
	uci set cloudbox.main.image=mini
	uci commit cloudbox
	/etc/init.d/cloudbox reload
	cloudbox image import /vm/mini.squashfs mini || fail "the image cannot be imported"
	cloudbox doctor | grep -q 'cgroup v2 limits memory, cpu and pids' || fail "this is no pure cgroup v2"
	say "installed"
}

limit() {
	cloudbox create web --memory 48M --address 10.77.0.10/24 || fail "web cannot be created"
	within 10 runs web || fail "web does not run"
	memory=$(group web)
	[ "$(cat "$memory/memory.max")" = $((48 << 20)) ] || fail "memory.max is $(cat "$memory/memory.max")"
	grep -q '^0::/cloudbox/web' "/proc/$(cloudbox info web --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')/cgroup" ||
		fail "web's init is in another group"
	# More than it may have: the kernel ends the one that takes it, and web goes on.
	inside web sh -c 'dd if=/dev/zero of=/dev/null bs=96M count=1' && fail "96M of 48M were given"
	grep -q '^oom_kill [1-9]' "$memory/memory.events" || fail "nobody was ended: $(cat "$memory/memory.events")"
	[ ! -e "$memory/memory.peak" ] || [ "$(cat "$memory/memory.peak")" -le $((48 << 20)) ] ||
		fail "it had $(cat "$memory/memory.peak") bytes"
	inside web true || fail "web did not survive"
	ping -c 1 -W 5 10.77.0.10 >/dev/null || fail "web is not reached at its address"
	inside web sh -c 'echo kept > /root/file; sync' || fail "web's disk cannot be written"
	# The daemon's group is procd's, and no container's process is in it.
	while read -r pid; do
		case $(tr '\0' ' ' <"/proc/$pid/cmdline") in
		*"cloudbox daemon"*) ;;
		*) fail "process $pid is in the service's group: $(tr '\0' ' ' <"/proc/$pid/cmdline")" ;;
		esac
	done </sys/fs/cgroup/services/cloudbox/instance1/cgroup.procs
	say "the limit is enforced"
}

# What tests/attack tries where a pure cgroup v2 may answer otherwise: a guest's root that does all it can. Its program is
# tests/attack/guest/evil.c.
hostile() {
	cloudbox create evil --memory 48M --address 10.77.0.11/24 || fail "evil cannot be created"
	cloudbox create victim --memory 32M --address 10.77.0.12/24 || fail "victim cannot be created"
	cloudbox push /vm/evil evil:/bin/evil || fail "its program cannot be put into evil"

	# As docs/security.md says: ENOSYS (38) where programs go on in another way, EPERM (1) elsewhere.
	said=$(inside evil evil calls | sed "s, *$,,")
	[ "$said" = "38 38 38 38 1 1 38 38 1 1 1 1 1 1 1 1 1" ] || fail "the kernel answered a guest's calls with: $said"
	said=$(inside evil evil keys 50)
	[ "$said" = 0 ] || fail "it got $said keys"
	say "the kernel's calls are shut"

	# More groups than it may make, and one of them frozen with somebody in it.
	said=$(inside evil sh -c 'mkdir -p /mnt && mount -t cgroup2 none /mnt && evil groups /mnt 3000')
	case $said in [1-9] | [1-9][0-9] | [1-9][0-9][0-9] | 1000) ;; *) fail "it made $said control groups of 1000 at most" ;; esac
	inside evil sh -c '(sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/mnt/g1/cgroup.procs && echo 1 >/mnt/g1/cgroup.freeze)' ||
		fail "it cannot freeze a group of its own"
	say "its groups are counted: $said"

	# In the name of others.
	inside victim ping -c 1 -W 5 10.77.0.1 >/dev/null || fail "the box is not reached from victim"
	inside evil evil arp 10.77.0.1 >/dev/null
	inside evil evil router >/dev/null
	inside evil evil hardware 2000 >/dev/null
	inside victim ping -c 2 -W 5 10.77.0.1 >/dev/null || fail "the box is not reached from victim any more"
	mac=$(cat /sys/class/net/br-lan/address)
	said=$(inside victim ip neigh show 10.77.0.1)
	case $said in
	*"$mac"*) ;;
	*) fail "victim takes somebody else for the box: $said" ;;
	esac
	! inside victim ip -6 route | grep -q fd99 || fail "victim has a route by evil"
	! ip -6 address | grep -q fd99 || fail "the box has an address of evil's"
	learned=$(bridge fdb show br br-lan | grep -c ' master ')
	[ "$learned" -lt 50 ] || fail "the bridge has learned $learned hardware addresses"
	say "nobody believes it to be somebody else"

	# Processes without end, as many as its memory or the limit of them allows: the others go on, and it can be removed.
	inside evil sh -c '(evil forks 0 30 </dev/null >/dev/null 2>&1 &)'
	within 30 was_limited evil || fail "nobody stopped it: $(cat "$(group evil)/pids.current") processes"
	runs web || fail "web is not shown as running: $(cloudbox list)"
	inside victim true || fail "victim does not answer beside it"
	groups=$(group evil)
	cloudbox delete --force evil || fail "evil cannot be deleted"
	[ ! -d "$groups" ] || fail "evil's group is left: $(ls "$groups")"
	cloudbox delete --force victim || fail "victim cannot be deleted"
	say "it leaves nothing behind"
}

# How long a create and a delete take here: the plug is pulled in between.
measure() {
	begun=$(now)
	cloudbox create sample >/dev/null || fail "sample cannot be created"
	created=$(now)
	cloudbox delete --force sample >/dev/null || fail "sample cannot be deleted"
	say "create $((created - begun))"
	say "delete $(($(now) - created))"
}

came_back() {
	within 30 reachable || fail "the service does not answer"
	within 30 runs web || fail "web did not come back: $(state_of web)"
	file=$(inside web cat /root/file) || fail "web's file cannot be read"
	[ "$file" = kept ] || fail "web's file says '$file'"
	[ "$(cat "$(group web)/memory.max")" = $((48 << 20)) ] || fail "web lost its limit"
	say "web came back"
}

# Whatever was under way is whole or gone.
check() {
	came_back
	within 60 quiet || fail "jobs do not end"
	if ls -d "$storage"/containers/.[!.]* >/dev/null 2>&1; then
		fail "hidden leftovers: $(ls -A "$storage/containers")"
	fi
	for name in $(cloudbox list --names); do
		[ "$name" != web ] || continue
		within 30 runs "$name" || fail "$name is half done: $(cloudbox list)"
		inside "$name" true || fail "$name does not answer"
		say "$name is whole"
		cloudbox delete --force "$name" || fail "$name cannot be deleted"
	done
	left=$(cd "$storage/containers" && ls -A)
	[ "$left" = web ] || fail "left in the storage: $left"
	left=$(sed -n 's/^config container //p' /etc/config/cloudbox)
	[ "$left" = "'web'" ] || fail "left in the configuration: $left"
	# One of the image, one of web's disk.
	left=$(cat /sys/block/loop*/loop/backing_file 2>/dev/null | wc -l)
	[ "$left" = 2 ] || fail "$left loop devices"
	left=$(grep -c "$storage/containers/" /proc/self/mounts)
	[ "$left" = 2 ] || fail "mounts: $(grep "$storage" /proc/self/mounts)"
	say "nothing is half done"
}

# The plug is pulled so many milliseconds after a create, or a delete, has begun.
create() {
	cloudbox create --no-wait "victim" >/dev/null || fail "victim cannot be created"
	pull "$1"
}
delete() {
	cloudbox create victim >/dev/null || fail "victim cannot be created"
	cloudbox delete --force --no-wait victim >/dev/null || fail "victim cannot be deleted"
	pull "$1"
}
pull() {
	usleep "$(($1 * 1000))"
	say "pull the plug"
	sleep 60
	fail "the plug was not pulled"
}

end() {
	cloudbox delete --force web || fail "web cannot be deleted"
	[ -z "$(cd "$storage/containers" && ls -A)" ] || fail "the storage is not empty"
	[ ! -d "$(group web)" ] || fail "web's group is left"
	! grep -q "$storage" /proc/self/mounts || fail "mounts are left: $(grep "$storage" /proc/self/mounts)"
	say "the end"
}

[ "$1" = install ] || within 30 reachable || fail "the service does not answer"
for step; do
	case $step in
	*:*) "${step%%:*}" "${step#*:}" ;;
	*) "$step" ;;
	esac
done
