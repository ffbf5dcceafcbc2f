//! Names that exist: in the bridge, in the header, in the core, in packages for Python, Node and Go.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{ImplItem, Item, TraitItem, UseTree, Visibility};

use crate::Outcome;

/// Public functions of a crate as its users spell them.
pub(crate) type Functions = BTreeSet<String>;

/// The public functions of the bridge in `folder`.
pub(crate) fn bridge(folder: &Path) -> Outcome<Functions> {
    let front = parse(&folder.join("lib.rs"))?;
    let exported: BTreeSet<String> = front.items.iter().flat_map(reexports).collect();
    let mut functions = Functions::new();
    for item in &front.items {
        let Item::Mod(module) = item else { continue };
        let alone = folder.join(format!("{}.rs", module.ident));
        let within = folder.join(module.ident.to_string()).join("mod.rs");
        let items = parse(if alone.exists() { &alone } else { &within })?.items;
        if is_public(&module.vis) {
            collect(&items, &format!("{}::", module.ident), &|_| true, &mut functions);
        } else {
            collect(&items, "", &|name| exported.contains(name), &mut functions);
        }
    }
    Ok(functions)
}

/// Names that a language's sources declare; how they are read follows from the name of the file.
pub(crate) fn declared(sources: &Path) -> Outcome<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in files(sources)? {
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("h") => names.extend(header(&fs::read_to_string(&file)?)),
            Some("rs") => rust(&parse(&file)?.items, &mut names),
            Some("go") if !file.to_string_lossy().ends_with("_test.go") => {
                go(&fs::read_to_string(&file)?, &mut names);
            }
            Some("ts") => typescript(&fs::read_to_string(&file)?, &mut names),
            Some("py" | "pyi") => python(&fs::read_to_string(&file)?, &mut names),
            _ => {}
        }
    }
    Ok(names)
}

/// Every file under `path`, or the one it is.
pub(super) fn files(path: &Path) -> Outcome<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let entries =
        fs::read_dir(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    for entry in entries {
        let entry = entry?;
        // A package may hold links to what was built.
        if entry.file_type()?.is_dir() || entry.path().is_file() {
            found.extend(files(&entry.path())?);
        }
    }
    Ok(found)
}

pub(super) fn parse(path: &Path) -> Outcome<syn::File> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Names that a `pub use` of a module brings out.
fn reexports(item: &Item) -> Vec<String> {
    match item {
        Item::Use(item) if is_public(&item.vis) => names_of(&item.tree),
        _ => Vec::new(),
    }
}

fn names_of(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => names_of(&path.tree),
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Group(group) => group.items.iter().flat_map(names_of).collect(),
        UseTree::Rename(_) | UseTree::Glob(_) => Vec::new(),
    }
}

/// Public functions among `items`: free ones, methods, those of modules; of the names that are `seen` outside.
fn collect(items: &[Item], prefix: &str, seen: &dyn Fn(&str) -> bool, functions: &mut Functions) {
    for item in items {
        match item {
            Item::Fn(item) if is_public(&item.vis) && seen(&item.sig.ident.to_string()) => {
                functions.insert(format!("{prefix}{}", item.sig.ident));
            }
            Item::Mod(module) if is_public(&module.vis) && seen(&module.ident.to_string()) => {
                let inner = module.content.as_ref().map_or(&[][..], |(_, items)| items);
                collect(inner, &format!("{prefix}{}::", module.ident), &|_| true, functions);
            }
            Item::Impl(item) if item.trait_.is_none() => {
                let Some(owner) = type_name(&item.self_ty).filter(|name| seen(name)) else {
                    continue;
                };
                for item in &item.items {
                    if let ImplItem::Fn(item) = item
                        && is_public(&item.vis)
                    {
                        functions.insert(format!("{prefix}{owner}::{}", item.sig.ident));
                    }
                }
            }
            _ => {}
        }
    }
}

fn type_name(kind: &syn::Type) -> Option<String> {
    match kind {
        syn::Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        // Of `impl dyn Locks`.
        syn::Type::TraitObject(object) => object.bounds.iter().find_map(|bound| match bound {
            syn::TypeParamBound::Trait(bound) => {
                Some(bound.path.segments.last()?.ident.to_string())
            }
            _ => None,
        }),
        _ => None,
    }
}

