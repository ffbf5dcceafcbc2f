"""A hostile server: answers its clients in the way of `servers.py` that the test asks for."""

import socket
import threading

import wire  # noqa: F401, finds `lines`
from lines import Lines
from servers import WAYS, Session, Stopped

CONNECTIONS = 200


class Hostile:
    def __init__(self, way):
        self.run = WAYS[way]
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.accepted = 0
        self.trouble = []
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self.accepted < CONNECTIONS:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.sockets.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.run(Session(connection))
        except (OSError, Stopped):
            pass
        except Exception as trouble:
            self.trouble.append(repr(trouble))
        finally:
            connection.close()

    def end(self):
        self.listener.close()
        for connection in self.sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        return {"accepted": self.accepted, "trouble": self.trouble}


running = {}


def behave(request):
    """Listens, and says where."""
    way = request["way"]
    running[way] = Hostile(way)
    return {"address": "127.0.0.1:%d" % running[way].listener.getsockname()[1]}


def end(request):
    return running.pop(request["way"]).end()


lines = Lines()
lines.on("behave", behave)
lines.on("end", end)
lines.ready()
lines.run()
