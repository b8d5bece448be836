#!/bin/sh
# The program that runs what is built for a Rust target: qemu-user.sh TARGET
set -eu
case $1 in
armv7-* | arm-*) processor=arm ;;
i686-* | i586-*) processor=i386 ;;
riscv64gc-*) processor=riscv64 ;;
*) processor=${1%%-*} ;;
esac
qemu="qemu-$processor"
command -v "$qemu" || {
	echo "qemu-user.sh: $qemu is missing: install qemu-user" >&2
	exit 1
}
