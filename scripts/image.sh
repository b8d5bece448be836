#!/bin/sh
# Builds target/image/NAME.squashfs if its recipe has changed since the last time.
#
#   scripts/image.sh distro|mini ...
set -eu
cd "$(dirname "$0")/.."
mkdir -p target/image
# Two tasks at once share one build.
exec 9>target/image/.lock
flock 9

for name; do
	case $name in
	distro) recipe="distro/build.sh distro/customize.sh distro/tahoe.txt scripts/debian-mirror.sh $(find distro/root -type f | sort)" build=distro/build.sh ;;
	mini) recipe=distro/mini.sh build=distro/mini.sh ;;
	*) echo "image.sh: no image is called $name" >&2 && exit 1 ;;
	esac
	image=target/image/$name.squashfs
	# Words and not one name: the recipe is a list of files.
	# shellcheck disable=SC2086
	key=$(cat $recipe /etc/debian_version | sha256sum | cut -d' ' -f1)
	if [ -e "$image" ] && [ "$(cat "target/image/$name.key" 2>/dev/null)" = "$key" ]; then
		echo "$image: up to date, $(stat -c %s "$image") bytes"
		continue
	fi
	rm -f "target/image/$name.key"
	$build "$image"
	echo "$key" >"target/image/$name.key"
done
