#!/bin/sh
# Do the unit tests notice wrong code? cargo-mutants changes one place at a time in the parts that decide, and runs them:
#
#   scripts/mutants.sh [NUMBER] [FOLDER...]
#
# Of all mutants NUMBER (300) are drawn. The last commit draws them, so that nobody chooses and everybody gets the same:
# with the first byte of its hash as BYTE (two hex digits), they are sorted by the sha256 of "BYTE:mutant", and the first
# are taken. The last lines are the figures of each folder. Only what a failing test found is caught: neither what ran out
# of time nor what does not build. The mutants that were missed are listed before. This tree is not changed.
set -eu
cd "$(dirname "$0")/.."
number=${1:-300}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- crates/openwrt-uci src/model src/operations src/state src/daemon

place=target/mutants
PATH=$PWD/target/tools/bin:$PATH
command -v cargo-mutants >/dev/null || cargo install --locked --root target/tools cargo-mutants
rm -rf "$place"
mkdir -p "$place/tmp"
# The copies of the tree are large, and /tmp may be memory.
TMPDIR=$PWD/$place/tmp
export TMPDIR CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0

for folder; do
	set -- "$@" --file "$folder/**"
	shift
done
cargo mutants --list --workspace "$@" >"$place/all"
byte=$(git rev-parse HEAD | cut -c1-2)
while read -r mutant; do
	echo "$(printf %s "$byte:$mutant" | sha256sum | cut -d' ' -f1) $mutant"
done <"$place/all" | sort | head -n "$number" | cut -d' ' -f2- >"$place/drawn"
echo "mutants.sh: $(wc -l <"$place/drawn") of $(wc -l <"$place/all") mutants, drawn by $byte"

# Each as a pattern that matches nothing else. Mutants that leave out a field are tried whether they match or not.
while read -r mutant; do
	set -- "$@" --re "^$(printf %s "$mutant" | sed 's/[][\\.*^$+?{}()|]/\\&/g')\$"
done <"$place/drawn"

# try PACKAGE ARGUMENTS...: the mutants of one package, with its own tests.
try() {
	mkdir -p "$place/$1"
	# 2: some were missed. 3: some ran out of time.
	cargo mutants --output "$place/$1" --package "$@" || [ $? -le 3 ]
}
try openwrt-uci "$@"
# The tests of walks take longest, and have no part in what is tried here.
try cloudbox --features faults --cargo-arg=--lib "$@" -- -- --skip steps::walk

for kind in caught missed timeout unviable; do
	cat "$place"/*/mutants.out/$kind.txt 2>/dev/null | grep -Fx -f "$place/drawn" | sed "s/^/$kind /"
done >"$place/found"
sed -n -e 's/^missed /missed: /p' -e 's/^timeout /out of time: /p' "$place/found"
awk '
	{
		split($2, path, "/")
		folder = path[1] "/" path[2]
		sub(/:.*/, "", folder)
		for (name = folder; name != ""; name = name == "all" ? "" : "all") {
			count[name, $1]++
			folders[name]
		}
	}
	function row(name,    built) {
		built = count[name, "caught"] + count[name, "missed"] + count[name, "timeout"]
		printf "%-20s %6d caught %6d missed %6d out of time %6d do not build: %5.1f %% of those that build are caught\n", name,
			count[name, "caught"], count[name, "missed"], count[name, "timeout"], count[name, "unviable"],
			built ? 100 * count[name, "caught"] / built : 0
	}
	END {
		for (name in folders) if (name != "all") row(name)
		row("all")
	}
' "$place/found"
