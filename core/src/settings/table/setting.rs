//! A row of the table.

use std::fmt;

use crate::settings::range::Range;

/// An option, as every way to set it knows it.
#[derive(Debug)]
pub struct Setting {
    key: &'static str,
    go_micro: &'static str,
    form: Form,
    /// Has a flag and a variable.
    is_told: bool,
    default: &'static str,
    help: &'static str,
}

/// What an option can be.
#[derive(Debug, Clone, Copy)]
pub(in crate::settings) enum Form {
    /// A text; the word stands for it in help.
    Text(&'static str),
    /// A text in a range.
    Ranged(&'static Range),
    /// A number in a range.
    Number(&'static Range),
    /// A duration in a range.
    Time(&'static Range),
    /// Any duration.
    Duration,
    /// A duration; a flag or a variable may say it in seconds without a unit, as go-micro does.
    Seconds,
    /// A duration, or `none`.
    Limit,
    /// A duration in a range, or `none`.
    TimeOrNone(&'static Range),
    /// True or false.
    Truth,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts.
    List(&'static str),
    /// Texts by names of the user's.
    Labels,
    /// A word, or an object or a list in JSON.
    Json(&'static str),
    /// A file with certificates or a key.
    File,
    /// The same, or `system`.
    FileOrSystem,
}

impl Setting {
    pub(super) const fn new(
        key: &'static str,
        form: Form,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self { key, go_micro: "", form, is_told: true, default, help }
    }

    /// The same, which go-micro has under this flag.
    pub(super) const fn go_micro(mut self, flag: &'static str) -> Self {
        self.go_micro = flag;
        self
    }

    /// The same, without a flag and a variable.
    pub(super) const fn in_documents(mut self) -> Self {
        self.is_told = false;
        self
    }

    /// Key in the document of a service, with those of the objects around it, such as `client.timeout`.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The flag, such as `--client-timeout`; `None` for what only documents and code say.
    pub fn flag(&self) -> Option<String> {
        // `--version` alone asks the program for its version.
        let key = if self.key == "version" { "server_version" } else { self.key };
        self.is_told.then(|| format!("--{}", key.replace(['.', '_'], "-")))
    }

    /// The variable, such as `MICRO_CLIENT_TIMEOUT`; `None` for what only documents and code say.
    pub fn variable(&self) -> Option<String> {
        let whole = ["broker", "client.", "registry", "register_", "settings", "store"];
        let server = if whole.iter().any(|of| self.key.starts_with(of)) { "" } else { "SERVER_" };
        let name = self.key.replace('.', "_").to_ascii_uppercase();
        self.is_told.then(|| format!("MICRO_{server}{name}"))
    }

    /// go-micro's flag for the same, such as `--server_address`.
    pub fn go_micro_flag(&self) -> Option<String> {
        (!self.go_micro.is_empty()).then(|| format!("--{}", self.go_micro))
    }

    /// go-micro's variable for the same, such as `MICRO_SERVER_ADDRESS`.
    pub fn go_micro_variable(&self) -> Option<String> {
        (!self.go_micro.is_empty()).then(|| format!("MICRO_{}", self.go_micro.to_ascii_uppercase()))
    }

    /// What it can be, with its unit and range.
    pub fn takes(&self) -> String {
        match self.form {
            Form::Text(what) => what.to_owned(),
            Form::Ranged(range) | Form::Number(range) => range.to_string(),
            Form::Time(range) => format!("a duration, {range}"),
            Form::Duration => "a duration".to_owned(),
            Form::Seconds => "a duration, or seconds".to_owned(),
            Form::Limit => "a duration, or `none`".to_owned(),
            Form::TimeOrNone(range) => format!("a duration, {range}, or `none`"),
            Form::Truth => "`true` or `false`".to_owned(),
            Form::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Form::List(what) => format!("{what}, with commas between them"),
            Form::Labels => "`name=value`, any number of times".to_owned(),
            Form::Json(what) => what.to_owned(),
            Form::File => "a file in PEM".to_owned(),
            Form::FileOrSystem => "a file in PEM, or `system`".to_owned(),
        }
    }

    /// What it is unless set.
    pub fn default(&self) -> &'static str {
        self.default
    }

    /// What it is for, in a line.
    pub fn help(&self) -> &'static str {
        self.help
    }

    pub(in crate::settings) fn form(&self) -> Form {
        self.form
    }

    /// Key in the document of a client; `None` for what only a service has.
    pub(in crate::settings) fn client_key(&self) -> Option<&'static str> {
        match self.key {
            "broker" | "store" | "registry" | "network" | "environment" => Some(self.key),
            key => key.strip_prefix("client."),
        }
    }

    /// What stands for a value in help.
    pub(in crate::settings) fn placeholder(&self) -> &'static str {
        match self.form {
            Form::Truth => "",
            Form::Text(_) | Form::Ranged(_) => match self.key {
                "address" | "advertise" => "HOST:PORT",
                "broker" | "store" | "registry" | "register_check" => "URL",
                "settings" => "FILE",
                _ => "TEXT",
            },
            Form::Number(_) => "NUMBER",
            Form::Time(_) | Form::Duration | Form::Seconds => "TIME",
            Form::Limit | Form::TimeOrNone(_) => "TIME|none",
            Form::Choice(_) => "WORD",
            Form::List(_) => "LIST",
            Form::Labels => "NAME=VALUE",
            Form::Json(_) => "WORD|JSON",
            Form::File => "FILE",
            Form::FileOrSystem => "FILE|system",
        }
    }

    /// Values of it may be secret, and are not shown.
    pub(in crate::settings) fn is_secret(&self) -> bool {
        matches!(self.key, "client.metadata")
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}
