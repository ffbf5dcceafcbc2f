"""A shop that cleans up by the clock, once in the fleet, and refreshes what each node has by itself."""

import os

import micro

CLEAN_UP = os.environ.get("CLEAN_UP", "0 3 * * *")

service = micro.Service("shop")


@service.cron(CLEAN_UP, name="clean", zone="Europe/Berlin", missed="once", timeout=600, max_attempts=3)
async def clean(context: micro.Context) -> None:
    assert context.job is not None
    print(f"cleaned, attempt {context.job.attempt}", flush=True)


@service.every("1s", name="refresh", scope="node")
def refresh() -> None:
    print("refreshed", flush=True)


if __name__ == "__main__":
    service.run()
