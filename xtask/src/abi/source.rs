//! What the sources of the C ABI say: modules in their order, what each of them exports, and the rules of exported functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Expr, FnArg, ImplItem, Item, ItemFn, Lit, Meta, ReturnType};

use crate::Outcome;

/// Lines of an exported function that say something. What needs more belongs elsewhere.
const LONGEST: usize = 12;

/// Keeps panics inside; a function that calls it, directly or not, is guarded.
const GUARD: &str = "guard";

/// Functions that cannot panic: they copy numbers and pointers, or hand memory back.
const TRIVIAL: [&str; 7] = [
    "micro_abi_version",
    "micro_bytes_copy",
    "micro_bytes_release",
    "micro_bytes_wrap",
    "micro_debug_live",
    "micro_status_name",
    "micro_version",
];

/// The sources, module by module, in the order of the header.
pub(crate) struct Source {
    pub(crate) modules: Vec<Module>,
    /// Names of functions through which no panic goes: all functions of that name are guarded.
    guarding: BTreeSet<String>,
}

/// A file of the C ABI.
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    /// The first sentence of its documentation.
    pub(crate) title: String,
    /// Everything public that is declared in it.
    pub(crate) names: BTreeSet<String>,
    functions: Vec<Function>,
}

/// An exported function.
struct Function {
    name: String,
    /// Types of its arguments and its result.
    signature: String,
    calls: BTreeSet<String>,
    lines: usize,
}

impl Source {
    /// Reads the folder of `lib.rs`.
    pub(crate) fn read(folder: &Path) -> Outcome<Self> {
        let mut modules = Vec::new();
        let mut bodies = Vec::new();
        for item in parse(&folder.join("lib.rs"))?.1.items {
            if let Item::Mod(module) = item {
                let path = folder.join(format!("{}.rs", module.ident));
                let (text, file) = parse(&path)?;
                modules.push(Module::of(path, &text, &file));
                bodies.extend(file.items.iter().flat_map(bodies_of));
            }
        }
        Ok(Self { modules, guarding: guarding(&bodies) })
    }

    /// Names of the exported functions, and the types they take and return.
    pub(crate) fn functions(&self) -> BTreeMap<String, String> {
        self.all().map(|function| (function.name.clone(), function.signature.clone())).collect()
    }

    /// What breaks the rules of exported functions, a line each.
    pub(crate) fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for Function { name, calls, lines, .. } in self.all() {
            let guarded = calls.iter().any(|called| self.guarding.contains(called));
            if guarded == TRIVIAL.contains(&name.as_str()) {
                breaches.push(if guarded {
                    format!("{name} is guarded, and listed as one that need not be")
                } else {
                    format!("{name} lets panics out: its work goes through `answer` or `guard`")
                });
            }
            if *lines > LONGEST {
                breaches.push(format!("{name} has {lines} lines: at most {LONGEST}"));
            }
        }
        breaches
    }

    fn all(&self) -> impl Iterator<Item = &Function> {
        self.modules.iter().flat_map(|module| &module.functions)
    }
}

impl Module {
    fn of(path: PathBuf, text: &str, file: &syn::File) -> Self {
        let mut names = BTreeSet::new();
        let mut functions = Vec::new();
        for item in &file.items {
            let name = match item {
                Item::Const(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Struct(item) => &item.ident,
                Item::Fn(item) if is_exported(item) => {
                    functions.push(Function::of(text, item));
                    &item.sig.ident
                }
                _ => continue,
            };
            names.insert(name.to_string());
        }
        Self { file: path, title: title(&file.attrs), names, functions }
    }
}

impl Function {
    fn of(text: &str, item: &ItemFn) -> Self {
        let name = item.sig.ident.to_string();
        let inputs: Vec<String> = item.sig.inputs.iter().map(type_of).collect();
        let output = match &item.sig.output {
            ReturnType::Default => String::new(),
            ReturnType::Type(_, kind) => format!(" -> {}", spelled(kind.to_token_stream())),
        };
        let signature = format!("({}){output}", inputs.join(", "));
        let lines = lines_of(text, &name);
        Self { signature, calls: calls(item.block.to_token_stream()), lines, name }
    }
}

fn parse(path: &Path) -> Outcome<(String, syn::File)> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let file = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((text, file))
}

fn is_exported(item: &ItemFn) -> bool {
    item.attrs.iter().any(|attribute| {
        attribute.meta.to_token_stream().to_string().replace(' ', "") == "unsafe(no_mangle)"
    })
}

