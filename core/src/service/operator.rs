//! What the operator of a program says of its service, over what the program does: a document, the environment, flags.

use std::path::PathBuf;

use super::ServiceBuilder;
use crate::error::{Code, Result};
use crate::settings::{Explanation, UrlSetting, written};

impl ServiceBuilder {
    /// Reads settings from a JSON file, as in [`ServiceSettings`](crate::settings::ServiceSettings), over those that the program
    /// sets. `MICRO_SETTINGS` and `--settings` name another. The start fails where it cannot be read.
    pub fn document(mut self, file: impl Into<PathBuf>) -> Self {
        self.operator.set_document(file.into());
        self
    }

    /// Whether variables such as `MICRO_SERVER_ADDRESS` are read, which come before documents and what the program sets; they
    /// are unless told not to.
    pub fn environment(mut self, read: bool) -> Self {
        self.operator.set_environment(read);
        self
    }

    /// Takes flags such as `--address=:8080` from these arguments; they come before variables, documents and what the program
    /// sets. What follows `--` is left to the program.
    ///
    /// ```
    /// # fn main() -> micro::Result<()> {
    /// let builder = micro::Service::builder("greeter").args(["--address", ":8080", "--client-timeout=2s"])?;
    /// let error = micro::Service::builder("greeter").args(["--adress=:8080"]).unwrap_err();
    /// assert_eq!(error.detail(), "unknown flag \"--adress\": did you mean --address?");
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an unknown flag or a wrong value. `CANCELLED` for `--help` and `--version`, with the text to print
    /// as its detail.
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Result<Self> {
        let arguments = arguments.into_iter().map(Into::into);
        self.operator.add_flags(arguments, &self.name, &self.version)?;
        Ok(self)
    }

    /// Takes the flags that the program was started with, as [`Self::args`] does. Called last, before the start: `--help` and
    /// `--version` print and end the program with 0, a wrong flag, variable or document ends it with 2.
    ///
    /// ```no_run
    /// # async fn example() -> micro::Result<()> {
    /// micro::Service::builder("greeter").version("1.2").from_args().run().await
    /// # }
    /// ```
    #[allow(
        clippy::disallowed_methods,
        clippy::print_stdout,
        clippy::print_stderr,
        reason = "nothing runs yet, and this is what the caller asks for"
    )]
    pub fn from_args(self) -> Self {
        let arguments = std::env::args_os().skip(1);
        let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
        let name = self.name.clone();
        let read = self.args(arguments).and_then(|builder| builder.explain().map(|_| builder));
        match read {
            Ok(builder) => builder,
            Err(asked) if asked.code() == Code::Cancelled => {
                println!("{}", asked.detail());
                std::process::exit(0)
            }
            Err(error) => {
                eprintln!("{name}: {}", error.detail());
                std::process::exit(2)
            }
        }
    }

    /// Every setting with its value and what set it, as a start would find them now.
    ///
    /// # Errors
    /// As [`Self::start`] for a document, a variable or a flag that is wrong.
    pub fn explain(&self) -> Result<Explanation> {
        let gathered = self.operator.service()?;
        gathered.service()?;
        Ok(Explanation::new(&self.said(), &gathered))
    }

    /// What the program says, by key; nothing where it says no more than the default.
    fn said(&self) -> Vec<(&'static str, Option<String>)> {
        let usual = Self::new(self.name.clone()).told();
        let told = self.told().into_iter();
        told.map(|said| if usual.contains(&said) { (said.0, None) } else { (said.0, Some(said.1)) })
            .chain([("name", Some(self.name.clone()))])
            .collect()
    }

    /// What is set, by key, as a document has it.
    fn told(&self) -> Vec<(&'static str, String)> {
        let labels = self.metadata.iter().map(|(name, value)| format!("{name}={value}"));
        let labels: Vec<String> = labels.collect();
        let registry = match (&self.registry, &self.registry_url) {
            (Some(registry), _) => Some(registry.name().to_owned()),
            (None, url) => url.as_ref().map(|url| url.url().to_owned()),
        };
        let broker = match (&self.broker, &self.broker_url) {
            (Some(broker), _) => Some(broker.name().to_owned()),
            (None, url) => url.as_ref().map(|url| url.url().to_owned()),
        };
        let store = match (&self.store, &self.store_url) {
            (Some(store), _) => Some(store.name().to_owned()),
            (None, url) => url.as_ref().map(|url| url.url().to_owned()),
        };
        let own = [
            ("version", Some(self.version.clone())),
            ("id", self.id.clone()),
            ("metadata", (!labels.is_empty()).then(|| labels.join(","))),
            ("advertise", self.advertise.clone()),
            ("registry", registry),
            ("broker", broker),
            ("store", store),
            ("register_ttl", self.ttl.map(written)),
            ("register_interval", self.interval.map(written)),
            ("register_timeout", Some(written(self.register_limit))),
            ("register_check", self.probe.as_ref().map(|probe| probe.url().to_owned())),
            ("propagation", Some(written(self.propagation))),
            ("quiet", Some(self.quiet.to_string())),
            ("network", self.network.clone()),
            ("environment", Some(self.operator.environment().to_string())),
        ];
        let own = own.into_iter().filter_map(|(key, value)| Some((key, value?)));
        own.chain(self.server.told()).chain(self.client.told()).collect()
    }

    /// The service as its operator wants it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a document, a variable or a flag that is wrong, naming it.
    pub(super) fn overruled(mut self) -> Result<Self> {
        if tracing::enabled!(tracing::Level::DEBUG) {
            for setting in self.explain()?.iter() {
                let (key, value, from) = (&setting.key, &setting.value, &setting.source);
                tracing::debug!(service = self.name, key, value, %from, "setting");
            }
        }
        let operator = std::mem::take(&mut self.operator);
        operator.warn();
        let settings = operator.service()?.service()?;
        settings.overrule(self)
    }

    /// Goes by another name.
    pub(crate) fn rename(mut self, name: String) -> Self {
        self.server = self.server.rename(&name);
        self.client = self.client.renamed(&self.name, &name);
        self.name = name;
        self
    }

    /// Publishes and subscribes with the broker of this URL, unless one is given.
    pub(crate) fn broker_url(mut self, url: UrlSetting) -> Self {
        self.broker_url = Some(url);
        self
    }

    /// Keeps records with the store of this URL, unless one is given.
    pub(crate) fn store_url(mut self, url: UrlSetting) -> Self {
        self.store_url = Some(url);
        self
    }

    /// Registers in the registry with this URL, unless one is given.
    pub(crate) fn registry_url(mut self, url: UrlSetting) -> Self {
        self.registry_url = Some(url);
        self
    }
}
