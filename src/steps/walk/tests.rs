//! Trees that only somebody hostile makes, walked with the daemon's stack and few descriptors.

use super::*;
use crate::steps::ctx::Ctx;
use crate::steps::storage::tree::{copy, size, Progress, Shift};
use crate::steps::wait;
use crate::testing::{alone, Numbers, TempDir};
use nix::mount::{mount, umount, MsFlags};
use nix::sched::{unshare, CloneFlags};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use nix::sys::stat::{makedev, mknod, Mode, SFlag};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

const STACK: usize = 256 << 10;
const DESCRIPTORS: u64 = 256;
const DEPTH: usize = 20_000;
const WIDTH: usize = 100_000;
const SIDES: usize = 100;

/// In memory, where there is room: a disk takes minutes for so many directories.
fn large_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::make_in(memory),
        false => TempDir::make(),
    }
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// Does `work` in a thread with the stack of the daemon's, in a process of its own that has few descriptors. `test` is
/// the name of the test that calls.
fn in_a_small_process(test: &str, work: impl FnOnce() + Send) {
    if let Some(output) = alone(&format!("steps::walk::tests::{test}")) {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}: {said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(most), most).unwrap();
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

/// `levels` directories called `name`, one in another, each with a file.
fn deep(root: &Path, levels: usize, name: &str) {
    fs::create_dir_all(root).unwrap();
    let mut descent = Descent::new(File::open(root).unwrap()).unwrap();
    let name = CString::new(name).unwrap();
    for _ in 0..levels {
        fs::write(at(descent.dir(), b"file"), "x").unwrap();
        fs::create_dir(at(descent.dir(), name.to_bytes())).unwrap();
        descent.enter(&name).unwrap();
    }
}

fn count(root: &Path) -> Result<(usize, usize)> {
    let (mut seen, mut deepest, mut depth) = (0, 0, 0);
    walk(root, Moved::Fails, &mut |at| {
        match at.what {
            What::End => depth -= 1,
            What::Directory(_) => depth += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        seen += usize::from(!matches!(at.what, What::End));
        Ok(())
    })?;
    assert_eq!(depth, 0);
    Ok((seen, deepest))
}

fn copied(from: &Path, to: &Path, links: &Path) -> Result<()> {
    let ctx = Ctx::silent()?;
    copy(from, to, links, Shift { from: 0, to: 0 }, &mut Progress::new(&ctx, None))
}

/// Walks, measures, copies and removes the tree at `dir`/tree.
fn all_of_it(dir: &Path, files: usize, levels: usize) {
    let (tree, to) = (dir.join("tree"), dir.join("to"));
    assert_eq!(count(&tree).unwrap(), (files, levels));
    size(&Ctx::silent().unwrap(), &tree).unwrap();
    copied(&tree, &to, &dir.join("links")).unwrap();
    assert_eq!(count(&to).unwrap(), (files, levels));
    assert!(
        fs::metadata(&to).unwrap().modified().unwrap() == fs::metadata(&tree).unwrap().modified().unwrap()
    );
    for tree in [tree, to] {
        remove(&tree).unwrap();
        assert!(!tree.exists());
        remove(&tree).unwrap();
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn no_depth_is_too_much() {
    in_a_small_process("no_depth_is_too_much", || {
        let dir = large_dir();
        deep(&dir.path().join("tree"), DEPTH, "d");
        all_of_it(dir.path(), 2 * DEPTH + 1, DEPTH + 1);
    });
}

#[test]
fn no_path_is_too_long() {
    in_a_small_process("no_path_is_too_long", || {
        let dir = large_dir();
        deep(&dir.path().join("tree"), DEPTH, &"n".repeat(255));
        all_of_it(dir.path(), 2 * DEPTH + 1, DEPTH + 1);
    });
}

#[test]
fn no_directory_is_too_wide() {
    in_a_small_process("no_directory_is_too_wide", || {
        let dir = large_dir();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for number in 0..WIDTH {
            match number % 10 {
                0 => fs::create_dir(tree.join(number.to_string())).unwrap(),
                1 => fs::hard_link(tree.join((number - 1 + 9).to_string()), tree.join(number.to_string()))
                    .unwrap_or_else(|_| fs::write(tree.join(number.to_string()), "").unwrap()),
                _ => drop(File::create(tree.join(number.to_string())).unwrap()),
            }
        }
        all_of_it(dir.path(), WIDTH + 1, 2);
    });
}

/// Directories deeper than are held open, and many of them beside each other at each depth: a walk comes back to each
/// place in its parent, once for every one.
#[test]
fn coming_back_leaves_nothing_out() {
    in_a_small_process("coming_back_leaves_nothing_out", || {
        let dir = TempDir::make();
        let tree = dir.path().join("tree");
        for side in 0..SIDES {
            deep(&tree.join(format!("{side:0>200}")), 2 * OPEN_MAX, "d");
        }
        all_of_it(dir.path(), SIDES * (1 + 4 * OPEN_MAX) + 1, 2 * OPEN_MAX + 2);
    });
}

/// A tree of everything that there is, in odd places and with odd names.
fn odd_tree(root: &Path, numbers: &mut Numbers) -> usize {
    fs::create_dir(root).unwrap();
    let mut descent = Descent::new(File::open(root).unwrap()).unwrap();
    let (mut files, mut last_file) = (1, None);
    let steps = numbers.below(400);
    // Some trees go down most of the time.
    let downward = numbers.below(10);
    for _ in 0..steps {
        let length = if numbers.below(4) == 0 { 255 } else { 1 + numbers.below(12) };
        let name: Vec<u8> = (0..length)
            .map(|_| match numbers.below(256) as u8 {
                0 | b'/' => b'\n',
                byte => byte,
            })
            .collect();
        let name = CString::new(name).unwrap();
        let path = at(descent.dir(), name.to_bytes());
        if name.as_bytes() == b"." || name.as_bytes() == b".." || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match numbers.below(10 + downward) {
            0 => symlink("/", &path).unwrap(),
            1 => symlink(Path::new(&"../".repeat(200)), &path).unwrap(),
            2 => mknod(&path, SFlag::S_IFIFO, Mode::S_IRUSR, 0).unwrap(),
            // A socket's path has 108 bytes at most.
            3 if length < 64 => drop(UnixListener::bind(&path).unwrap()),
            4 if nix::unistd::geteuid().is_root() => {
                mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(1, 3)).unwrap();
            }
            5 => {
                descent.leave().unwrap();
                continue;
            }
            6 if last_file.is_some() => {
                let first: &PathBuf = last_file.as_ref().unwrap();
                fs::hard_link(first, &path).unwrap();
            }
            7..=9 => {
                fs::write(&path, name.as_bytes()).unwrap();
                last_file = fs::canonicalize(&path).ok().filter(|path| path.as_os_str().len() < 4000);
            }
            _ => {
                fs::create_dir(&path).unwrap();
                descent.enter(&name).unwrap();
            }
        }
        files += 1;
    }
    files
}

#[test]
fn odd_trees_of_all_kinds() {
    in_a_small_process("odd_trees_of_all_kinds", || {
        for seed in 1..=100 {
            let dir = large_dir();
            let (tree, to) = (dir.path().join("tree"), dir.path().join("to"));
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
            let files = odd_tree(&tree, &mut numbers);
            assert_eq!(count(&tree).unwrap().0, files, "seed {seed}");
            if nix::unistd::geteuid().is_root() {
                copied(&tree, &to, &dir.path().join("links")).unwrap();
                assert_eq!(count(&to).unwrap(), count(&tree).unwrap(), "seed {seed}");
                remove(&to).unwrap();
            }
            remove(&tree).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "seed {seed}");
        }
    });
}

/// What nobody may touch, beside a tree and in the directory that parts of the tree are moved to.
fn canary(outside: &Path) {
    fs::create_dir_all(outside.join("sub/sub")).unwrap();
    for file in ["one", "sub/two", "sub/sub/three"] {
        fs::write(outside.join(file), file).unwrap();
    }
}

fn canary_lives(outside: &Path) -> bool {
    ["one", "sub/two", "sub/sub/three"]
        .iter()
        .all(|file| fs::read_to_string(outside.join(file)).is_ok_and(|is| is == *file))
}

/// Does `work` again and again while directories are moved out of the tree, into it, and about in it.
fn while_directories_move(work: &dyn Fn(&Path) -> Result<()>, rounds: usize) {
    let dir = TempDir::make();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    canary(&outside);
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..rounds {
        let parts = |count: usize| vec!["d"; count].join("/");
        deep(&tree, 3 * OPEN_MAX, "d");
        fs::create_dir_all(tree.join("other")).unwrap();
        let done = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (inside, away) = (tree.join(parts(OPEN_MAX + 5)), outside.join("away"));
                let about = tree.join("other/place");
                while !done.load(Ordering::Relaxed) {
                    for (from, to) in
                        [(&inside, &away), (&away, &inside), (&inside, &about), (&about, &inside)]
                    {
                        let _ = fs::rename(from, to);
                    }
                }
            });
            let result = work(&tree);
            done.store(true, Ordering::Relaxed);
            result
        });
        match &result {
            Ok(()) => whole += 1,
            Err(error) => {
                assert!(matches!(error.code, Code::Busy | Code::Failed), "{error}");
                refused += 1;
            }
        }
        assert!(canary_lives(&outside), "{result:?}");
        for left in [&tree, &outside.join("away")] {
            remove(left).unwrap();
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    }
    println!("{whole} whole, {refused} refused");
}

