//! create → RUNNING, against `incus launch` of the same image.

use super::say;
use crate::measure::{time, Samples};
use crate::options::Options;
use crate::process::{self, pause};
use crate::table::{Bar, Row};
use crate::world::{World, DISTRO, WAIT};
use crate::Result;
use openwrt_ubus::to_fields;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;

const WORK: &str = "create → RUNNING, distro, no quota";
const PEER: &str = "incus launch";
const REST: Duration = Duration::from_millis(300);

/// Adds the row.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    if process::find("incus").is_none() {
        done.push(Row::missing(WORK, None, PEER, "not installed"));
        return Ok(());
    }
    if process::run(process::command("timeout")?.args(["20", "incus", "info"])).is_err() {
        done.push(Row::missing(WORK, None, PEER, "its daemon does not answer"));
        return Ok(());
    }
    say("create, against incus");
    let mut world = World::new(options, &["distro"])?;
    world.call("cloudbox.container", "create", &DISTRO.arguments("keeper"))?;
    let incus = Incus::with_image(world.dir())?;
    let create = to_fields(&DISTRO.arguments("bench"))?;
    let delete = to_fields(&json!({ "name": "bench", "force": true, "wait": WAIT }))?;
    let [mut ours, mut theirs] = std::array::from_fn(|_| Samples::default());
    for round in 0..options.warm_up() + options.rounds() {
        let (by_us, _) = time(|| world.call_encoded("cloudbox.container", "create", &create))?;
        pause(DISTRO.boot)?;
        world.call_encoded("cloudbox.container", "delete", &delete)?;
        process::reap();
        pause(REST)?;
        let (by_them, ()) = time(|| incus.launch())?;
        pause(DISTRO.boot)?;
        incus.delete()?;
        pause(REST)?;
        if round >= options.warm_up() {
            ours.push(by_us);
            theirs.push(by_them);
        }
    }
    done.push(Row::times(WORK, &ours, PEER, &theirs, Some(Bar::FasterAtLeast(5.0))));
    Ok(())
}

/// Incus with our image, under a name that nobody else has.
struct Incus {
    name: String,
}

impl Incus {
    fn with_image(dir: &Path) -> Result<Incus> {
        let metadata = dir.join("metadata.yaml");
        fs::write(&metadata, format!("architecture: {}\ncreation_date: 1\n", std::env::consts::ARCH))?;
        let packed = dir.join("metadata.tar");
        process::run(
            process::command("tar")?.arg("-cf").arg(&packed).arg("-C").arg(dir).arg("metadata.yaml"),
        )?;
        let incus = Incus { name: format!("cloudbox-bench-{}", std::process::id()) };
        let rootfs = fs::canonicalize("target/image/distro.squashfs")?;
        let mut import = process::command("incus")?;
        import.args(["image", "import"]).arg(&packed).arg(&rootfs).args(["--alias", &incus.name]);
        process::run(&mut import)?;
        Ok(incus)
    }

    fn launch(&self) -> Result<()> {
        process::run_silent(process::command("incus")?.args(["launch", "--quiet", &self.name, &self.name]))
    }

    fn delete(&self) -> Result<()> {
        process::run_silent(process::command("incus")?.args(["delete", "--force", &self.name]))
    }
}

impl Drop for Incus {
    fn drop(&mut self) {
        // The container is there only after an error.
        for words in [["delete", "--force"], ["image", "delete"]] {
            let Ok(mut incus) = process::command("incus") else { return };
            let _ = incus.args(words).arg(&self.name).output();
        }
    }
}