/// `Type::name` for every public method, field and method of a trait; the bare names of functions.
fn rust(items: &[Item], names: &mut BTreeSet<String>) {
    for item in items {
        match item {
            Item::Impl(item) if item.trait_.is_none() => {
                let Some(owner) = type_name(&item.self_ty) else { continue };
                for item in &item.items {
                    if let ImplItem::Fn(item) = item
                        && is_public(&item.vis)
                    {
                        names.insert(format!("{owner}::{}", item.sig.ident));
                    }
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                for inner in &item.items {
                    if let TraitItem::Fn(inner) = inner {
                        names.insert(format!("{}::{}", item.ident, inner.sig.ident));
                    }
                }
            }
            Item::Fn(item) if is_public(&item.vis) => {
                names.insert(item.sig.ident.to_string());
            }
            Item::Mod(module) => {
                rust(module.content.as_ref().map_or(&[][..], |(_, items)| items), names);
            }
            _ => {}
        }
    }
}

/// Every word of a header that is code.
fn header(text: &str) -> impl Iterator<Item = String> + '_ {
    let code = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with("//") && !line.starts_with('*') && !line.starts_with("/*")
    });
    let words = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| !word.is_empty()).map(str::to_owned)
}

/// `Class.name` for methods, fields and attributes, and the bare names of a module. A class is how its objects are made.
fn python(text: &str, names: &mut BTreeSet<String>) {
    let mut class = None;
    for line in text.lines() {
        let words = line.trim_start();
        let depth = line.len() - words.len();
        let words = words.strip_prefix("async ").unwrap_or(words);
        let name = |rest: &str| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            Some(rest[..end].to_owned()).filter(|name| !name.is_empty())
        };
        if depth == 0 {
            if let Some(named) = words.strip_prefix("class ").and_then(name) {
                names.insert(named.clone());
                class = Some(named);
                continue;
            }
            if let Some(named) = words.strip_prefix("def ").and_then(name) {
                names.insert(named);
                class = None;
            } else if let Some(named) = assigned(words) {
                names.insert(named);
            }
        } else if let Some(class) = &class {
            let member = match words.strip_prefix("def ").and_then(name) {
                Some(method) if depth == 4 => Some(method),
                None if depth == 4 => assigned(words),
                _ => words.strip_prefix("self.").and_then(assigned),
            };
            names.extend(member.map(|member| format!("{class}.{member}")));
        }
    }
}

/// `Type.Name` for methods, fields and methods of interfaces, and the bare names of types, functions, constants and variables.
fn go(text: &str, names: &mut BTreeSet<String>) {
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        Some(text[..end].to_owned()).filter(|name| !name.is_empty())
    };
    let mut kind = None;
    for line in text.lines() {
        if let Some(member) = line.strip_prefix('\t') {
            if let (Some(kind), Some(first)) = (&kind, name(member)) {
                // Fields may share a line: `Service, Endpoint string`.
                let mut listed = vec![first];
                let rest = member.split('`').next().unwrap_or_default();
                for piece in rest.split(", ").skip(1).filter(|_| !rest.contains('(')) {
                    listed.extend(name(piece));
                }
                names.extend(listed.iter().map(|member| format!("{kind}.{member}")));
            }
            continue;
        }
        if let Some(rest) = line.strip_prefix("type ") {
            kind = name(rest);
            names.extend(kind.clone());
        } else if let Some(rest) = line.strip_prefix("func (") {
            kind = None;
            let Some((receiver, method)) = rest.split_once(") ") else { continue };
            let owner = receiver.split_whitespace().last().unwrap_or_default();
            let owner = name(owner.trim_start_matches('*'));
            if let (Some(owner), Some(method)) = (owner, name(method)) {
                names.insert(format!("{owner}.{method}"));
            }
        } else if let Some(rest) =
            ["func ", "const ", "var "].iter().find_map(|word| line.strip_prefix(word))
        {
            kind = None;
            names.extend(name(rest));
        } else if !line.is_empty() {
            kind = None;
        }
    }
}

/// The name that a line of Python annotates or gives a value.
fn assigned(line: &str) -> Option<String> {
    let end = line.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let rest = &line[end..];
    let assigns = rest.starts_with(": ") || (rest.starts_with(" = "));
    (end > 0 && assigns).then(|| line[..end].to_owned())
}

