# Stands in for OpenWrt's /lib/functions.sh: as much of it as the package's scripts use, done the same way.
# shellcheck shell=dash disable=SC1090,SC2013,SC2034,SC2154

config_load() {
	config_package=$1
}

config_get() {
	config_value=$(uci -q get "$config_package.$2.$3")
	eval "$1=\${config_value:-\$4}"
}

config_get_bool() {
	config_get "$1" "$2" "$3" "$4"
	eval "config_value=\$$1"
	case $config_value in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	*) eval "$1=0" ;;
	esac
}

init_scripts() {
	grep '^/etc/init.d/' "/usr/lib/opkg/info/$pkgname.list"
}

default_postinst() {
	pkgname=$(basename "${1%.*}")
	for script in $(grep '^/etc/uci-defaults/' "/usr/lib/opkg/info/$pkgname.list"); do
		(. "$script") && rm -f "$script"
	done
	uci commit
	status=0
	if [ -f "/usr/lib/opkg/info/$pkgname.postinst-pkg" ]; then
		(. "/usr/lib/opkg/info/$pkgname.postinst-pkg")
		status=$?
	fi
	for script in $(init_scripts); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" enable
		"$script" start
	done
	return $status
}

default_prerm() {
	pkgname=$(basename "${1%.*}")
	status=0
	if [ -f "/usr/lib/opkg/info/$pkgname.prerm-pkg" ]; then
		(. "/usr/lib/opkg/info/$pkgname.prerm-pkg")
		status=$?
	fi
	for script in $(init_scripts); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" disable
		"$script" stop
	done
	return $status
}
