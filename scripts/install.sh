#!/bin/sh
# Installs what `make build` has built, with manual pages and completions, below a directory, and lists the files.
#
#   scripts/install.sh PREFIX
set -eu
cd "$(dirname "$0")/.."
prefix=${1:?usage: scripts/install.sh PREFIX}

docs=target/docs
rm -rf $docs
cargo run --quiet --package cloudbox-docs -- $docs

put() {
	mode=$1 to=$2
	shift 2
	install -d "$to"
	install -m "$mode" "$@" "$to"
	for file; do
		echo "$to/${file##*/}"
	done
}
put 755 "$prefix/bin" target/release/cloudbox
put 644 "$prefix/share/man/man1" $docs/man1/*.1
put 644 "$prefix/share/bash-completion/completions" $docs/completions/cloudbox
put 644 "$prefix/share/zsh/site-functions" $docs/completions/_cloudbox
put 644 "$prefix/share/fish/vendor_completions.d" $docs/completions/cloudbox.fish
