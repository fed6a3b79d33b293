"""The process that runs Apprise: one request a line on standard input, one answer a line on standard output.

Apprise has well over a hundred services, and a user chooses the address. An audit hook therefore checks
every connection, file and program before Python opens it, also after redirects and changed name
resolutions. A hook cannot be removed, so Apprise needs a process of its own.
"""

import argparse
import json
import logging
import os
import re
import select
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import apprise
import requests

import hullwatch
from hullwatch.channels.telegram import refusal_in
from hullwatch.channels.worker_limits import ResidentMemory, WorkerLimits
from hullwatch.domain.notifications.addresses import is_public_text

IDLE_S: Final = 300
"""Seconds without a request after which the process ends to free its memory."""
_STATUS: Final = re.compile(r"error=(\d{3})\b")
"""The status of a failed call in the log lines of Apprise's plugins; nothing else of these lines is used."""
ACTS_ON_MACHINE: Final = frozenset(
    {"syslog", "dbus", "qt", "kde", "glib", "gio", "gnome", "macosx", "windows", "blink1", "file"}
)
"""Services that would act on the server itself."""

_CONNECTING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_FORBIDDEN: Final = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.listdir", "os.scandir", "syslog.", "shutil.", "ftplib.",
)  # fmt: skip


class Rules:
    """What plugins may do. Until it is active everything is allowed, so that Python can load them."""

    def __init__(self) -> None:
        self.is_active = False
        self.allows_private = False
        self.is_encrypted = True
        """Whether the service encrypts what it sends; messages can hold a login link."""
        self.refused: str | None = None
        """The outcome because of which a connection was refused."""
        self.has_connected = False
        certificates = ssl.get_default_verify_paths()
        readable = (
            sys.prefix, sys.base_prefix, str(Path(os.__file__).parent), str(Path(hullwatch.__file__).parent),
            certificates.cafile, certificates.capath, certificates.openssl_cafile, certificates.openssl_capath,
            "/etc/ssl", "/usr/share/zoneinfo", "/etc/mime.types", "/dev/urandom",
        )  # fmt: skip
        self._readable = tuple(os.path.realpath(path).rstrip("/") for path in readable if path)

    def begin(self, *, is_encrypted: bool) -> None:
        """Begin a request to a service."""
        self.is_encrypted, self.refused, self.has_connected = is_encrypted, None, False

    @contextmanager
    def unencrypted(self) -> Iterator[None]:
        """Treat the connections inside as unencrypted."""
        before, self.is_encrypted = self.is_encrypted, False
        try:
            yield
        finally:
            self.is_encrypted = before

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse a forbidden operation by raising."""
        if not self.is_active:
            return
        if event in _CONNECTING:
            self._check_address(arguments[1])
        elif event == "open":
            self._check_file(*arguments)
        elif event.startswith(_FORBIDDEN):
            raise PermissionError("this process may not do that")

    def _check_address(self, address: Any) -> None:
        if address is None:  # the socket is connected already
            return
        if not isinstance(address, tuple) or not isinstance(address[0], str):
            raise PermissionError("this process speaks to the network alone")
        # A name that is not resolved yet could become a private address, so it is refused too.
        if not is_public_text(address[0]):
            if not self.allows_private:
                self.refused = "private"
                raise PermissionError("this address is not public")
        elif not self.is_encrypted:
            self.refused = "unencrypted"
            raise PermissionError("this connection is not encrypted")
        self.has_connected = True

    def _check_file(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        has_flag = isinstance(flags, int) and bool(flags & writes)
        is_written = has_flag or bool(set(str(mode or "")) & set("wax+"))
        real_path = os.path.realpath(os.fsdecode(path))
        if real_path == os.devnull:
            return
        if is_written:
            raise PermissionError("this process writes no files")
        if not any(real_path == root or real_path.startswith(f"{root}/") for root in self._readable):
            raise PermissionError("this process does not read that file")


class StatusHandler(logging.Handler):
    """Reads the status of a failed call, and a refusal of Telegram, from the log lines of Apprise."""

    def __init__(self) -> None:
        super().__init__()
        self.status: int | None = None
        self.refusal: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Read one record."""
        line = record.getMessage()
        found = _STATUS.search(line)
        if found is not None:
            self.status = int(found[1])
        if "Telegram" in line:
            self.refusal = refusal_in(line)