/// The first sentence of a file's documentation.
fn title(attributes: &[Attribute]) -> String {
    let mut lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(value) => match &value.lit {
                Lit::Str(line) => Some(line.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.next().unwrap_or_default().trim().trim_end_matches('.').to_owned()
}

fn type_of(argument: &FnArg) -> String {
    match argument {
        FnArg::Typed(typed) => spelled(typed.ty.to_token_stream()),
        FnArg::Receiver(receiver) => spelled(receiver.to_token_stream()),
    }
}

fn spelled(tokens: TokenStream) -> String {
    tokens.to_string().replace("* ", "*")
}

/// The functions and methods of an item: name and what they call.
fn bodies_of(item: &Item) -> Vec<(String, BTreeSet<String>)> {
    let body =
        |name: &syn::Ident, block: &syn::Block| (name.to_string(), calls(block.to_token_stream()));
    match item {
        Item::Fn(item) => vec![body(&item.sig.ident, &item.block)],
        Item::Impl(item) => item
            .items
            .iter()
            .filter_map(|item| match item {
                ImplItem::Fn(item) => Some(body(&item.sig.ident, &item.block)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Names that are followed by an argument list.
fn calls(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => last = Some(name.to_string()),
            TokenTree::Group(group) => {
                if group.delimiter() == proc_macro2::Delimiter::Parenthesis {
                    found.extend(last.take());
                }
                found.extend(calls(group.stream()));
                last = None;
            }
            _ => last = None,
        }
    }
    found
}

/// Names that are guarded in each of their functions.
fn guarding(bodies: &[(String, BTreeSet<String>)]) -> BTreeSet<String> {
    let mut guarding = BTreeSet::from([GUARD.to_owned()]);
    loop {
        let open = |name: &str, guarding: &BTreeSet<String>| {
            bodies.iter().any(|(other, calls)| other == name && calls.is_disjoint(guarding))
        };
        let more: Vec<String> = bodies
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| !guarding.contains(name) && !open(name, &guarding))
            .collect();
        if more.is_empty() {
            return guarding;
        }
        guarding.extend(more);
    }
}

/// Lines of a function's body, without comments and without those that only open or close something. The format is
/// rustfmt's, so a function ends where a line is a lone brace.
fn lines_of(text: &str, name: &str) -> usize {
    let begins = format!(" fn {name}(");
    text.lines()
        .skip_while(|line| !line.contains(&begins))
        .skip_while(|line| !line.ends_with('{'))
        .skip(1)
        .take_while(|line| *line != "}")
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && *line != "unsafe {")
        .filter(|line| !line.chars().all(|c| "{}()[],;?".contains(c)))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTED: &str = "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn";

    /// Reads a crate of one module.
    fn read(module: &str) -> Source {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lib.rs"), "mod one;").unwrap();
        fs::write(folder.path().join("one.rs"), module).unwrap();
        Source::read(folder.path()).unwrap()
    }

    #[test]
    fn the_exported_functions_follow_the_rules() {
        let source = Source::read(&crate::root().join("ffi/c/src")).unwrap();
        assert_eq!(source.breaches(), Vec::<String>::new());
        let trivial = TRIVIAL.iter().filter(|name| source.functions().contains_key(**name));
        assert_eq!(trivial.count(), TRIVIAL.len(), "the list names what is gone");
    }

    #[test]
    fn a_function_that_lets_panics_out_is_named() {
        let breaches = read(&format!("{EXPORTED} micro_a() {{\n    work();\n}}")).breaches();
        assert!(breaches[0].starts_with("micro_a lets panics out"), "{breaches:?}");
    }

    #[test]
    fn a_function_may_be_guarded_by_the_one_it_calls_if_all_of_that_name_are() {
        let direct = format!("{EXPORTED} micro_a() {{\n    wrap();\n}}");
        let wrap = "fn wrap() {\n    guard(|| work());\n}";
        assert!(read(&format!("{direct}\n{wrap}")).breaches().is_empty());
        let other = "impl X {\n    fn wrap() {\n        work();\n    }\n}";
        assert_eq!(read(&format!("{direct}\n{wrap}\n{other}")).breaches().len(), 1);
    }

    #[test]
    fn a_long_function_is_named() {
        let body = "    guard();\n".repeat(13);
        let breaches = read(&format!("{EXPORTED} micro_a() {{\n{body}}}")).breaches();
        assert_eq!(breaches, ["micro_a has 13 lines: at most 12"]);
    }

    #[test]
    fn signatures_are_types() {
        let text = format!(
            "{EXPORTED} micro_a(x: *const micro_b, n: usize) -> micro_status {{\n    guard()\n}}"
        );
        assert_eq!(read(&text).functions()["micro_a"], "(*const micro_b, usize) -> micro_status");
    }
}
