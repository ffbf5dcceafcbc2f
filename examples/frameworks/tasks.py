"""Tasks of Celery that ask services: `celery --app tasks worker --pool prefork`."""

import os

from celery import Celery

from micro import sync

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["RESULTS"])
client = sync.Client()


@app.task
def greet(name: str) -> str:
    return client.call("greeter", "Greeter.Hello", {"name": name}, returns=str, timeout=5)
