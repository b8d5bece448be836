#!/bin/sh
# Formatting, clippy, shellcheck, and eslint where there is node. All are run; any complaint fails.
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
[ -z "$plain" ] || shellcheck -x $plain || failed=1
# rc.common reads the variables of an init script (SC2034), and OpenWrt's ash knows `local` as dash does.
# shellcheck disable=SC2086
[ -z "$procd" ] || shellcheck --shell=dash --exclude=SC2034 $procd || failed=1

# The linter of LuCI's pages is fetched once; npm's files stay in target/.
eslint=target/eslint/node_modules/eslint/bin/eslint.js
if ! command -v npm >/dev/null; then
	echo "lint: LuCI's pages are not checked: node and npm are missing (scripts/install-deps.sh ci)"
elif [ ! -f $eslint ] && ! npm install --prefix target/eslint --no-save --no-audit --no-fund --silent eslint@9.39.5; then
	echo "lint: LuCI's pages are not checked: npm cannot fetch eslint"
else
	node $eslint --no-warn-ignored openwrt/luci-app-cloudbox tests/luci scripts/*.mjs eslint.config.mjs || failed=1
fi
[ $failed = 0 ] && echo "lint: clean"
exit $failed
