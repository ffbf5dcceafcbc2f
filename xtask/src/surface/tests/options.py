class _Routing(TypedDict, total=False):
    retries: int
    """Attempts after the first."""


class CallOptions(_Routing, total=False):
    timeout: Seconds | None
    codec: str


_DURATIONS = frozenset(("timeout", "patience"))
