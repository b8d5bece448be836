#!/bin/sh
# The version check of the packages feed's continuous integration: PKG_NAME and PKG_VERSION are exported.

case "$PKG_NAME" in
cloudbox)
	cloudbox --version | grep -F "$PKG_VERSION"
	;;
*)
	echo "test-version.sh: unhandled package '$PKG_NAME'" >&2
	exit 1
	;;
esac
