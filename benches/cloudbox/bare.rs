//! The same container without cloudbox: its record and LXC's configuration are those of a container that cloudbox made,
//! its root is laid out and mounted by the same steps, and then only LXC's tools and coreutils are used.

use crate::process;
use crate::world::World;
use crate::Result;
use cloudbox::model::secrets::Secrets;
use cloudbox::steps::ctx::Ctx;
use cloudbox::steps::layout::{ContainerDir, Layout};
use cloudbox::steps::storage::{Disk, GuestNetwork, Record, Stage, Storage};
use nix::mount::{umount2, MntFlags};
use std::fs;
use std::path::PathBuf;

/// A bare container.
pub struct Bare {
    layout: Layout,
    record: Record,
    config: String,
    /// The system calls that are refused, where cloudbox had any refused.
    seccomp: Option<String>,
    image: PathBuf,
    disk: Disk,
}

impl Bare {
    /// As the running container `name` of `world`. That one has to be gone before this one is started: they have the
    /// same names and addresses.
    pub fn like(world: &World, name: &str) -> Result<Bare> {
        let theirs = world.layout();
        let dir = ContainerDir(theirs.containers().join(name));
        let record: Record = serde_json::from_slice(&fs::read(dir.record())?)?;
        let layout = Layout { storage: world.dir().join("bare/storage"), run: world.dir().join("bare/run") };
        let config = fs::read_to_string(dir.lxc_config())?
            .replace(&*theirs.storage.to_string_lossy(), &layout.storage.to_string_lossy())
            .replace(&theirs.cgroup(), &layout.cgroup());
        let seccomp = fs::read_to_string(dir.seccomp()).ok();

        fs::create_dir_all(&layout.storage)?;
        fs::create_dir_all(&layout.run)?;
        let image = layout.run.join(format!("image-{}", &record.image_sha256));
        fs::create_dir_all(&image)?;
        let file = theirs.storage.join("images").join(&record.image_sha256).join("rootfs.squashfs");
        // Several of one image share its mount; the last one gone unmounts it.
        if fs::read_dir(&image)?.next().is_none() {
            process::run(process::command("mount")?.args(["-o", "loop,ro"]).arg(&file).arg(&image))?;
        }
        let disk = Disk::new(layout.clone())?;
        Ok(Bare { layout, record, config, seccomp, image, disk })
    }

    fn dir(&self) -> ContainerDir {
        self.layout.container(&self.record.name)
    }

    /// Makes its files and mounts its root.
    pub fn prepare(&self) -> Result<()> {
        self.disk.build(&Ctx::silent()?, &self.record)?;
        self.disk.mount(&self.record, Stage::Unborn, &self.image)?;
        self.disk.write_guest_files(&self.record, &GuestNetwork::default(), &Secrets::default())?;
        self.disk.give_name(&self.record.name)?;
        fs::write(self.dir().lxc_config(), &self.config)?;
        if let Some(seccomp) = &self.seccomp {
            fs::write(self.dir().seccomp(), seccomp)?;
        }
        Ok(())
    }

    /// `lxc-start -d`, with the same arguments that cloudbox gives.
    pub fn start(&self) -> Result<()> {
        let dir = self.dir();
        let mut command = process::command("lxc-start")?;
        command
            .env_clear()
            .args(["-d", "-n", self.record.name.as_str(), "-P"])
            .arg(self.layout.containers())
            .arg("-f")
            .arg(dir.lxc_config())
            .arg("-o")
            .arg(dir.lxc_log())
            .args(["-l", "ERROR"]);
        process::run_silent(&mut command)
    }

    /// `lxc-stop -k`, `umount`, `rm -r`.
    pub fn stop_and_remove(&self) -> Result<()> {
        let dir = self.dir();
        let name = self.record.name.as_str();
        process::run_silent(
            process::command("lxc-stop")?.args(["-k", "-n", name, "-P"]).arg(self.layout.containers()),
        )?;
        process::run_silent(process::command("umount")?.arg(dir.rootfs()))?;
        process::run_silent(process::command("rm")?.arg("-r").arg(dir.path()))
    }

    /// What LXC leaves: the container's cgroups.
    pub fn tidy(&self) {
        process::kill_monitors(&self.layout.storage);
        process::remove_cgroups(&self.layout.cgroup());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // After an error in the middle something may be running; the world takes the files down.
        self.tidy();
        let _ = self.disk.unmount(&self.record.name);
        let _ = umount2(&self.image, MntFlags::empty());
    }
}
