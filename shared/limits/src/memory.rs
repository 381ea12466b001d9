//! The memory that this machine has left for this process.
//!
//! Linux tells how much it could allocate without swapping (`MemAvailable`); a control group, in which a
//! container or service runs, may allow less. Other systems are not asked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Bytes;

/// An error: more memory is needed than this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of memory are needed, this machine has {} free", Bytes(*needed), Bytes(*available))]
pub struct Shortage {
    /// Number of bytes of memory that are needed.
    pub needed: u64,
    /// Number of bytes of memory that this process could still allocate without swapping.
    pub available: u64,
}

/// Checks that this machine has `needed` bytes of memory left.
///
/// # Errors
/// [`Shortage`] if it has less. On a system that does not tell how much it has, the check passes.
pub fn check(needed: u64) -> Result<(), Shortage> {
    match available() {
        Some(available) if available < needed => Err(Shortage { needed, available }),
        _ => Ok(()),
    }
}

/// Returns the number of bytes that this process could allocate now without swapping, or `None` on a system
/// that does not tell.
pub fn available() -> Option<u64> {
    available_under(Path::new("/"))
}

/// Computes [`available`] with another root of the file system.
fn available_under(root: &Path) -> Option<u64> {
    let machine = machine(&fs::read_to_string(root.join("proc/meminfo")).ok()?)?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let left = groups.lines().filter_map(|line| group_left(root, line));
    Some(left.fold(machine, u64::min))
}

/// Returns the value of `MemAvailable` in the text of `/proc/meminfo`, in bytes.
fn machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files of one version of control groups.
struct Version {
    mount: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Names of the lines of `memory.stat` with the memory that caches files and can be freed.
    cached: [&'static str; 2],
}

const ONE: Version = Version {
    mount: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};

const TWO: Version = Version {
    mount: "sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    cached: ["inactive_file", "active_file"],
};

/// Returns the number of bytes that the group of a line of `/proc/self/cgroup` and the groups above it still
/// allow, or `None` if they set no limit.
fn group_left(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = match controllers {
        "" => &TWO,
        controllers if controllers.split(',').any(|controller| controller == "memory") => &ONE,
        _ => return None,
    };
    let mount = root.join(version.mount);
    // In a container the path may be that of outside; then the mounted folder is the group's own.
    let group = mount.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|folder| folder.starts_with(&mount)).map(PathBuf::from);
    groups.filter_map(|folder| left(&folder, version)).min()
}

fn left(group: &Path, version: &Version) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number(version.limit)?, number(version.used)?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cached = version.cached.iter().filter_map(|name| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    });
    Some(limit.saturating_sub(used.saturating_sub(cached.sum())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// Makes a file system with these files.
    fn machine_of(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:    800 kB\nSwapFree: 9 kB\n");

    fn found(files: &[(&str, &str)]) -> Option<u64> {
        available_under(machine_of(files).path())
    }

    #[test]
    fn a_machine_without_groups_has_what_it_could_give_without_swapping() {
        assert_eq!(found(&[MEMINFO]), Some(800 * 1024));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("proc/meminfo", "MemTotal: 1000 kB\n")]), None);
        let unlimited = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!(found(&unlimited), Some(800 * 1024));
    }

    #[test]
    fn the_strictest_group_above_counts_and_its_cached_files_make_room() {
        let two = [
            MEMINFO,
            ("proc/self/cgroup", "0::/services/ours\n"),
            ("sys/fs/cgroup/services/memory.max", "500000\n"),
            ("sys/fs/cgroup/services/memory.current", "450000\n"),
            (
                "sys/fs/cgroup/services/memory.stat",
                "anon 1\nfile 9\ninactive_file 100000\nactive_file 50000\n",
            ),
            ("sys/fs/cgroup/services/ours/memory.max", "max\n"),
            ("sys/fs/cgroup/services/ours/memory.current", "10\n"),
        ];
        assert_eq!(found(&two), Some(200_000));
        let one = [
            MEMINFO,
            ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/outside/of/here\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "300000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "400000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 50000\ninactive_file 7\n"),
        ];
        assert_eq!(found(&one), Some(0));
    }

    #[test]
    fn what_is_too_much_for_any_machine_is_told_with_both_numbers() {
        check(0).unwrap();
        if let Some(free) = available() {
            assert!(free > 0);
            let shortage = check(u64::MAX).unwrap_err();
            assert_eq!(shortage.needed, u64::MAX);
            let text = Shortage { needed: 4658 << 30, available: 23 << 30 }.to_string();
            assert_eq!(text, "4,658 GiB of memory are needed, this machine has 23 GiB free");
        }
    }
}
