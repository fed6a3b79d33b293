"""Encryption keys, from a setting or from a key file that is created on the first start."""

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hullwatch.domain.secrets import SecretText
from hullwatch.storage.failures import KeysUnusable

KEY_FILE = "encryption.keys"
_KEY_BYTES = 32
_HEADER = "# The first key encrypts, all decrypt. Without this file no stored Fyers login can be read: keep a copy elsewhere.\n"


class EncryptionKey:
    """256 bits; only the id is shown, which is a hash of them."""

    __slots__ = ("_bytes", "id")

    def __init__(self, value: bytes) -> None:
        if len(value) != _KEY_BYTES:
            raise KeysUnusable("An encryption key is 32 bytes in URL-safe base64, 44 characters long.")
        self._bytes = value
        self.id = hashlib.sha256(b"hullwatch encryption key id" + value).hexdigest()[:12]

    @classmethod
    def parse(cls, text: str) -> "EncryptionKey":
        """Read a key from URL-safe base64; raises `KeysUnusable` without quoting it."""
        try:
            value = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            value = b""
        return cls(value)

    @classmethod
    def make(cls) -> "EncryptionKey":
        """Return a new random key."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    def reveal(self) -> bytes:
        """Return the key itself."""
        return self._bytes

    def text(self) -> str:
        """Return the key as it is written in a key file or setting."""
        return base64.urlsafe_b64encode(self._bytes).decode()

    def __repr__(self) -> str:
        return f"EncryptionKey({self.id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncryptionKey) and secrets.compare_digest(self._bytes, other._bytes)

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")


class KeySource(Protocol):
    """A source of keys."""

    def mark(self) -> object:
        """Return a value that changes when the keys change; cheap."""
        ...

    def read(self) -> Sequence[EncryptionKey]:
        """Return the keys, first the one that encrypts; raises `KeysUnusable`."""
        ...


class FixedKeys:
    """Keys of a setting; they change only with a restart."""

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        if not keys:
            raise KeysUnusable("HULLWATCH_ENCRYPTION_KEYS names no key.")
        self._keys = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> "FixedKeys":
        """Read keys separated by commas; raises `KeysUnusable`."""
        parts = [part for part in (piece.strip() for piece in text.split(",")) if part]
        try:
            return cls([EncryptionKey.parse(part) for part in parts])
        except KeysUnusable:
            raise KeysUnusable(
                "HULLWATCH_ENCRYPTION_KEYS must hold keys of 32 bytes in URL-safe base64 (44 characters), separated by commas."
            ) from None

    def mark(self) -> object:
        """Return the keys, which never change."""
        return self._keys

    def read(self) -> Sequence[EncryptionKey]:
        """Return the keys."""
        return self._keys

    def __repr__(self) -> str:
        return f"FixedKeys({len(self._keys)})"


class KeyFile:
    """Keys in a file that only its owner may read, one per line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> object:
        """Return the identity and change time of the file."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise KeysUnusable(f"The key file {self.path} cannot be read: {error.strerror}.") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> Sequence[EncryptionKey]:
        """Return the keys.

        Raises:
            KeysUnusable: The file is missing, malformed, or others may read it.
        """
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), encoding="ascii") as file:
                self._check_access(os.fstat(file.fileno()))
                lines = file.read().splitlines()
        except UnicodeDecodeError:
            raise KeysUnusable(f"The key file {self.path} is damaged: it holds more than keys.") from None
        except OSError as error:
            raise KeysUnusable(f"The key file {self.path} cannot be read: {error.strerror}.") from None
        texts = [line for line in (line.strip() for line in lines) if line and not line.startswith("#")]
        try:
            keys = [EncryptionKey.parse(text) for text in texts]
        except KeysUnusable:
            raise KeysUnusable(f"The key file {self.path} is damaged: a line is not a key.") from None
        if not keys:
            raise KeysUnusable(f"The key file {self.path} is damaged: it holds no key.")
        return keys

    @property
    def exists(self) -> bool:
        """Whether there is a file, readable or not."""
        return self.path.is_symlink() or self.path.exists()

    def ensure(self) -> None:
        """Create the file with one new key, unless it exists.

        It appears complete or not at all and is never readable by others. Of two processes that start together, one creates it.
        """
        if self.exists:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._write_draft([EncryptionKey.make()])
            try:
                os.link(draft, self.path)
            except FileExistsError:
                return
            finally:
                draft.unlink()
            self._sync_folder()
        except OSError as error:
            raise KeysUnusable(f"The key file {self.path} cannot be made: {error.strerror}.") from None

    def replace(self, keys: Sequence[EncryptionKey]) -> None:
        """Replace the keys, all or nothing; they are on the disk when this returns."""
        try:
            self._write_draft(keys).replace(self.path)
            self._sync_folder()
        except OSError as error:
            raise KeysUnusable(f"The key file {self.path} cannot be changed: {error.strerror}.") from None

    def remove_drafts(self) -> None:
        """Remove the drafts of an interrupted change; only one process may call this at a time."""
        for draft in self.path.parent.glob(f".{self.path.name}.*"):
            draft.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"

    def _check_access(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise KeysUnusable(f"The key file {self.path} is not a file.")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise KeysUnusable(f"Others may read the key file {self.path}: run chmod 600 on it.")

    def _write_draft(self, keys: Sequence[EncryptionKey]) -> Path:
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(_HEADER + "".join(f"{key.text()}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        return draft

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keys_of(encryption_keys: str | SecretText, data_dir: Path) -> FixedKeys | KeyFile:
    """Return the keys of the setting, or else the key file in `data_dir`, which may not exist yet.

    Raises:
        KeysUnusable: The setting holds no usable keys.
    """
    text = encryption_keys.reveal() if isinstance(encryption_keys, SecretText) else encryption_keys
    return FixedKeys.parse(text) if text.strip() else KeyFile(data_dir / KEY_FILE)


def load_keys(encryption_keys: str | SecretText, data_dir: Path) -> FixedKeys | KeyFile:
    """Return usable keys; a missing key file is created.

    Raises:
        KeysUnusable: Setting or file hold no usable keys.
    """
    keys = keys_of(encryption_keys, data_dir)
    if isinstance(keys, KeyFile):
        keys.ensure()
        keys.read()
    return keys
