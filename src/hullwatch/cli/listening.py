"""The port that a server listens on, opened before anything heavy is imported or built: a busy one is said at once."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hullwatch.cli.output import CommandFailed


@contextmanager
def listen_on(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port to listen on, before anything else is built; 0 picks a free one.

    Raises:
        CommandFailed: The address cannot be used.
    """
    shown = f"{host or '*'}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise CommandFailed(f"HULLWATCH_HOST names no address of this machine: {host!r}.") from None
    with sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(2048)  # at once: two that are merely bound could share the port unnoticed
        except OSError as error:
            raise CommandFailed(
                f"Cannot listen on {shown}: {error.strerror}; choose another port with --port."
            ) from None
        yield sock


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return host and port that a socket really listens on."""
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


def url_of(host: str, port: int) -> str:
    """Return the address a browser on this machine would use."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
