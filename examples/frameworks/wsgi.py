"""A WSGI application that asks services: `gunicorn --preload --workers 4 wsgi:app`."""

from micro import sync

client = sync.Client()


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    text = client.call("greeter", "Greeter.Hello", {"name": name}, returns=str, timeout=5)
    start_response("200 OK", [("content-type", "text/plain; charset=utf-8")])
    return [text.encode()]
