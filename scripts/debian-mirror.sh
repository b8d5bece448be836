#!/bin/sh
# Where this machine gets Debian from, as apt itself understands its configuration (one-line or deb822, any
# mirror). Only Debian's own archives count, and of those only the component main.
#
#   debian-mirror.sh sources     deb822 entries of this release, ready for mmdebstrap or a private apt
#   debian-mirror.sh uri         the address of the main archive
#   debian-mirror.sh options     the machine's apt settings for reaching it (proxy, retries, validity of dates)
set -eu

die() {
	echo "debian-mirror.sh: $*" >&2
	exit 1
}

command -v apt-get >/dev/null || die "apt-get is missing: this needs a Debian machine"

# The release of the machine itself; a derivative has none of Debian's suites and ends with the sentence below.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

targets() {
	# $(…) are apt's own fields here, not the shell's.
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(CODENAME)|$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null | sort -u
}

# apt learns whose an archive is from its Release file: without lists it cannot tell.
entries() {
	list=$(targets)
	if [ -z "$list" ] && [ "$(id -u)" = 0 ]; then
		apt-get update -qq >&2 || true
		list=$(targets)
	fi
	[ -n "$list" ] || die "apt knows no archive of Debian's: is one in /etc/apt/sources.list.d? Try apt-get update"
	printf '%s\n' "$list"
}

case ${1:-} in
sources)
	entries | awk -F'|' -v suite="$suite" '
		$1 != suite && $1 != suite "-updates" && $1 != suite "-security" { next }
		{
			found = 1
			sub("/$", "", $2)
			print "Types: deb\nURIs: " $2 "\nSuites: " $1 "\nComponents: main"
			print "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
		}
		END { exit !found }' || die "none of apt's archives carries this machine's release ($suite)"
	;;
uri)
	entries | awk -F'|' -v suite="$suite" '
		$1 == suite { sub("/$", "", $2); print $2; found = 1; exit }
		END { exit !found }' || die "none of apt's archives carries this machine's release ($suite)"
	;;
options)
	apt-config dump --no-empty --format '%F "%v";%n' \
		Acquire::http Acquire::https Acquire::Retries Acquire::Check-Valid-Until Acquire::Check-Date |
		grep -v -e '::User-Agent' -e 'AllowRedirect' || true
	;;
*)
	die "usage: debian-mirror.sh sources|uri|options"
	;;
esac
