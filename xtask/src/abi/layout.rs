//! Where the fields of structs are, as Rust has them and as C has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::{align_of, offset_of};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Structs by their names.
pub(crate) type Layout = BTreeMap<String, Struct>;

/// A struct of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Struct {
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) fields: Vec<Field>,
}

/// A field, in the order of the struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

macro_rules! layout {
    ($($name:ident { $($field:ident),* })*) => {{
        let mut layout = Layout::new();
        $(
            // A field that is missing here does not compile.
            let _ = |whole: micro_ffi::$name| {
                let micro_ffi::$name { $($field: _),* } = whole;
            };
            let fields = vec![$(Field {
                name: stringify!($field).to_owned(),
                offset: offset_of!(micro_ffi::$name, $field),
                size: size_of_field(|whole: &micro_ffi::$name| &whole.$field),
            }),*];
            layout.insert(stringify!($name).to_owned(), Struct {
                size: size_of::<micro_ffi::$name>(),
                align: align_of::<micro_ffi::$name>(),
                fields,
            });
        )*
        layout
    }};
}

/// As the library has them, on this machine.
pub(crate) fn of_library() -> Layout {
    layout! {
        micro_bytes { ptr, len, own }
        micro_event { kind, flags, status, id, token, method, reserved, timeout_ns, payload, meta, error }
        micro_message { size, flags, topic, meta, payload, timeout_ns, parent, options }
        micro_meta { blocks, at, read }
        micro_options { size, flags, json, argc, reserved, argv }
        micro_request { size, flags, service, method, meta, payload, timeout_ns, parent, options }
        micro_question { size, flags, operation, reserved, args, payload, meta, timeout_ns, parent }
        micro_slice { ptr, len }
    }
}

fn size_of_field<S, F>(_: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// Names of the structs that `header` declares, whose fields are no secret.
pub(crate) fn declared(header: &str) -> Vec<String> {
    let ends = header.lines().filter_map(|line| line.strip_prefix("} ")?.strip_suffix(';'));
    let mut names: Vec<String> = ends.map(str::to_owned).collect();
    names.sort();
    names
}

/// The structs of `like` as a C compiler has them that reads the header in `folder`; `width` is `-m64` or `-m32`, and `None`
/// means that the compiler does not know it.
pub(crate) fn of_header(folder: &Path, like: &Layout, width: &str) -> Outcome<Option<Layout>> {
    if !run(folder, width, "int micro;\n")?.status.success() {
        return Ok(None);
    }
    let output = run(folder, width, &program(like))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the C compiler misses something in the header:\n{why}").into());
    }
    read(&String::from_utf8(output.stdout)?, like).map(Some)
}

fn run(folder: &Path, width: &str, program: &str) -> Outcome<std::process::Output> {
    let path = folder.join("layout.c");
    std::fs::write(&path, program)?;
    let compiler = Command::new("cc")
        .args(["-std=gnu11", "-ffreestanding", width, "-S", "-o", "-", "-I"])
        .arg(folder)
        .arg(&path)
        .output();
    compiler.map_err(|error| format!("cannot run cc: {error}").into())
}

/// A program that says its numbers in the assembly it becomes, so that none has to be run: the 32-bit ones may not.
fn program(like: &Layout) -> String {
    let mut program = String::from(
        "#include \"micro.h\"\n\
         #define SAY(number) __asm__ volatile(\"\\n#micro %c0\" : : \"i\"(number))\n\
         void layout(void);\nvoid layout(void)\n{\n",
    );
    for (name, Struct { fields, .. }) in like {
        // Writing to a string cannot fail.
        let _ = writeln!(program, "    SAY(sizeof({name}));\n    SAY(_Alignof({name}));");
        for Field { name: field, .. } in fields {
            let _ = writeln!(program, "    SAY(offsetof({name}, {field}));");
            let _ = writeln!(program, "    SAY(sizeof((({name} *)0)->{field}));");
        }
    }
    program + "}\n"
}

fn read(assembly: &str, like: &Layout) -> Outcome<Layout> {
    let mut numbers = assembly
        .lines()
        .filter_map(|line| line.strip_prefix("#micro ")?.trim().parse::<usize>().ok());
    let mut next = || numbers.next().ok_or("the C compiler says less than was asked");
    let mut layout = Layout::new();
    for (name, Struct { fields, .. }) in like {
        let (size, align) = (next()?, next()?);
        let mut found = Vec::new();
        for Field { name, .. } in fields {
            found.push(Field { name: name.clone(), offset: next()?, size: next()? });
        }
        layout.insert(name.clone(), Struct { size, align, fields: found });
    }
    Ok(layout)
}

/// Where two layouts disagree, a line each.
pub(crate) fn differences(library: &Layout, header: &Layout) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, ours) in library {
        match header.get(name) {
            Some(theirs) if theirs == ours => {}
            theirs => {
                lines.push(format!("{name}: the library has {ours:?}, the header {theirs:?}"))
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn header() -> String {
        fs::read_to_string(crate::root().join("include/micro.h")).unwrap()
    }

    fn of(header: &str) -> Layout {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("micro.h"), header).unwrap();
        let width = if cfg!(target_pointer_width = "64") { "-m64" } else { "-m32" };
        of_header(folder.path(), &of_library(), width).unwrap().unwrap()
    }

    #[test]
    fn c_has_the_fields_where_rust_has_them() {
        assert_eq!(differences(&of_library(), &of(&header())), Vec::<String>::new());
        assert_eq!(declared(&header()), of_library().into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn fields_that_changed_places_are_seen() {
        let swapped = header().replace("uint32_t method;", "uint64_t wide;\n    uint32_t method;");
        let lines = differences(&of_library(), &of(&swapped));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("micro_event:"), "{lines:?}");
    }

    #[test]
    fn a_field_that_is_gone_does_not_compile() {
        let folder = tempfile::tempdir().unwrap();
        let gone = header().replace("uint32_t reserved;", "");
        fs::write(folder.path().join("micro.h"), gone).unwrap();
        let error = of_header(folder.path(), &of_library(), "-m64").unwrap_err().to_string();
        assert!(error.contains("reserved"), "{error}");
    }
}
