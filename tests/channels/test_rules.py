"""The rules of Apprise's process, without the process."""

import os
import sys

import pytest

from hullwatch.channels.apprise_worker import Rules


@pytest.fixture
def rules() -> Rules:
    """Return active rules."""
    made = Rules()
    made.is_active = True
    return made


def is_allowed(rules: Rules, event: str, *arguments: object) -> bool:
    """Return whether the rules allow an operation."""
    try:
        rules.hook(event, arguments)
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", 80),
        ("10.1.1.1", 80),
        ("::1", 80, 0, 0),
        ("::ffff:10.0.0.1", 80, 0, 0),
        ("localhost", 80),
        ("8.8.8.8.nip.io", 80),
    ],
)
def test_private_addresses_are_closed(rules, event, address):
    """An unresolved name counts as private, since it could resolve to anything."""
    with pytest.raises(PermissionError):
        rules.hook(event, (None, address))
    assert rules.refused == "private"

    rules.allows_private = True
    assert is_allowed(rules, event, None, address)


def test_public_addresses_are_open(rules):
    """A socket that is connected already has no address."""
    assert is_allowed(rules, "socket.connect", None, ("8.8.8.8", 443))
    assert is_allowed(rules, "socket.sendmsg", None, None)
    assert rules.refused is None


def test_unix_sockets_are_always_closed(rules):
    """The system bus or a container engine may listen on one."""
    rules.allows_private = True
    assert not is_allowed(rules, "socket.connect", None, "/run/dbus/system_bus_socket")
    assert is_allowed(rules, "socket.connect", None, ("10.1.1.1", 80))


@pytest.mark.parametrize(
    ("path", "mode", "flags"),
    [
        ("/etc/passwd", "r", os.O_RDONLY),
        (b"/etc/passwd", "r", os.O_RDONLY),
        (f"{sys.prefix}/../../etc/passwd", "r", os.O_RDONLY),
        (f"{sys.prefix}/x", "w", os.O_WRONLY | os.O_CREAT),
        (f"{sys.prefix}/x", None, os.O_RDWR),
        ("secret.key", "r", os.O_RDONLY),
    ],
)
def test_files_are_closed(rules, path, mode, flags):
    """Only files of Python may be opened, and only for reading."""
    with pytest.raises(PermissionError):
        rules.hook("open", (path, mode, flags))


def test_python_and_certificates_are_open(rules):
    """Plugins and encryption need these files."""
    for path in (os.__file__, f"{sys.prefix}/pyvenv.cfg", "/etc/ssl/certs/x.pem", os.devnull, 3):
        assert is_allowed(rules, "open", path, "r", os.O_RDONLY)
    assert is_allowed(rules, "open", os.devnull, "w", os.O_WRONLY)
    assert not is_allowed(rules, "open", os.__file__, "w", os.O_WRONLY)


@pytest.mark.parametrize(
    "event",
    ["subprocess.Popen", "os.system", "os.exec", "os.fork", "os.remove", "syslog.openlog", "os.posix_spawn"],
)
def test_programs_and_the_disk_are_closed(rules, event):
    """No plugin has a reason to start programs or to change files."""
    with pytest.raises(PermissionError):
        rules.hook(event, ())


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("/etc/passwd", "r", 0)),
        ("open", ("/tmp/x", "w", os.O_WRONLY | os.O_CREAT)),
        ("socket.connect", (None, ("10.1.1.1", 80))),
        ("subprocess.Popen", ()),
    ],
)
def test_nothing_is_forbidden_while_plugins_are_loaded(event, arguments):
    """No address of a user is known yet; the rules become active after the loading."""
    rules = Rules()
    assert is_allowed(rules, event, *arguments)

    rules.is_active = True
    assert not is_allowed(rules, event, *arguments)