#[test]
fn a_removal_stays_inside_while_directories_move() {
    in_a_small_process("a_removal_stays_inside_while_directories_move", || {
        while_directories_move(&remove, 200)
    });
}

#[test]
fn a_copy_stays_inside_while_directories_move() {
    in_a_small_process("a_copy_stays_inside_while_directories_move", || {
        while_directories_move(
            &|tree| {
                let (to, links) = (tree.with_file_name("to"), tree.with_file_name("links"));
                let done = copied(tree, &to, &links);
                remove(&to).unwrap();
                remove(&links).unwrap();
                done
            },
            100,
        );
    });
}

#[test]
fn a_measurement_goes_on_while_directories_move() {
    in_a_small_process("a_measurement_goes_on_while_directories_move", || {
        while_directories_move(&|tree| size(&Ctx::silent().unwrap(), tree).map(drop), 200);
    });
}

/// The way up to a directory that is not held is `..`: after a move it must not be taken for the one left.
#[test]
fn the_way_up_is_checked() {
    let dir = TempDir::make();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    canary(&outside);
    deep(&tree, 2 * OPEN_MAX, "d");
    let walked = |moved: Moved| {
        let (mut seen, mut went) = (Vec::new(), false);
        let result = walk(&tree, moved, &mut |at| {
            if at.trail.path.len() > 2 * (2 * OPEN_MAX - 1) && !went {
                went = true;
                fs::rename(tree.join("d/d"), outside.join("away")).unwrap();
            }
            seen.extend(at.path().map(<[u8]>::to_vec));
            Ok(())
        });
        assert!(went);
        fs::rename(outside.join("away"), tree.join("d/d")).unwrap();
        assert!(seen.iter().all(|path| path.is_empty() || path.starts_with(b"d") || path == b"file"));
        result
    };
    let error = walked(Moved::Fails).unwrap_err();
    assert!(error.code == Code::Busy && error.message.contains("moved about"), "{error}");
    walked(Moved::Skipped).unwrap();
    assert!(canary_lives(&outside));
}

