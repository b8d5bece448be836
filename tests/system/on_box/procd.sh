# Stands in for procd: runs a service's command, notes everything else it was told in /run/procd/NAME.*.
# shellcheck shell=dash disable=SC2154

procd_open_service() {
	mkdir -p /run/procd
	service=$1
	: >"/run/procd/$service.new"
	: >"/run/procd/$service.told"
}

procd_open_instance() { :; }
procd_close_instance() { :; }

procd_set_param() {
	echo "$*" >>"/run/procd/$service.told"
	parameter=$1
	shift
	case $parameter in
	command) printf '%s\n' "$@" >"/run/procd/$service.new" ;;
	file) cksum "$@" >"/run/procd/$service.new-files" ;;
	esac
}

procd_add_reload_trigger() { echo "reload on $*" >>"/run/procd/$service.told"; }
procd_add_action_mount_trigger() { echo "$1 on mount of $2" >>"/run/procd/$service.told"; }

# As procd does: an instance that runs with the same description is left alone.
procd_close_service() {
	[ -s "/run/procd/$service.new" ] || return 0
	if procd_running "$service" && cmp -s "/run/procd/$service.new" "/run/procd/$service.command" &&
		cmp -s "/run/procd/$service.new-files" "/run/procd/$service.files"; then
		return 0
	fi
	procd_kill "$service"
	mv "/run/procd/$service.new" "/run/procd/$service.command"
	mv "/run/procd/$service.new-files" "/run/procd/$service.files"
	# One word per line is what is meant.
	# shellcheck disable=SC2046
	IFS='
' && set -- $(cat "/run/procd/$service.command") && unset IFS
	procd_run "$@" </dev/null >>"/run/procd/$service.output" 2>&1 &
	echo $! >"/run/procd/$service.pid"
}

# Where cgroup v2 is all there is, procd gives each instance a group of its own.
procd_run() {
	group=/sys/fs/cgroup/services/$service/instance1
	if [ -e /sys/fs/cgroup/cgroup.subtree_control ]; then
		mkdir -p "$group"
		sh -c "echo \$PPID >$group/cgroup.procs"
	fi
	exec setsid "$@"
}

procd_running() {
	[ -s "/run/procd/$1.pid" ] && kill -0 "$(cat "/run/procd/$1.pid")" 2>/dev/null
}

procd_send_signal() { kill -HUP "$(cat "/run/procd/$1.pid")"; }

# SIGTERM, and SIGKILL 5 s later.
procd_kill() {
	[ -s "/run/procd/$1.pid" ] || return 0
	pid=$(cat "/run/procd/$1.pid")
	kill "$pid" 2>/dev/null
	tries=250
	while kill -0 "$pid" 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || kill -KILL "$pid"
		sleep 0.02
	done
	rm -f "/run/procd/$1.pid"
}
