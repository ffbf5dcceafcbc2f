//! The files of a crate: its modules, the names they define, and the paths they mention.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Expr, Ident, Item, ItemEnum, ItemMod, ItemUse, Lit, Meta, UseTree, Visibility,
};

use super::scope::{Meaning, Mention, Module, Path};
use super::tokens::{self, is_left_out};
use crate::Outcome;

/// A crate, from the file it starts at.
#[derive(Debug)]
pub(super) struct Sources {
    /// Its files, as seen from the root of the workspace.
    pub(super) files: Vec<String>,
    /// Its modules, the root first.
    pub(super) modules: Vec<Module>,
    pub(super) mentions: Vec<Mention>,
    root: PathBuf,
}

impl Sources {
    /// Reads the crate that starts at the file `start`, below `root`.
    pub(super) fn read(root: &FilePath, start: &FilePath) -> Outcome<Self> {
        let mut sources = Self {
            files: Vec::new(),
            modules: Vec::new(),
            mentions: Vec::new(),
            root: root.to_owned(),
        };
        let folder = start.parent().unwrap_or(root);
        sources.file(start, folder, None)?;
        Ok(sources)
    }

    /// Reads a module from its file; modules below it are in `folder`.
    fn file(
        &mut self,
        path: &FilePath,
        folder: &FilePath,
        parent: Option<usize>,
    ) -> Outcome<usize> {
        let shown = path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        let text =
            fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let parsed = syn::parse_file(&text).map_err(|error| format!("{shown}: {error}"))?;
        self.files.push(shown);
        let number = self.modules.len();
        self.modules.push(Module::new(self.files.len() - 1, parent));
        if !is_for_tests(&parsed.attrs) {
            self.items(number, &parsed.items, folder, path)?;
        }
        Ok(number)
    }

    fn items(
        &mut self,
        module: usize,
        items: &[Item],
        folder: &FilePath,
        file: &FilePath,
    ) -> Outcome {
        for item in items {
            if is_for_tests(attributes(item)) {
                continue;
            }
            match item {
                Item::Mod(inner) => self.inner(module, inner, folder, file)?,
                Item::Use(item) => self.import(module, item),
                _ => {
                    if let Some(name) = name(item) {
                        self.modules[module].define(name.to_string(), Meaning::Item);
                    }
                    self.body(module, item);
                }
            }
        }
        Ok(())
    }

    fn inner(
        &mut self,
        module: usize,
        inner: &ItemMod,
        folder: &FilePath,
        file: &FilePath,
    ) -> Outcome {
        let name = inner.ident.to_string();
        let below = folder.join(&name);
        let number = if let Some((_, items)) = &inner.content {
            let number = self.modules.len();
            self.modules.push(Module::new(self.modules[module].file, Some(module)));
            self.items(number, items, &below, file)?;
            number
        } else {
            let path = match given_path(&inner.attrs) {
                Some(path) => file.parent().unwrap_or(folder).join(path).canonicalize()?,
                None => Some(folder.join(format!("{name}.rs")))
                    .filter(|path| path.is_file())
                    .unwrap_or_else(|| below.join("mod.rs")),
            };
            self.file(&path, &below, Some(module))?
        };
        self.modules[module].define(name, Meaning::Module(number));
        Ok(())
    }

    /// Names that a `use` brings into the module. One that only hands them on mentions nothing.
    fn import(&mut self, module: usize, item: &ItemUse) {
        let mut leaves = Vec::new();
        if item.leading_colon.is_none() {
            flatten(&item.tree, &mut Path::new(), &mut leaves);
        }
        let is_private = matches!(item.vis, Visibility::Inherited);
        for Leaf { path, name, line } in leaves {
            if is_private {
                self.mentions.push(Mention { module, path: path.clone(), line });
            }
            match name {
                Some(name) => self.modules[module].define(name, Meaning::Import(path)),
                None => self.modules[module].globs.push(path),
            }
        }
    }

    /// Paths in whatever is neither a module nor an import, and the imports inside of it.
    fn body(&mut self, module: usize, item: &Item) {
        let found = tokens::paths(match item {
            Item::Enum(item) => without_names_of_variants(item),
            item => item.to_token_stream(),
        });
        for import in found.imports {
            self.import(module, &import);
        }
        let mentions = found.paths.into_iter();
        self.mentions.extend(mentions.map(|(path, line)| Mention { module, path, line }));
    }
}

/// One name, or all of a module's, that a `use` brings.
struct Leaf {
    path: Path,
    /// None for a glob.
    name: Option<String>,
    line: usize,
}

fn flatten(tree: &UseTree, path: &mut Path, leaves: &mut Vec<Leaf>) {
    let line = tree.span().start().line;
    let mut leaf = |last: Option<&Ident>, name: Option<String>| {
        let mut path = path.clone();
        path.extend(last.filter(|last| *last != "self").map(Ident::to_string));
        leaves.push(Leaf { path, name, line });
    };
    match tree {
        UseTree::Path(branch) => {
            path.push(branch.ident.to_string());
            flatten(&branch.tree, path, leaves);
            path.pop();
        }
        UseTree::Name(last) if last.ident == "self" => leaf(None, path.last().cloned()),
        UseTree::Name(last) => leaf(Some(&last.ident), Some(last.ident.to_string())),
        UseTree::Rename(last) => leaf(Some(&last.ident), Some(last.rename.to_string())),
        UseTree::Glob(_) => leaf(None, None),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, path, leaves);
            }
        }
    }
}

/// A variant may have the name of something else.
fn without_names_of_variants(item: &ItemEnum) -> TokenStream {
    let mut code = TokenStream::new();
    item.attrs.iter().for_each(|attribute| attribute.to_tokens(&mut code));
    item.generics.to_tokens(&mut code);
    item.generics.where_clause.to_tokens(&mut code);
    for variant in item.variants.iter().filter(|variant| !is_for_tests(&variant.attrs)) {
        variant.attrs.iter().for_each(|attribute| attribute.to_tokens(&mut code));
        variant.fields.to_tokens(&mut code);
        if let Some((_, value)) = &variant.discriminant {
            value.to_tokens(&mut code);
        }
    }
    code
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| is_left_out(&attribute.meta))
}

/// The file that `#[path = "…"]` names.
fn given_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(value) => match &value.lit {
                Lit::Str(path) => Some(path.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}
