//! What is made before a fork, and anew in a child.

/// Makes everything that this library shares in a process and that is otherwise made at its first use, but for what [`hold`](super::hold)
/// waits for. A thread that does so while another one forks would leave a child in which it is never made; call this where no
/// fork can come in between.
pub fn warm_up() {
    crate::server::warm_up();
    crate::selector::warm_up();
    crate::transport::warm_up();
    crate::registry::warm_up();
    crate::broker::warm_up();
    crate::store::warm_up();
    crate::config::warm_up();
    crate::sync::warm_up();
    // The seed of its hashes, and its idea of the machine.
    let map = papaya::HashMap::<u64, u64, foldhash::fast::RandomState>::default();
    map.pin().insert(1, 1);
    map.pin().remove(&1);
    warm_up_thread();
}

/// As [`warm_up`], for what each thread has of its own and takes from a store of the process.
pub fn warm_up_thread() {
    let map = papaya::HashMap::<u64, u64, foldhash::fast::RandomState>::default();
    let _ = map.pin().get(&1);
    let _ = fastrand::u8(..);
}

/// What the thread that forked has to do in the child before anything else: no two children may draw the same numbers, and what
/// processes share by name, such as `memory://shop`, is each one's own.
pub fn in_child() {
    super::generation::begin();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos() as u64);
    fastrand::seed(now ^ (u64::from(std::process::id()) << 32));
    crate::transport::in_child();
    crate::registry::in_child();
    crate::broker::in_child();
    crate::store::in_child();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The sources below `folder`.
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => sources(&path, found),
                path => found.push(std::fs::read_to_string(path).unwrap_or_default()),
            }
        }
    }

    #[test]
    fn whatever_is_made_at_its_first_use_is_made_before() {
        let mut all = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let mut lazy = 0;
        for source in &all {
            for line in
                source.lines().filter(|line| !line.starts_with(' ') && line.contains("static "))
            {
                let Some((name, kind)) =
                    line.split_once("static ").and_then(|(_, rest)| rest.split_once(':'))
                else {
                    continue;
                };
                if kind.contains("LazyLock<") || kind.contains("OnceLock<") {
                    lazy += 1;
                    assert!(
                        source.contains(&format!("LazyLock::force(&{name})"))
                            || source.contains("let _making = hold();"),
                        "warm_up leaves out {name}"
                    );
                }
            }
        }
        assert!(lazy > 3, "the search finds nothing");
    }
}
