"""Every failure is an exception that says what, where and how often it was tried."""

import asyncio

import micro
from micro import errors


async def main() -> None:
    async with micro.Client() as client:
        print("ada has", await client.call("accounts", "Accounts.Balance", "ada"))

        # What the handler refused with arrives as it was: code, detail, and the id it gave itself.
        try:
            await client.call("accounts", "Accounts.Balance", "bob")
        except errors.NotFound as error:
            tell(error, "look for something else")

        # A deadline holds on both sides: the caller stops waiting, the handler is cancelled.
        try:
            await client.call("accounts", "Accounts.Audit", timeout=0.1)
        except TimeoutError as error:
            assert isinstance(error, errors.DeadlineExceeded)
            tell(error, "give it more time")

        # A service that was not started.
        try:
            await client.call("payments", "Payments.Pay")
        except errors.Unavailable as error:
            assert error.reason == "no_nodes"
            tell(error, "start it, or wait_for_ready")


def tell(error: errors.Error, advice: str) -> None:
    # Where the call went is known of every error a client raises.
    print(f"{error.name} {error.id}: {error.detail} ({error.attempts} attempts; {advice})")


asyncio.run(main())
