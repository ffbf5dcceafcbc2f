//! The table of operations in the bridge, with the arguments of each: what every façade is held to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, FnArg, Ident, ImplItem, Item, LitInt, LitStr, Member, Token, Type};

use super::names::parse;
use crate::Outcome;

/// The table, and beside it a file for each area.
const TABLE: &str = "ffi/bridge/src/operations/mod.rs";
/// The struct of operations without arguments.
const NOTHING: &str = "Nothing";

/// Everything that is asked or followed.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) questions: Vec<Question>,
    /// What is wrong with the structs of arguments.
    pub(super) wrong: Vec<String>,
}

/// A row of the table, with the arguments of its function.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Such as `registry.get`.
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) does: String,
    pub(super) way: Way,
    pub(super) arguments: Vec<Argument>,
}

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Once.
    Ask,
    /// Once, with a message in a codec of its own.
    Fetch,
    /// With each thing that happens.
    Follow,
    /// With each message, which the host settles.
    Deliver,
}

impl Way {
    /// Whether the answer is a message, of a type of the language's own.
    pub(super) fn has_messages(self) -> bool {
        matches!(self, Self::Fetch | Self::Deliver)
    }

    /// The event that has the answer.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::Ask | Self::Fetch => "REPLY",
            Self::Follow => "CHANGE",
            Self::Deliver => "DELIVERY",
        }
    }
}

/// An argument, as a façade has it or should have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) kind: ArgumentKind,
    pub(super) is_optional: bool,
}

/// What the value of an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArgumentKind {
    Text,
    Number,
    Flag,
    Duration,
    Record,
    List,
}

impl ArgumentKind {
    pub(super) const ALL: [Self; 6] =
        [Self::Text, Self::Number, Self::Flag, Self::Duration, Self::Record, Self::List];
}

impl fmt::Display for ArgumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Duration => "duration",
            Self::Record => "record",
            Self::List => "list",
        })
    }
}

/// As comments in C write it: `"ttl"?: duration`.
impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = if self.is_optional { "?" } else { "" };
        write!(f, "\"{}\"{optional}: {}", self.name, self.kind)
    }
}

impl Question {
    /// The events that it is told by.
    pub(super) fn events(&self) -> Vec<String> {
        let answer = self.way.event().to_owned();
        match self.way {
            Way::Ask | Way::Fetch => vec![answer],
            Way::Follow | Way::Deliver => vec!["OPENED".to_owned(), answer, "END".to_owned()],
        }
    }
}

/// Reads the table under `root`; none where there is no table.
pub(super) fn read(root: &Path) -> Outcome<Table> {
    let path = root.join(TABLE);
    if !path.exists() {
        return Ok(Table::default());
    }
    let file = parse(&path)?;
    let mut rows = None;
    for item in &file.items {
        if let Item::Macro(item) = item
            && item.ident.is_none()
            && item.mac.path.is_ident("operations")
        {
            rows = Some(item.mac.parse_body_with(Punctuated::<Row, Token![;]>::parse_terminated)?);
        }
    }
    let rows = rows.ok_or_else(|| format!("{TABLE} has no operations! {{ ... }}"))?;
    let (mut table, mut areas) = (Table::default(), BTreeMap::new());
    for row in rows {
        let module = row.module.to_string();
        if !areas.contains_key(&module) {
            let file = format!("{module}.rs");
            areas.insert(module.clone(), parse(&path.with_file_name(file))?.items);
        }
        let at = format!("ffi/bridge/src/operations/{module}.rs");
        match arguments(&areas[&module], &row.function.to_string(), &at, &mut table.wrong) {
            Ok(arguments) => table.questions.push(row.question(arguments)?),
            Err(why) => table.wrong.push(format!("{}: {at}: {why}", row.name.value())),
        }
    }
    Ok(table)
}

/// `REGISTRY_GET = 0x0201, "registry.get", ask(registry::get)`, with its comment.
struct Row {
    comment: Vec<Attribute>,
    number: LitInt,
    name: LitStr,
    how: Ident,
    module: Ident,
    function: Ident,
}

impl Parse for Row {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let comment = input.call(Attribute::parse_outer)?;
        let _constant: Ident = input.parse()?;
        let _: Token![=] = input.parse()?;
        let number = input.parse()?;
        let _: Token![,] = input.parse()?;
        let name = input.parse()?;
        let _: Token![,] = input.parse()?;
        let how = input.parse()?;
        let path;
        syn::parenthesized!(path in input);
        let module = path.parse()?;
        let _: Token![::] = path.parse()?;
        Ok(Self { comment, number, name, how, module, function: path.parse()? })
    }
}