class Worker:
    """Answers requests with Apprise."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._status = StatusHandler()
        log = logging.getLogger("apprise")
        log.handlers[:] = [self._status]
        log.propagate = False
        log.setLevel(logging.WARNING)
        self._asset = apprise.AppriseAsset(
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            secure_logging=True,
            allow_templates=False,
            app_id="hullwatch",
            app_desc="hullwatch",
            async_mode=False,
        )

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle a request and return the outcome."""
        self._status.status, self._status.refusal = None, None
        service = self._service(request["address"])
        if isinstance(service, str):
            return {"outcome": service}
        self._rules.begin(is_encrypted=is_encrypted(service))
        if request["do"] == "check":
            # In most addresses this part holds a token, which must not be looked up.
            host = service.host if "host" in service.template_tokens else None
            # A mail address has its domain here, and may name the server to connect to elsewhere.
            hosts = [str(one) for one in (host, getattr(service, "smtp_host", None)) if one]
            return {"outcome": "known", "hosts": hosts, "isEncrypted": self._rules.is_encrypted}
        sender = apprise.Apprise(asset=self._asset)
        sender.add(service)
        is_sent = self._send(sender, request, apprise.NotifyType.INFO)
        if is_sent and not self._rules.has_connected:
            # Opsgenie and Jira add an information to an open alert and send nothing when there is none.
            is_sent = self._send(sender, request, apprise.NotifyType.WARNING)
        if is_sent:
            return {"outcome": "sent" if self._rules.has_connected else "unsent"}
        if self._rules.refused is not None:
            return {"outcome": self._rules.refused}
        return {"outcome": "failed", "status": self._status.status, "refusal": self._status.refusal}

    def _send(self, sender: apprise.Apprise, request: dict[str, Any], kind: apprise.NotifyType) -> bool:
        text = {"title": request["title"], "body": request["body"]}
        return bool(sender.notify(**text, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))

    def _service(self, address: str) -> Any:
        if address.partition(":")[0].lower() in ACTS_ON_MACHINE:
            return "forbidden"
        service = apprise.Apprise.instantiate(address, asset=self._asset)
        return "unknown" if service is None else service


def is_encrypted(service: Any) -> bool:
    """Return whether a service encrypts what it sends and checks the receiver's certificate."""
    secure = service.secure_protocol or ()
    is_secure = service.schema in ((secure,) if isinstance(secure, str) else secure) or service.secure
    has_fixed_address = str(getattr(service, "notify_url", "")).startswith("https://")
    return (
        (is_secure or has_fixed_address)
        and service.verify_certificate
        and getattr(service, "secure_mode", None) != "insecure"  # mailtos://…?mode=insecure
    )


def check_requests(rules: Rules) -> None:
    """Check the address of each HTTP request: plugins choose it themselves, and follow redirects."""
    send = requests.adapters.HTTPAdapter.send

    def checked(adapter: Any, request: Any, **options: Any) -> Any:
        if str(request.url).lower().startswith("https://") and options.get("verify", True) is not False:
            return send(adapter, request, **options)
        with rules.unencrypted():
            return send(adapter, request, **options)

    requests.adapters.HTTPAdapter.send = checked  # type: ignore[assignment, method-assign]


def main() -> None:
    """Answer requests until standard input ends, no request comes for a while, or much memory is in use."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--allow-private", action="store_true")
    WorkerLimits.add_arguments(parser)
    options = vars(parser.parse_args())
    rules = Rules()
    rules.allows_private = options.pop("allow_private")
    limits = WorkerLimits(**options)
    limits.apply()
    memory, answers = ResidentMemory(), _private_output()
    sys.addaudithook(rules.hook)
    check_requests(rules)
    worker = Worker(rules)
    apprise.Apprise().details()  # loads every plugin while all files may be read
    answers.write(json.dumps({"outcome": "ready"}) + "\n")
    answers.flush()
    rules.is_active = True
    while select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        limits.allow_request()
        answer = worker.answer(json.loads(line))
        # The allocator seldom gives memory back, so a large answer would be kept for minutes.
        is_last = memory.megabytes() > limits.kept_mb
        answers.write(json.dumps(answer | {"isLast": is_last}) + "\n")
        answers.flush()
        if is_last:
            return


def _private_output() -> TextIO:
    """Reserve standard output for answers; output of plugins is dropped."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return os.fdopen(kept, "w", encoding="utf-8")


if __name__ == "__main__":
    main()
