#!/bin/sh
# Run by the packages feed's continuous integration inside a rootfs: test.sh PACKAGE VERSION

case "$1" in
cloudbox)
	cloudbox --version | grep -F "$2" || exit 1
	cloudbox help | grep '^ *create ' || exit 1
	sh -n /etc/init.d/cloudbox
	;;
esac
