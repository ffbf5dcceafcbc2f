"""Refuses, and takes its time: what callers see of it is in the client next door."""

import asyncio

import micro
from micro import errors

service = micro.Service("accounts")


@service.endpoint("Accounts.Balance")
async def balance(owner: str) -> int:
    if not owner:
        raise errors.InvalidArgument("owner is empty", id="accounts")
    if owner != "ada":
        raise errors.NotFound(f"{owner} has no account", id="accounts")
    return 1815


@service.endpoint("Accounts.Audit")
async def audit(request: None, context: micro.Context) -> None:
    # The deadline travels with the call; a handler can see how much of it is left.
    print(f"the caller waits another {context.remaining:.3f} s")
    # When the caller no longer waits, this handler is cancelled where it stands.
    await asyncio.sleep(60)


service.run()
