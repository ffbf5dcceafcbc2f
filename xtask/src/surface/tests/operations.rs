operations! {
    /// Adds a node.
    REGISTRY_REGISTER = 0x0204, "registry.register", ask(registry::register);
    /// Changes.
    REGISTRY_WATCH = 0x0203, "registry.watch", follow(registry::watch);
}
