# Every task a person runs, one word each. `make` alone lists them.

SECONDS ?= 60

NUMBER ?= 300

ARCH ?= x86_64

PREFIX ?= /usr/local

.PHONY: help build install static package image image-twice demo run commons test attack commons-sim docs-test luci-test msrv vm upgrade-test bench fuzz mutants lint clean

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s  %s\n", $$1, $$2 }'

build: ## build the daemon and command (release)
	cargo build --release --package cloudbox

install: build ## install the command with its manual pages and completions below PREFIX=/usr/local (and DESTDIR)
	scripts/install.sh "$(DESTDIR)$(PREFIX)"

static: ## build the static binary for a box; TARGET=aarch64-unknown-linux-musl for another kind
	scripts/static.sh $(TARGET)

package: ## pack it for opkg, as a feed in target/package/; ARCH=aarch64_cortex-a53 for another kind of box
	scripts/package.sh $(ARCH)

image: ## build the distro image, unless its recipe is unchanged
	scripts/image.sh distro

image-twice: ## build the distro image a second time and compare: is it reproducible?
	scripts/image-twice.sh

demo: ## show a container's life on this machine, and leave nothing behind
	scripts/demo.sh

run: ## keep a bus and a daemon running to try things out; Ctrl-C ends it
	@# As a job of its own: Ctrl-C is for the script, which then ends well, and not for make, which would fail.
	@set -m; trap '' TSTP; scripts/demo.sh --keep; exit $$?

commons: ## show three boxes, two brokers, and a spare that takes the place of a lost box
	scripts/commons.sh

test: ## run every test, those with real containers too
	scripts/test.sh

attack: ## run the attacks of tests/attack in their long form; SEED=1 repeats one, KILLS=10000
	scripts/attack.sh

commons-sim: ## simulate the commons for SEEDS=2000, or FIRST..LAST; PLAN=mixed, model or large
	scripts/commons-sim.sh $(SEEDS) $(PLAN)

docs-test: ## type what the pages tell a reader to type, and compare what comes
	scripts/docs-test.sh

luci-test: ## run the tests of LuCI's pages in node
	scripts/luci-test.sh

msrv: ## run the unit tests with the oldest Rust that Cargo.toml promises
	scripts/msrv.sh

vm: ## try the package on a virtual box, and pull its plug
	scripts/vm.sh

upgrade-test: ## upgrade a box with twenty containers from an earlier version, BASE=a17c4bc
	scripts/upgrade-test.sh $(BASE)

bench: ## measure, side by side with bare LXC
	scripts/bench.sh

fuzz: ## run each fuzz target for SECONDS=60
	scripts/fuzz.sh $(SECONDS)

mutants: ## change NUMBER=300 places one at a time, and see whether the unit tests notice
	scripts/mutants.sh $(NUMBER)

lint: ## check formatting, clippy, shellcheck and eslint
	scripts/lint.sh

clean: ## remove everything that was built
	cargo clean
	rm -rf target fuzz/target crates/differential/target
