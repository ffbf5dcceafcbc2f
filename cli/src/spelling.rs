//! The name that was meant by one that does not exist.

/// The name closest to `typed`, if one is close: one slip per three letters.
pub(crate) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    let slips = |name: &str| {
        let name = name.to_lowercase();
        let whole = strsim::damerau_levenshtein(&lower, &name);
        // `Hello` is a fair way to ask for `Greeter.Hello`.
        match name.rsplit_once('.') {
            Some((_, method)) if !typed.contains('.') => {
                whole.min(strsim::damerau_levenshtein(&lower, method))
            }
            _ => whole,
        }
    };
    let allowed = (typed.chars().count() / 3).clamp(1, 3);
    names
        .map(|name| (slips(name), name))
        .filter(|(slips, _)| *slips <= allowed)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(typed: &str) -> Option<&'static str> {
        nearest(typed, ["greeter", "users", "Greeter.Hello", "Greeter.Help"].into_iter())
    }

    #[test]
    fn slips_of_the_finger_are_forgiven() {
        assert_eq!(meant("greter"), Some("greeter"));
        assert_eq!(meant("geretr"), Some("greeter"));
        assert_eq!(meant("USER"), Some("users"));
        assert_eq!(meant("Greeter.Helo"), Some("Greeter.Hello"));
    }

    #[test]
    fn a_method_alone_finds_its_endpoint() {
        assert_eq!(meant("hello"), Some("Greeter.Hello"));
    }

    #[test]
    fn other_words_are_not_guessed_at() {
        assert_eq!(meant("orders"), None);
        assert_eq!(meant(""), None);
    }
}