#[test]
fn no_mount_and_no_link_is_followed() {
    if !is_root() {
        return;
    }
    in_a_small_process("no_mount_and_no_link_is_followed", || {
        let dir = TempDir::make();
        let (tree, outside, to) =
            (dir.path().join("tree"), dir.path().join("outside"), dir.path().join("to"));
        canary(&outside);
        fs::create_dir_all(tree.join("a/loop")).unwrap();
        fs::create_dir_all(tree.join("mounted")).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let bind = |from: &Path, at: &Path| {
            mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        };
        let mut tried = || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            // The same file system each: the device's number does not tell.
            bind(&tree, &tree.join("a/loop"));
            bind(&outside, &tree.join("mounted"));
            assert_eq!(count(&tree).unwrap(), (5, 2));
            size(&Ctx::silent().unwrap(), &tree).unwrap();
            for work in [&|| copied(&tree, &to, &dir.path().join("links")), &|| remove(&tree)]
                as [&dyn Fn() -> Result<()>; 2]
            {
                let error = work().unwrap_err();
                assert!(
                    error.code == Code::Busy && error.message.contains("something is mounted"),
                    "{error}"
                );
            }
            assert!(canary_lives(&outside));
            assert!(tree.join("a/loop/a").is_dir(), "nothing went through the mount");
            umount(&tree.join("mounted")).unwrap();
            umount(&tree.join("a/loop")).unwrap();
        };
        wait::in_thread(&mut tried).unwrap();
        remove(&tree).unwrap();
        remove(&to).unwrap();
        assert!(canary_lives(&outside));
        // A link is removed itself.
        symlink(&outside, &tree).unwrap();
        remove(&tree).unwrap();
        assert!(canary_lives(&outside) && !tree.is_symlink());
    });
}

#[test]
fn paths_are_shown_as_far_as_they_are_of_use() {
    let mut trail = Trail::default();
    let root = Path::new("/r");
    assert_eq!(trail.below(root), Path::new("/r"));
    trail.push(b"a");
    trail.push(b"b");
    assert_eq!((trail.below(root).as_path(), trail.path()), (Path::new("/r/a/b"), Some(&b"a/b"[..])));
    for _ in 0..DEPTH {
        trail.push(&[b'n'; 255]);
    }
    assert!(trail.path().is_none() && trail.path.len() <= PATH_MAX);
    assert!(trail.below(root).as_os_str().len() < 2 * SHOWN_MAX);
    (0..DEPTH).for_each(|_| trail.pop());
    assert_eq!(trail.path(), Some(&b"a/b"[..]));
    trail.pop();
    trail.pop();
    assert_eq!(trail.path(), Some(&b""[..]));
}
