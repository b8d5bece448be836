#!/bin/sh
# Prints the first of the directories named in which containers can be kept:
#
#   scripts/storage-place.sh DIRECTORY...
#
# An overlay cannot be the upper layer of another one, and a container's root must be able to reach its files through
# every directory above them.
set -eu

usable() {
	case $(stat -f -c %T "$1") in
	tmpfs | ramfs | overlayfs) return 1 ;;
	esac
	d=$(cd "$1" && pwd -P)
	while [ "$d" != / ]; do
		[ -n "$(find "$d" -maxdepth 0 -perm -o=x)" ] || return 1
		d=$(dirname "$d")
	done
}

for place in "$@"; do
	if [ -d "$place" ] && usable "$place"; then
		cd "$place" && pwd -P
		exit 0
	fi
done
echo "no place for the storage: each of $* is in memory, on an overlay, or below a directory closed to others" >&2
exit 1
