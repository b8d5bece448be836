#!/bin/sh
# Tries static binaries of other processors under qemu-user: each is the daemon for this machine's command, and the command
# for this machine's daemon. What is said must be the same, and what is written to the configuration too.
#
#   scripts/static-check.sh TARGET...      what scripts/static.sh has built
set -eu
cd "$(dirname "$0")/.."

die() {
	echo "static-check.sh: $*" >&2
	exit 1
}

native=$PWD/target/static/$(uname -m)-unknown-linux-musl/cloudbox
[ -x "$native" ] || scripts/static.sh
cargo build --quiet --release --package openwrt-ubus --features broker --bin ubus-broker
broker=${CARGO_TARGET_DIR:-target}/release/ubus-broker

work=$(mktemp -d)
pids=
# Called by the trap.
# shellcheck disable=SC2317,SC2329
clean() {
	# Numbers, and each of a child.
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

# within SECONDS COMMAND...
within() {
	end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# A box with a container that cannot be made, since there is no image: every answer is known beforehand.
make_box() {
	rm -rf "$work/box"
	mkdir -p "$work/box/etc" "$work/box/storage" "$work/box/avahi/services"
	head -c 98304 /dev/zero >"$work/box/file"
	tar --mtime=@0 --owner=0 --group=0 --mode=644 -cf "$work/box/image" -C "$work/box" file
	echo 00112233445566778899aabbccddeeff >"$work/box/storage/box-id"
	printf "config host 'host'\n\toption storage '%s'\n" "$work/box/storage" >"$work/box/etc/cloudbox-host"
	cat >"$work/box/etc/cloudbox" <<-END
		config cloudbox 'main'

		# Kept.
		config container 'web'
			option memory '300M'
			option disk '5G'
			option description 'Näher "bei" dir'

		config service 'wiki'
			option container 'web'
			option name 'Veïns'
			option type '_http._tcp'
			option port '8080'
			list txt 'path=/wiki'
	END
}

# What differs from run to run, or tells the processor.
constant() {
	sed -E -e 's/("(started|finished)": )[0-9]+/\1TIME/' -e 's/(arch|memory)=[A-Za-z0-9_]+/\1=/'
}

# conversation TO DAEMON: talks to a daemon with the command in $command, and puts down all that comes back.
conversation() {
	to=$1 daemon=$2
	make_box
	"$broker" -s "$work/bus" &
	pids=$!
	within 10 test -S "$work/bus" || die "the broker does not come up"
	# A program and its emulator: two words.
	# shellcheck disable=SC2086
	$daemon daemon -f -s "$work/bus" --config-dir "$work/box/etc" --run-dir "$work/box/run" --avahi "$work/box/avahi" \
		>"$to.log" 2>&1 &
	pids="$pids $!"
	within 30 "$native" -s "$work/bus" status || {
		cat "$to.log" >&2
		die "$daemon does not answer"
	}
	{
		for words in "list" "info web" "service list" "image list" "set web --memory 4100M --description Néixer" "list" \
			"create second" "create -" "image import $work/box/image i --sha256 $(printf '%064d' 1)" "job list"; do
			echo "--- $words"
			# Words on purpose.
			# shellcheck disable=SC2086
			$command -s "$work/bus" --json $words 2>&1 || echo "status $?"
		done
		cat "$work/box/etc/cloudbox"
	} | constant >"$to"
	# shellcheck disable=SC2086
	kill -KILL $pids
	# shellcheck disable=SC2086
	wait $pids 2>/dev/null || true
	pids=
	rm -f "$work/bus"
}

command=$native
conversation "$work/native" "$native"
for words in '"memory_limit": 4299161600' '"checksum"' "option description 'Néixer'"; do
	grep -q "$words" "$work/native" || {
		cat "$work/native" "$work/native.log" >&2
		die "this machine's own binary does not say $words"
	}
done
for target; do
	binary=target/static/$target/cloudbox
	[ -x "$binary" ] || die "there is no $binary: scripts/static.sh $target"
	foreign="$(scripts/qemu-user.sh "$target") $binary"
	# shellcheck disable=SC2086
	version=$($foreign --version)
	[ "$version" = "$("$native" --version)" ] || die "$target calls itself $version"
	command=$native
	conversation "$work/daemon" "$foreign"
	command=$foreign
	conversation "$work/command" "$native"
	for side in daemon command; do
		diff -u "$work/native" "$work/$side" || {
			cat "$work/$side.log" >&2
			die "as the $side, the binary for $target does not say the same; the daemon's log is above"
		}
	done
	echo "$target: $version, understood as daemon and as command"
done
