//! `include/micro.h`: written by cbindgen, put in order for people to read.

use std::collections::BTreeMap;
use std::path::Path;

use cbindgen::{Builder, Config};

use super::source::Source;
use crate::Outcome;

/// What fits on a line of the header.
const WIDTH: usize = 120;

/// The header of the crate in `folder`, section by section in the order of its modules.
pub(crate) fn generate(folder: &Path, source: &Source) -> Outcome<String> {
    let config = Config::from_file(folder.join("cbindgen.toml"))?;
    // File by file: given a crate, it would have to ask cargo what that is.
    let files = source.modules.iter().map(|module| &module.file);
    let builder = files.fold(Builder::new().with_config(config), Builder::with_src);
    let bindings = builder.generate().map_err(|error| format!("cbindgen: {error}"))?;
    let mut written = Vec::new();
    bindings.write(&mut written);
    arrange(&String::from_utf8(written)?, source)
}

/// Constants of a header by name, as C reads them.
pub(crate) fn constants(header: &str) -> BTreeMap<String, String> {
    let words = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' '));
    words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// cbindgen's order is constants, types, functions; readers want what belongs together in one place.
fn arrange(written: &str, source: &Source) -> Outcome<String> {
    let mut head = Vec::new();
    let mut objects = Vec::new();
    let mut sections: Vec<Vec<String>> = source.modules.iter().map(|_| Vec::new()).collect();
    for paragraph in paragraphs(written) {
        let Some(name) = declared(&paragraph) else {
            if !is_end(&paragraph) {
                head.push(paragraph);
            }
            continue;
        };
        if is_opaque(&paragraph) {
            objects.push(paragraph);
            continue;
        }
        let place = source.modules.iter().position(|module| module.names.contains(&name));
        let place = place.ok_or_else(|| format!("the header has {name}, and no module does"))?;
        sections[place].push(paragraph);
    }
    let mut out = head.join("\n\n");
    out += "\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif";
    section(&mut out, "Objects: what they are is the library's secret", &objects);
    for (module, paragraphs) in source.modules.iter().zip(&sections) {
        section(&mut out, &module.title, paragraphs);
    }
    out += "\n\n#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n\n#endif /* MICRO_H */\n";
    Ok(out)
}

fn section(out: &mut String, title: &str, paragraphs: &[String]) {
    if paragraphs.is_empty() {
        return;
    }
    *out += &format!("\n\n/*\n * {title}\n */");
    let mut list = false;
    for paragraph in paragraphs {
        // Constants that need one line each stand together.
        let short = paragraph.lines().count() == 2 && paragraph.contains("\n#define ");
        *out += if list && short { "\n" } else { "\n\n" };
        *out += &reflow(paragraph);
        list = short;
    }
}

/// What blank lines separate.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match paragraphs.last_mut() {
            _ if line.is_empty() => open = false,
            Some(last) if open => {
                last.push('\n');
                last.push_str(line);
            }
            _ => {
                paragraphs.push(line.to_owned());
                open = true;
            }
        }
    }
    paragraphs
}

/// The name that a paragraph declares; `None` for what frames the header.
fn declared(paragraph: &str) -> Option<String> {
    let declaration = declaration(paragraph);
    let first = declaration.lines().next()?;
    if let Some(constant) = first.strip_prefix("#define ") {
        return constant.split_once(' ').map(|(name, _)| name.to_owned());
    }
    if first.starts_with('#') || first.starts_with("/*") || first.starts_with('}') {
        return None;
    }
    if first.starts_with("typedef") {
        let named = match declaration.split_once("(*") {
            Some((_, pointer)) if !first.ends_with('{') => pointer.split(')').next()?,
            _ => declaration.trim_end_matches(';').rsplit([' ', '*']).next()?,
        };
        return Some(named.to_owned());
    }
    declaration.split_once('(')?.0.rsplit([' ', '*']).next().map(str::to_owned)
}

/// A paragraph without its documentation.
fn declaration(paragraph: &str) -> &str {
    let mut rest = paragraph;
    while rest.starts_with("//") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

fn is_opaque(paragraph: &str) -> bool {
    let declaration = declaration(paragraph);
    declaration.starts_with("typedef struct ") && !declaration.contains('{')
}

/// The frame is written anew around all of the sections.
fn is_end(paragraph: &str) -> bool {
    paragraph.contains("__cplusplus") || paragraph.starts_with("#endif")
}

/// A prototype that fits on one line stands on one.
fn reflow(paragraph: &str) -> String {
    let declaration = declaration(paragraph);
    if declaration.starts_with("typedef") || !declaration.contains("(") {
        return paragraph.to_owned();
    }
    let line = declaration.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if line.len() > WIDTH {
        return paragraph.to_owned();
    }
    format!("{}{line}", &paragraph[..paragraph.len() - declaration.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_is_declared() {
        for (paragraph, name) in [
            ("// Doc.\n#define MICRO_A 1", Some("MICRO_A")),
            ("// Doc.\n//\n// More.\ntypedef int32_t micro_a;", Some("micro_a")),
            ("typedef struct micro_a micro_a;", Some("micro_a")),
            ("typedef struct {\n    // F (x).\n    void (*f)(int);\n} micro_a;", Some("micro_a")),
            ("typedef void (*micro_fn)(void *ctx);", Some("micro_fn")),
            ("micro_a *micro_new(int x,\n             int y);", Some("micro_new")),
            ("#ifndef MICRO_H\n#define MICRO_H", None),
            ("/*\n * Title\n */", None),
        ] {
            assert_eq!(declared(paragraph).as_deref(), name, "{paragraph}");
        }
    }

    #[test]
    fn short_prototypes_are_one_line() {
        let short = "// Doc.\nint micro_a(int x,\n            int y);";
        assert_eq!(reflow(short), "// Doc.\nint micro_a(int x, int y);");
        let long = format!("int micro_a(int {},\n            int y);", "x".repeat(120));
        assert_eq!(reflow(&long), long);
    }

    #[test]
    fn constants_are_what_c_reads() {
        let constants = constants("#define MICRO_H\n#define MICRO_A 7\nint a;\n");
        assert_eq!(constants, BTreeMap::from([("MICRO_A".to_owned(), "7".to_owned())]));
    }
}
