//! Paths in code, macros' arguments included, which have no syntax of their own.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{ItemUse, Meta, Token};

use super::scope::Path;

/// What code mentions.
#[derive(Default, Debug)]
pub(super) struct Found {
    /// Paths, each with its line.
    pub(super) paths: Vec<(Path, usize)>,
    /// Imports inside of functions.
    pub(super) imports: Vec<ItemUse>,
}

pub(super) fn paths(code: TokenStream) -> Found {
    let mut found = Found::default();
    scan(code, &mut found);
    found
}

/// Whether an attribute says that what follows is for tests or fuzzers.
pub(super) fn is_left_out(attribute: &Meta) -> bool {
    match attribute {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|condition| holds(&condition) == Some(false))
        }
        other => other.path().segments.last().is_some_and(|last| last.ident == "test"),
    }
}

/// Whether a condition holds in what is shipped: not known for most.
fn holds(condition: &Meta) -> Option<bool> {
    let Meta::List(list) = condition else {
        let is_ours = ["test", "fuzzing"].iter().any(|name| condition.path().is_ident(name));
        return is_ours.then_some(false);
    };
    let inner =
        list.parse_args_with(syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated);
    let inner: Vec<_> = inner.ok()?.iter().map(holds).collect();
    let name = list.path.get_ident()?.to_string();
    match name.as_str() {
        "not" => inner.first()?.map(|holds| !holds),
        "any" if inner.contains(&Some(true)) => Some(true),
        "any" => inner.iter().all(Option::is_some).then_some(false),
        "all" if inner.contains(&Some(false)) => Some(false),
        "all" => inner.iter().all(Option::is_some).then_some(true),
        _ => None,
    }
}

fn scan(code: TokenStream, found: &mut Found) {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        at = match &tokens[at] {
            TokenTree::Punct(mark) if mark.as_char() == '#' => match attribute(&tokens, at) {
                Some(meta) if is_left_out(&meta) => end_of_item(&tokens, at + 2),
                _ => at + 1,
            },
            TokenTree::Ident(word) if word == "use" => import(&tokens, at, found),
            TokenTree::Ident(_) => path(&tokens, at, found),
            TokenTree::Group(group) => {
                scan(group.stream(), found);
                at + 1
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
        };
    }
}

/// What `#[…]` says.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<Meta> {
    match tokens.get(at + 1)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            syn::parse2(group.stream()).ok()
        }
        _ => None,
    }
}

/// The place after an item, a statement, a field or an arm.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => matches!(mark.as_char(), ';' | ','),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    tokens[from..].iter().position(is_end).map_or(tokens.len(), |length| from + length + 1)
}

fn import(tokens: &[TokenTree], at: usize, found: &mut Found) -> usize {
    let is_end =
        |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ';');
    let end = tokens[at..].iter().position(is_end).map_or(tokens.len(), |length| at + length + 1);
    match syn::parse2(tokens[at..end].iter().cloned().collect()) {
        Ok(import) => {
            found.imports.push(import);
            end
        }
        // The `use<…>` of a type, or a macro's own word.
        Err(_) => at + 1,
    }
}

fn path(tokens: &[TokenTree], start: usize, found: &mut Found) -> usize {
    let mut path = Path::new();
    let mut at = start;
    let mut line = 0;
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        line = if line == 0 { word.span().start().line } else { line };
        path.push(word.to_string());
        at += 1;
        if !is_colons(tokens, at) || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    if is_mention(tokens, start, at, &path) {
        found.paths.push((path, line));
    }
    at
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    matches!(
        (tokens.get(at), tokens.get(at + 1)),
        (Some(TokenTree::Punct(one)), Some(TokenTree::Punct(two)))
            if one.as_char() == ':' && one.spacing() == Spacing::Joint && two.as_char() == ':'
    )
}

/// Whether a path names something: not a field, a method, a variable or what is declared.
fn is_mention(tokens: &[TokenTree], start: usize, end: usize, path: &Path) -> bool {
    let before = |count: usize| start.checked_sub(count).map(|at| &tokens[at]);
    let is_mark = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == wanted);
    let is_range = is_mark(before(1), '.') && is_mark(before(2), '.');
    let is_member = is_mark(before(1), '.') && !is_range;
    // `::name`: of another crate, or inside of a type.
    let is_rest = start >= 2 && is_colons(tokens, start - 2);
    let is_declared = matches!(before(1), Some(TokenTree::Ident(word)) if word == "fn");
    if is_member || is_rest || is_declared {
        return false;
    }
    let [only] = &path[..] else { return true };
    // Of small words, most are variables.
    only.starts_with(char::is_uppercase)
        || match tokens.get(end) {
            Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
            Some(TokenTree::Punct(mark)) => mark.as_char() == '!',
            _ => is_colons(tokens, end),
        }
}
