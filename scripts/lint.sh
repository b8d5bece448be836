#!/bin/sh
# Formatting, clippy and shellcheck. All three are run; any complaint fails.
set -eu
cd "$(dirname "$0")/.."
failed=0
cargo fmt --all --check || failed=1
cargo clippy --workspace --all-targets --all-features -- -D warnings || failed=1

plain=
procd=
for f in $(git ls-files); do
	[ -f "$f" ] || continue
	case $(head -n 1 "$f" | tr -d '\0') in
	'#!/bin/sh /etc/rc.common') procd="$procd $f" ;;
	'#!/bin/sh'* | '#!/bin/bash'* | '#!/usr/bin/env bash'*) plain="$plain $f" ;;
	esac
done
# Lists of names without blanks.
# shellcheck disable=SC2086
[ -z "$plain" ] || shellcheck $plain || failed=1
# rc.common reads the variables of an init script (SC2034), and OpenWrt's ash knows `local` as dash does.
# shellcheck disable=SC2086
[ -z "$procd" ] || shellcheck --shell=dash --exclude=SC2034 $procd || failed=1
[ $failed = 0 ] && echo "lint: clean"
exit $failed