impl Row {
    fn question(&self, arguments: Vec<Argument>) -> Outcome<Question> {
        let lines = self.comment.iter().filter_map(|line| match &line.meta {
            syn::Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
        let comment: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
        Ok(Question {
            name: self.name.value(),
            number: self.number.base10_parse()?,
            does: comment.join(" ").trim_end_matches('.').to_owned(),
            way: match self.how.to_string().as_str() {
                "ask" => Way::Ask,
                "give" => Way::Ask,
                "hold" => Way::Follow,
                "fetch" => Way::Fetch,
                "follow" => Way::Follow,
                "deliver" => Way::Deliver,
                other => {
                    return Err(format!(
                        "{}: no way to answer is called {other}",
                        self.name.value()
                    )
                    .into());
                }
            },
            arguments,
        })
    }
}

/// The arguments of `function`, held against how they are read.
fn arguments(
    items: &[Item],
    function: &str,
    at: &str,
    wrong: &mut Vec<String>,
) -> Result<Vec<Argument>, String> {
    let found = items.iter().find_map(|item| match item {
        Item::Fn(item) if item.sig.ident == function => Some(&item.sig),
        _ => None,
    });
    let signature = found.ok_or_else(|| format!("there is no function {function}"))?;
    let Some(FnArg::Typed(second)) = signature.inputs.get(1) else {
        return Err(format!("{function} takes (at: At, args: ...)"));
    };
    let name = last_name(&second.ty).unwrap_or_default();
    if name == NOTHING {
        return Ok(Vec::new());
    }
    let fields = items.iter().find_map(|item| match item {
        Item::Struct(item) if item.ident == name => Some(&item.fields),
        _ => None,
    });
    let fields = fields.ok_or_else(|| format!("there is no struct {name}"))?;
    let read = reads(items, &name).ok_or_else(|| format!("there is no `impl Args for {name}`"))?;
    let mut arguments = Vec::new();
    for field in fields {
        let named = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let (is_option, kind) = kind_of(&field.ty);
        let Some(found) = read.get(&named) else {
            wrong.push(format!("{at}: {name} does not read `{named}`"));
            continue;
        };
        let [(how, key)] = found.as_slice() else {
            wrong.push(format!("{at}: {name} reads `{named}` {} times, not once", found.len()));
            continue;
        };
        if *key != named {
            wrong.push(format!("{at}: {name} reads `{named}` as \"{key}\": give both one name"));
        }
        let is_required = how == "require";
        if is_option == is_required {
            let should = if is_option { "read" } else { "require" };
            wrong.push(format!(
                "{at}: {name} reads `{named}` with {how}: write {should}, or change its type"
            ));
        }
        arguments.push(Argument { name: named, kind, is_optional: is_option });
    }
    Ok(arguments)
}

/// How `impl Args for name` fills each field: the functions of `Fields` that it calls, with their keys.
fn reads(items: &[Item], name: &str) -> Option<BTreeMap<String, Vec<(String, String)>>> {
    let body = items.iter().find_map(|item| match item {
        Item::Impl(item) => {
            let is_args = item.trait_.as_ref().is_some_and(|(_, path, _)| path.is_ident("Args"));
            (is_args && last_name(&item.self_ty).as_deref() == Some(name)).then_some(item)
        }
        _ => None,
    })?;
    let mut found = BTreeMap::new();
    for item in &body.items {
        let ImplItem::Fn(item) = item else { continue };
        for field in fields_filled(&item.block.to_token_stream()) {
            found.insert(field.0, keys(&field.1));
        }
    }
    Some(found)
}

/// The fields of the first `Self { ... }` among `tokens`, each with what fills it.
fn fields_filled(tokens: &TokenStream) -> Vec<(String, TokenStream)> {
    let mut before = String::new();
    for token in tokens.clone() {
        if let TokenTree::Group(group) = &token {
            let is_self = before == "Self" && group.delimiter() == Delimiter::Brace;
            let whole = TokenStream::from_iter([
                TokenTree::Ident(Ident::new("Self", group.span())),
                token.clone(),
            ]);
            if is_self && let Ok(made) = syn::parse2::<syn::ExprStruct>(whole) {
                let fields = made.fields.into_iter().filter_map(|field| match field.member {
                    Member::Named(name) => Some((name.to_string(), field.expr.to_token_stream())),
                    Member::Unnamed(_) => None,
                });
                return fields.collect();
            }
            let inner = fields_filled(&group.stream());
            if !inner.is_empty() {
                return inner;
            }
        }
        before = token.to_string();
    }
    Vec::new()
}

/// Every `read("key", ...)` and `require("key", ...)` among `tokens`: which, and the key.
fn keys(tokens: &TokenStream) -> Vec<(String, String)> {
    calls(tokens).into_iter().map(|(how, key, _)| (how, key)).collect()
}

/// The same, with what is between the parentheses.
pub(super) fn calls(tokens: &TokenStream) -> Vec<(String, String, TokenStream)> {
    let mut found = Vec::new();
    let mut before = String::new();
    for token in tokens.clone() {
        if let TokenTree::Group(group) = &token {
            if matches!(before.as_str(), "read" | "read_or_null" | "require")
                && let Some(TokenTree::Literal(key)) = group.stream().into_iter().next()
                && let Ok(key) = syn::parse_str::<LitStr>(&key.to_string())
            {
                found.push((before.clone(), key.value(), group.stream()));
            }
            found.extend(calls(&group.stream()));
        }
        before = token.to_string();
    }
    found
}

/// Whether a type is an `Option`, and what its values are.
fn kind_of(kind: &Type) -> (bool, ArgumentKind) {
    let name = last_name(kind).unwrap_or_default();
    if name == "Option"
        && let Type::Path(path) = kind
        && let Some(last) = path.path.segments.last()
        && let syn::PathArguments::AngleBracketed(within) = &last.arguments
        && let Some(syn::GenericArgument::Type(within)) = within.args.first()
    {
        return (true, kind_of(within).1);
    }
    let kind = match name.as_str() {
        "String" => ArgumentKind::Text,
        "bool" => ArgumentKind::Flag,
        "Duration" => ArgumentKind::Duration,
        "Vec" => ArgumentKind::List,
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" | "f32" | "f64" => {
            ArgumentKind::Number
        }
        _ => ArgumentKind::Record,
    };
    (false, kind)
}

fn last_name(kind: &Type) -> Option<String> {
    match kind {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}
