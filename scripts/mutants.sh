#!/bin/sh
# Do the unit tests notice wrong code? cargo-mutants changes one place at a time in the parts that decide, and runs them:
# scripts/mutants.sh [NUMBER]
#
# Of all mutants NUMBER (300) are drawn. The last commit draws them, so that nobody chooses and everybody gets the same:
# with the first byte of its hash as BYTE (two hex digits), they are sorted by the sha256 of "BYTE:mutant", and the first
# are taken. Figures per folder are printed at the end. Only what a failing test found is caught: neither what ran out of
# time nor what does not build. What was missed stands in target/mutants/; so does everything else, but this tree is not changed.
set -eu
cd "$(dirname "$0")/.."
number=${1:-300}
place=target/mutants
PATH=$PWD/target/tools/bin:$PATH
command -v cargo-mutants >/dev/null || cargo install --locked --root target/tools cargo-mutants

rm -rf "$place"
mkdir -p "$place/tmp"
# Its copies of the tree: not in a /tmp that is memory.
TMPDIR=$PWD/$place/tmp
export TMPDIR CARGO_PROFILE_TEST_DEBUG=0 CARGO_PROFILE_DEV_DEBUG=0

folders="crates/openwrt-uci src/model src/operations src/state src/daemon"
set --
for folder in $folders; do
	set -- "$@" --file "$folder/**"
done
cargo mutants --list --workspace "$@" >"$place/all"

byte=$(git rev-parse HEAD | cut -c1-2)
while read -r mutant; do
	echo "$(printf %s "$byte:$mutant" | sha256sum | cut -d' ' -f1) $mutant"
done <"$place/all" | sort | head -n "$number" | cut -d' ' -f2- >"$place/drawn"
echo "mutants.sh: $(wc -l <"$place/drawn") of $(wc -l <"$place/all") mutants, drawn by $byte"

# try PACKAGE ARGUMENTS...: those of the drawn that the package has.
try() {
	package=$1
	shift
	while read -r mutant; do
		# As a pattern that matches itself only.
		set -- --re "^$(printf %s "$mutant" | sed 's/[][\\.*^$+?{}()|]/\\&/g')\$" "$@"
	done <"$place/drawn"
	# Status 2 and 3: some were missed, some ran out of time.
	cargo mutants --package "$package" --output "$place/$package" --colors never "$@" || [ $? -le 3 ]
}

try openwrt-uci
# The slowest tests try walks of directories, which nothing above has a part in.
try cloudbox --features faults --cargo-arg=--lib -- -- --skip steps::walk

echo
awk '
	BEGIN { printf "%-20s %7s %7s %7s %9s %12s\n", "folder", "caught", "missed", "time-out", "unbuildable", "caught of all" }
	FNR == 1 { kind = FILENAME; sub(/.*\//, "", kind); sub(/\.txt$/, "", kind) }
	{
		folder = $0
		sub(/:.*/, "", folder)
		n = split(folder, part, "/")
		folder = part[1] "/" part[2]
		found[folder] = 1
		count[folder, kind]++
		count["all", kind]++
	}
	function row(name,    all) {
		all = count[name, "caught"] + count[name, "missed"] + count[name, "timeout"] + count[name, "unviable"]
		printf "%-20s %7d %7d %7d %9d %11.1f%%\n", name, count[name, "caught"], count[name, "missed"], count[name, "timeout"], count[name, "unviable"], all ? 100 * count[name, "caught"] / all : 0
	}
	END { for (name in found) row(name); row("all") }
' "$place"/*/mutants.out/caught.txt "$place"/*/mutants.out/missed.txt "$place"/*/mutants.out/timeout.txt "$place"/*/mutants.out/unviable.txt