/// `Class.name` for what a class or an interface shows, with what it inherits in its file, and the bare names that a module
/// exports. A class is how its objects are made.
fn typescript(text: &str, names: &mut BTreeSet<String>) {
    let mut parents: Vec<(String, String)> = Vec::new();
    let mut class = None;
    for line in text.lines() {
        let words = line.trim_start();
        let depth = line.len() - words.len();
        let mut parts = words.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '#');
        if depth == 0 && !words.is_empty() {
            class = None;
            let exported = words.strip_prefix("export ").unwrap_or(words);
            let mut parts = exported.split(|c: char| !c.is_alphanumeric() && c != '_');
            match (parts.next(), parts.next()) {
                (Some("class" | "interface"), Some(name)) => {
                    let parent = exported.split_once(" extends ").map(|(_, rest)| rest);
                    let parent = parent.and_then(|rest| rest.split([' ', '<', '{']).next());
                    parents.extend(parent.map(|parent| (name.to_owned(), parent.to_owned())));
                    names.insert(name.to_owned());
                    class = Some(name.to_owned());
                }
                (Some("function" | "const"), Some(name)) if exported != words => {
                    names.insert(name.to_owned());
                }
                _ => {}
            }
        } else if let Some(class) = &class
            && depth == 2
        {
            const BEFORE: [&str; 6] = ["async", "static", "readonly", "get", "set", "override"];
            let name = parts.find(|word| !BEFORE.contains(word)).unwrap_or_default();
            let after = words.find(name).map_or("", |at| &words[at + name.len()..]);
            let declares = ["(", "<", ":", "?:", "!:", " ="].iter().any(|it| after.starts_with(it));
            if declares && !name.is_empty() && !name.starts_with('#') {
                names.insert(format!("{class}.{name}"));
            }
        }
    }
    for (name, parent) in parents {
        let prefix = format!("{parent}.");
        let inherited = names.iter().filter_map(|known| known.strip_prefix(&prefix));
        let inherited: Vec<String> = inherited.map(|member| format!("{name}.{member}")).collect();
        names.extend(inherited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_shows_what_is_public_and_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("lib.rs", "mod one; pub mod two; pub use one::{Seen, bits};");
        write(
            "one.rs",
            "impl Seen { pub fn new(a: u8, b: u8) {} pub(crate) fn own(&self) {} }
             impl Hidden { pub fn new() {} } pub mod bits { pub fn of(x: u8) {} }",
        );
        write("two.rs", "pub fn free(&self) {} fn own() {}");
        let functions = bridge(folder.path()).unwrap();
        assert_eq!(functions.iter().collect::<Vec<_>>(), ["Seen::new", "bits::of", "two::free"]);
    }

    #[test]
    fn comments_of_a_header_declare_nothing() {
        let words: BTreeSet<_> =
            header("// micro_no\nint micro_yes(void);\n * micro_no\n").collect();
        assert!(words.contains("micro_yes") && !words.contains("micro_no"), "{words:?}");
    }

    #[test]
    fn python_declares_methods_fields_attributes_and_functions() {
        let text = "__version__: str\nclass A(B):\n    name: str\n    async def call(\n        self,\n    ) -> None:\n        self.code = 1\n        call = 2\n\ndef free() -> None:\n    local = 1\n";
        let mut names = BTreeSet::new();
        python(text, &mut names);
        let wanted = ["A", "A.call", "A.code", "A.name", "__version__", "free"];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn typescript_declares_what_classes_show_and_modules_export() {
        let text = "export const raw = 1\nclass Base<T> {\n  #own = 1\n  async send(message: T): Promise<void> {\n    const inner = 1\n  }\n}\nexport class A<T> extends Base<T> {\n  readonly code: number\n  get name(): string {\n  }\n  private secret: string\n}\nexport function free(): void {}\nfunction own() {}\n";
        let mut names = BTreeSet::new();
        typescript(text, &mut names);
        let wanted = ["A", "A.code", "A.name", "A.send", "Base", "Base.send", "free", "raw"];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn go_declares_methods_fields_functions_and_methods_of_interfaces() {
        let text = "type A struct {\n\tId string `json:\"id\"`\n\tService, Endpoint string\n}\n\ntype B interface {\n\tCall(ctx context.Context, a, b int) error\n}\n\nfunc (a *A) Close() error {\n\tlocal := 1\n}\n\nfunc Free[T any](t T) {}\n";
        let mut names = BTreeSet::new();
        go(text, &mut names);
        let wanted = ["A", "A.Close", "A.Endpoint", "A.Id", "A.Service", "B", "B.Call", "Free"];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), wanted);
    }
}
