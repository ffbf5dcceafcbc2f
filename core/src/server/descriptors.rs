//! How many connections the system lets this process have.

/// Descriptors kept for files, registries and connections of clients: an eighth of all, and so many at least.
const KEPT: usize = 64;
/// Connections that are taken however few descriptors there are.
const LEAST: usize = 16;

/// Connections that leave descriptors for everything else; `None` where the system does not tell.
pub(super) fn connections() -> Option<usize> {
    open_files().map(beside_others)
}

fn beside_others(descriptors: usize) -> usize {
    descriptors.saturating_sub((descriptors / 8).max(KEPT)).max(LEAST)
}

#[cfg(target_os = "linux")]
fn open_files() -> Option<usize> {
    soft_limit(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

#[cfg(not(target_os = "linux"))]
fn open_files() -> Option<usize> {
    None
}

/// The limit in force, out of what Linux says of a process.
#[cfg(any(target_os = "linux", test))]
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read_and_some_descriptors_are_kept() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited            unlimited"), None);
        assert_eq!([8192, 1024, 256, 20].map(beside_others), [7168, 896, 192, LEAST]);
    }
}
