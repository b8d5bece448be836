//! Where everything lies: the one place that knows the paths.

use crate::model::config::DEFAULT_STORAGE;
use crate::model::name::Name;
use std::path::{Path, PathBuf};

/// The daemon's directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Images and containers; on a disk, kept over reboots (`/srv/cloudbox`).
    pub storage: PathBuf,
    /// Mount points, pid files and jobs; gone after a reboot (`/var/run/cloudbox`).
    pub run: PathBuf,
}

impl Layout {
    /// That of the daemon whose containers are in `lxcpath`, as far as it is on the disk.
    pub fn around(lxcpath: &str) -> Layout {
        let storage = Path::new(lxcpath).parent().map(Path::to_path_buf).unwrap_or_default();
        Layout { run: storage.join("run"), storage }
    }

    /// The file that holds the box's random identity.
    pub fn box_id(&self) -> PathBuf {
        self.storage.join("box-id")
    }

    /// The directory of all containers; it is LXC's `lxcpath` too.
    pub fn containers(&self) -> PathBuf {
        self.storage.join("containers")
    }

    /// Locked by the daemon that works on this storage.
    pub fn lock(&self) -> PathBuf {
        self.storage.join("lock")
    }

    /// A container's own files.
    pub fn container(&self, name: &Name) -> ContainerDir {
        ContainerDir(self.containers().join(name.as_str()))
    }

    /// Where a container is built before it gets its name. The leading dot cannot be part of a name.
    pub fn unborn(&self, name: &Name) -> ContainerDir {
        ContainerDir(self.containers().join(format!(".new-{name}")))
    }

    /// Where a container lies while it is being removed.
    pub fn dead(&self, name: &Name) -> ContainerDir {
        ContainerDir(self.containers().join(format!(".gone-{name}")))
    }

    /// Formatted, empty file systems, one for each size of quota.
    pub fn blanks(&self) -> PathBuf {
        self.storage.join("blank")
    }

    /// Where the image is mounted with a container's id map, for the moment it takes to stack the overlay on it.
    pub fn lower(&self, name: &Name) -> PathBuf {
        self.run.join("lower").join(name.as_str())
    }

    /// Where archives lie that calls name, unless the box's owner has listed other directories.
    pub fn archives(&self) -> PathBuf {
        self.storage.join("archives")
    }

    /// Where an export of container `name` notes the file it writes.
    pub fn export(&self, name: &Name) -> PathBuf {
        self.exports().join(name.as_str())
    }

    /// The notes of all exports.
    pub fn exports(&self) -> PathBuf {
        self.storage.join("exports")
    }

    /// Names the containers that are held still for a copy of their layer, each a file.
    pub fn held(&self) -> PathBuf {
        self.run.join("held")
    }

    /// Where the root of another tool's container is mounted while it is read.
    pub fn foreign_root(&self, name: &str) -> PathBuf {
        self.run.join("lower").join(format!(".foreign-{name}"))
    }

    /// The file to which `lxc-start` writes its monitor's pid.
    pub fn pid_file(&self, name: &Name) -> PathBuf {
        self.run.join("pid").join(name.as_str())
    }

    /// The FIFO to which LXC's monitors write how their containers ended.
    pub fn exits(&self) -> PathBuf {
        self.run.join("exits")
    }

    /// Which names of ours others on the network have, too.
    pub fn shared_names(&self) -> PathBuf {
        self.run.join("shared-names")
    }

    /// What is remembered of containers' ends and restarts.
    pub fn lives(&self) -> PathBuf {
        self.run.join("lives")
    }

    /// The table of jobs.
    pub fn jobs(&self) -> PathBuf {
        self.run.join("jobs.json")
    }

    /// Holds how often the daemon was started since one ended well; not there when none runs.
    pub fn starts(&self) -> PathBuf {
        self.run.join("starts")
    }

    /// Holds the kernel's boot id once autostart has been done for this boot.
    pub fn boot_marker(&self) -> PathBuf {
        self.run.join("boot")
    }

    /// The cgroup below which this daemon's containers live. Another storage directory means another daemon (a test,
    /// a demo), which must not meet our cgroups.
    pub fn cgroup(&self) -> String {
        if self.storage == Path::new(DEFAULT_STORAGE) {
            return "cloudbox".to_string();
        }
        // FNV-1a: the same directory must have the same name in every version of the program.
        let mut hash: u32 = 0x811c_9dc5;
        for byte in self.storage.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        format!("cloudbox-{hash:08x}")
    }
}

/// The files of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDir(pub PathBuf);

impl ContainerDir {
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the daemon knows of the container and UCI does not.
    pub fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    /// LXC's configuration, written anew at each start.
    pub fn lxc_config(&self) -> PathBuf {
        self.0.join("config")
    }

    /// The system calls that its guest is refused, written anew at each start.
    pub fn seccomp(&self) -> PathBuf {
        self.0.join("seccomp")
    }

    /// LXC's own log.
    pub fn lxc_log(&self) -> PathBuf {
        self.0.join("lxc.log")
    }

    /// What the guest wrote to its console.
    pub fn console_log(&self) -> PathBuf {
        self.0.join("console.log")
    }

    /// What it wrote there before, as LXC names it.
    pub fn earlier_console_log(&self) -> PathBuf {
        self.0.join("console.log.1")
    }

    /// What the first-boot script said.
    pub fn first_boot_log(&self) -> PathBuf {
        self.0.join("first-boot.log")
    }

    /// `running`, or the exit code of the first-boot script; not there before it is run.
    pub fn first_boot_status(&self) -> PathBuf {
        self.0.join("first-boot.status")
    }

    /// The sparse file with the writable layer's file system, when there is a quota.
    pub fn disk(&self) -> PathBuf {
        self.0.join("disk.img")
    }

    /// The writable layer: [`ContainerDir::disk`] is mounted here when there is a quota.
    pub fn layer(&self) -> PathBuf {
        self.0.join("layer")
    }

    /// The overlay's upper directory.
    pub fn upper(&self) -> PathBuf {
        self.layer().join("upper")
    }

    /// The overlay's work directory.
    pub fn work(&self) -> PathBuf {
        self.layer().join("work")
    }

    /// The container's snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// A snapshot: like a container it has a disk or a layer.
    pub fn snapshot(&self, name: &Name) -> ContainerDir {
        ContainerDir(self.snapshots().join(name.as_str()))
    }

    /// Where a snapshot is copied before it gets its name.
    pub fn unborn_snapshot(&self, name: &Name) -> ContainerDir {
        ContainerDir(self.snapshots().join(format!(".new-{name}")))
    }

    /// Where a snapshot lies while it is being removed.
    pub fn dead_snapshot(&self, name: &Name) -> ContainerDir {
        ContainerDir(self.snapshots().join(format!(".gone-{name}")))
    }

    /// Where a snapshot is copied before it takes the layer's place, and where the old layer is erased then.
    pub fn restored(&self) -> ContainerDir {
        ContainerDir(self.0.join(".restored"))
    }

    /// What is known of a snapshot.
    pub fn snapshot_record(&self) -> PathBuf {
        self.0.join("snapshot")
    }

    /// The guest's root, where the overlay is mounted.
    pub fn rootfs(&self) -> PathBuf {
        self.0.join("rootfs")
    }
}
