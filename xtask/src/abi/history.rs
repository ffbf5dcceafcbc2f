//! What earlier versions promised: all of it must still be there, as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::{Field, Layout, Struct};
use crate::Outcome;

/// Structs that only ever grow, because callers say how large theirs is; all others stay as they are.
const GROWING: [&str; 5] =
    ["micro_event", "micro_message", "micro_options", "micro_question", "micro_request"];

/// Everything that programs rely on once they are compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Abi {
    /// Functions by name: the types they take and return.
    pub(crate) functions: BTreeMap<String, String>,
    /// Constants by name, as C reads them.
    pub(crate) constants: BTreeMap<String, String>,
    /// Layouts by pointer width.
    pub(crate) layout: BTreeMap<String, Layout>,
}

/// Constants that say which version this is.
const VERSION: [&str; 2] = ["MICRO_ABI_MAJOR", "MICRO_ABI_MINOR"];

impl Abi {
    /// The version, as its file is called.
    pub(crate) fn version(&self) -> Outcome<String> {
        let [Some(major), Some(minor)] = VERSION.map(|name| self.constants.get(name)) else {
            return Err(format!("the header does not say {}", VERSION.join(" and ")).into());
        };
        Ok(format!("{major}.{minor}"))
    }

    /// What of `before` is not there any more, a line each.
    fn breaks(&self, before: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, signature) in &before.functions {
            match self.functions.get(name) {
                None => lines.push(format!("{name} is gone")),
                Some(now) if now != signature => {
                    lines.push(format!("{name} was {signature} and is {now}"));
                }
                Some(_) => {}
            }
        }
        for (name, value) in &before.constants {
            match self.constants.get(name) {
                _ if VERSION.contains(&name.as_str()) => {}
                None => lines.push(format!("{name} is gone")),
                Some(now) if now != value => lines.push(format!("{name} was {value} and is {now}")),
                Some(_) => {}
            }
        }
        for (width, layout) in &before.layout {
            for (name, was) in layout {
                match self.layout.get(width).and_then(|layout| layout.get(name)) {
                    None => lines.push(format!("{name} ({width}-bit) is gone")),
                    Some(now) => lines.extend(moved(name, width, was, now)),
                }
            }
        }
        lines
    }
}

/// What a struct promised and does not keep.
fn moved(name: &str, width: &str, was: &Struct, now: &Struct) -> Option<String> {
    let kept = was.fields.iter().all(|field: &Field| now.fields.contains(field));
    let may_grow = GROWING.contains(&name);
    let fits = now.size == was.size || (may_grow && now.size > was.size);
    (!kept || !fits || now.align != was.align)
        .then(|| format!("{name} ({width}-bit) was {was:?} and is {now:?}"))
}

/// How `now` breaks what the files of `folder` promise, a line each. The file of its own version says exactly this.
pub(crate) fn breaches(folder: &Path, now: &Abi) -> Outcome<Vec<String>> {
    let version = now.version()?;
    let mut lines = Vec::new();
    let mut known = false;
    let major = version.split('.').next();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let before: Abi = serde_json::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let name = before.version()?;
        if name.split('.').next() == major {
            let breaks = now.breaks(&before);
            if name == version {
                known = true;
                if breaks.is_empty() && *now != before {
                    lines.push(format!(
                        "something was added since {name}: raise MICRO_ABI_MINOR in ffi/c/src/abi.rs"
                    ));
                }
            }
            lines.extend(breaks.into_iter().map(|line| format!("since {name}, {line}")));
        }
    }
    if !known {
        lines.push(format!("{version} has no file in ffi/c/abi/history"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, offset: usize) -> Field {
        Field { name: name.into(), offset, size: 4 }
    }

    fn abi(minor: &str) -> Abi {
        let whole = |fields: Vec<Field>| Struct { size: 4 * fields.len(), align: 4, fields };
        let layout = Layout::from([
            ("micro_event".into(), whole(vec![field("kind", 0), field("flags", 4)])),
            ("micro_slice".into(), whole(vec![field("ptr", 0), field("len", 4)])),
        ]);
        let text = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
        };
        Abi {
            functions: text(&[("micro_a", "()"), ("micro_b", "(u32)")]),
            constants: text(&[
                ("MICRO_ABI_MAJOR", "1"),
                ("MICRO_ABI_MINOR", minor),
                ("MICRO_OK", "0"),
            ]),
            layout: BTreeMap::from([("64".into(), layout)]),
        }
    }

    /// What is wrong with version 1.1, when 1.0 was that of above.
    fn after(change: impl FnOnce(&mut Abi)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut now = abi("1");
        change(&mut now);
        for abi in [&abi("0"), &now] {
            let path = folder.path().join(format!("{}.json", abi.version().unwrap()));
            fs::write(path, serde_json::to_string(abi).unwrap()).unwrap();
        }
        breaches(folder.path(), &now).unwrap()
    }

    #[test]
    fn additions_break_nothing() {
        let lines = after(|now| {
            now.functions.insert("micro_c".into(), "()".into());
            now.constants.insert("MICRO_NEW".into(), "7".into());
            let event = now.layout.get_mut("64").unwrap().get_mut("micro_event").unwrap();
            event.fields.push(field("more", 8));
            event.size = 12;
        });
        assert_eq!(lines, Vec::<String>::new());
    }

    #[test]
    fn what_is_gone_or_different_is_named() {
        let lines = after(|now| {
            now.functions.remove("micro_a");
            now.functions.insert("micro_b".into(), "(u64)".into());
            now.constants.insert("MICRO_OK".into(), "1".into());
            now.layout.get_mut("64").unwrap().get_mut("micro_event").unwrap().fields.swap_remove(0);
        });
        assert_eq!(lines.len(), 4, "{lines:?}");
        for what in ["micro_a is gone", "micro_b was (u32)", "MICRO_OK was 0", "micro_event (64"] {
            assert!(lines.iter().any(|line| line.contains(what)), "{what}: {lines:?}");
        }
    }

    #[test]
    fn structs_that_travel_by_value_do_not_grow() {
        let lines = after(|now| {
            let slice = now.layout.get_mut("64").unwrap().get_mut("micro_slice").unwrap();
            slice.fields.push(field("more", 8));
            slice.size = 12;
        });
        assert!(lines[0].contains("micro_slice"), "{lines:?}");
    }

    #[test]
    fn an_addition_needs_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let mut now = abi("0");
        assert!(breaches(folder.path(), &now).unwrap()[0].contains("no file"));
        fs::write(folder.path().join("1.0.json"), serde_json::to_string(&now).unwrap()).unwrap();
        assert!(breaches(folder.path(), &now).unwrap().is_empty());
        now.functions.insert("micro_c".into(), "()".into());
        assert!(breaches(folder.path(), &now).unwrap()[0].contains("MICRO_ABI_MINOR"));
    }
}
