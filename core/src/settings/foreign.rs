//! Flags and variables of go-micro for what is not here: refused with the reason, or accepted where there is no choice.

/// Flags of go-micro that go together, and why they are refused.
pub(super) struct Foreign {
    flags: &'static [&'static str],
    /// The value that says what is so in any case.
    only: Option<&'static str>,
    why: &'static str,
}

const FOREIGN: &[Foreign] = &[
    Foreign {
        flags: &["client", "server"],
        only: Some("grpc"),
        why: "clients and servers speak gRPC, and nothing else: leave it out",
    },
    Foreign {
        flags: &["transport", "transport_address"],
        only: Some("grpc"),
        why: "calls travel by HTTP/2, and there is no other transport: leave it out",
    },
    Foreign {
        flags: &["selector"],
        only: None,
        why: "nodes are chosen by a strategy: set --client-strategy",
    },
    Foreign {
        flags: &["registry_address"],
        only: None,
        why: "the address of a registry is part of its URL: set --registry scheme://address",
    },
    Foreign {
        flags: &["broker_address"],
        only: None,
        why: "the address of a broker is part of its URL: set --broker scheme://address",
    },
    Foreign {
        flags: &["config"],
        only: None,
        why: "there is no config service here: set --settings FILE, which reads a document",
    },
    Foreign {
        flags: &["runtime", "runtime_source"],
        only: None,
        why: "there is no runtime here: leave it out",
    },
    Foreign {
        flags: &["store_address"],
        only: None,
        why: "the address of a store is part of its URL: set --store scheme://address",
    },
    Foreign {
        flags: &["store_database", "store_table"],
        only: None,
        why: "database and table of a record are said where it is read and written: leave it out",
    },
    Foreign {
        flags: &["tracer", "tracer_address"],
        only: None,
        why: "traces are kept by what the program sets up: leave it out",
    },
    Foreign { flags: &["profile"], only: None, why: "there is no profiler here: leave it out" },
    Foreign {
        flags: &[
            "auth",
            "auth_id",
            "auth_secret",
            "auth_namespace",
            "auth_public_key",
            "auth_private_key",
            "auth_provider",
            "auth_provider_client_id",
            "auth_provider_client_secret",
            "auth_provider_endpoint",
            "auth_provider_redirect",
            "auth_provider_scope",
        ],
        only: None,
        why: "there is no auth here but what the program's middleware does: leave it out",
    },
];

impl Foreign {
    /// What is known of the flag `name`, without dashes before it.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        let name = name.replace('-', "_");
        FOREIGN.iter().find(|foreign| foreign.flags.contains(&name.as_str()))
    }

    /// Why this value is refused; `None` when it says what is so in any case.
    pub(super) fn refuses(&self, value: &str) -> Option<&'static str> {
        (self.only != Some(value)).then_some(self.why)
    }

    /// Their variables, each with why it says nothing here.
    pub(super) fn variables() -> impl Iterator<Item = (String, &'static Self)> {
        FOREIGN.iter().flat_map(|foreign| {
            foreign.flags.iter().map(move |flag| {
                let name = if *flag == "profile" { "debug_profile" } else { flag };
                (format!("MICRO_{}", name.to_ascii_uppercase()), foreign)
            })
        })
    }
}
