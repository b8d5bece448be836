//! Tests of the whole: the daemon, a bus, real LXC and real guests. Nothing is faked.
//!
//! They need root, LXC and two images, which `scripts/test.sh` provides: CLOUDBOX_TEST_IMAGE (the distro) and
//! CLOUDBOX_TEST_MINI (one busybox). Without CLOUDBOX_TEST_IMAGE they say so and pass; with it, whatever is missing
//! is a failure. Where `ubusd` is on the PATH, or named by UBUSD, it is the bus; else our own broker.

mod avahi;
mod bus;
mod neighbour;
#[path = "../../src/testing/numbers.rs"]
mod numbers;
mod processes;
// Real brokers are started as the crate's own tests do.
#[allow(dead_code)]
#[path = "../../crates/mqtt-session/tests/brokers/server.rs"]
mod server;
mod test_box;
mod tree_hash;

mod addresses;
mod apart;
mod avahi_by_hand;
mod bad_input;
mod boot;
mod bus_restart;
mod children;
mod commons;
mod community;
mod config_file;
mod copies;
mod daemon_death;
mod dnsmasq;
mod ends;
mod exec;
mod field;
mod first_boot;
mod guest_calls;
mod guest_cgroups;
mod hundred;
mod idle;
mod impostors;
mod inside;
mod jobs;
mod life;
mod links;
mod log;
mod monitor_death;
mod network_and_files;
mod notices;
mod package;
mod remotes;
mod rights;
mod router_load;
mod services;
mod services_measured;
mod services_refused;
mod story;
mod unruly;
mod upgrade;
