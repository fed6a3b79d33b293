"""Encrypts secrets for the database with AES-256-GCM and binds each to its row.

An encrypted text reads ``v1:<key id>:<base64url of nonce, ciphertext and tag>``. Version, key id and the identity of
the row are authenticated, so a text that was changed or copied into another row, column or generation cannot be decrypted.
"""

import base64
import binascii
import os
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.storage.failures import KeysUnusable, Undecryptable
from hullwatch.storage.keys import EncryptionKey, KeySource

_VERSION = "v1"
_NONCE_BYTES = 12


# Each identity is authenticated with its secret. Changing one of these texts makes stored secrets unreadable.


def token_identity(user_id: str, generation: int) -> str:
    """Return the identity of a stored access token."""
    return f"broker_connections.access_token:{user_id}:{generation}"


def app_secret_identity(user_id: str, app_id: str) -> str:
    """Return the identity of a stored Fyers app's secret."""
    return f"fyers_apps.secret:{user_id}:{app_id}"


def channel_address_identity(channel_id: str) -> str:
    """Return the identity of a channel's address."""
    return f"channels.address:{channel_id}"


def signing_secret_identity(channel_id: str) -> str:
    """Return the identity of a channel's signing secret."""
    return f"channels.signing_secret:{channel_id}"


def pin_identity(user_id: str) -> str:
    """Return the identity of a stored PIN."""
    return f"renewals.pin:{user_id}"


def refresh_token_identity(user_id: str) -> str:
    """Return the identity of a stored refresh token."""
    return f"renewals.refresh_token:{user_id}"


def installation_identity(name: str) -> str:
    """Return the identity of an entry of the installation."""
    return f"installation.value:{name}"


class Cipher:
    """Seals with the first key of its source and opens with any.

    The source is asked at every use whether the keys changed, so a running server follows ``hullwatch keys rotate`` by itself.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._mark: object = None
        self._keys: tuple[EncryptionKey, ...] = ()
        self._boxes: dict[str, AESGCM] = {}
        self._refresh()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that seals first."""
        self._refresh()
        return tuple(key.id for key in self._keys)

    def seal(self, plain: str, row_identity: str) -> str:
        """Return `plain` sealed for `row_identity`.

        Raises:
            StorageUnavailable: The keys cannot be read at the moment: what was sealed with a key that only memory holds would be lost.
        """
        try:
            self._refresh()
        except KeysUnusable:
            raise StorageUnavailable(
                "The encryption keys cannot be read at the moment. Nothing was changed."
            ) from None
        key_id = self._keys[0].id
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._boxes[key_id].encrypt(nonce, plain.encode(), _associated(key_id, row_identity))
        return f"{_VERSION}:{key_id}:{_encode(nonce + sealed)}"

    def open(self, sealed: str, row_identity: str) -> str:
        """Return what was sealed for `row_identity`.

        Raises:
            Undecryptable: No key fits, or the text was changed or belongs elsewhere.
        """
        with suppress(KeysUnusable):  # what is in memory still opens what was sealed before
            self._refresh()
        key_id, body = _parse(sealed)
        box = self._boxes.get(key_id)
        if box is None:
            raise Undecryptable("a stored secret was sealed with a key that is not here")
        try:
            return box.decrypt(
                body[:_NONCE_BYTES], body[_NONCE_BYTES:], _associated(key_id, row_identity)
            ).decode()
        except (InvalidTag, ValueError):
            raise Undecryptable("a stored secret was changed or belongs to another row") from None

    def is_sealed_by_first(self, sealed: str) -> bool:
        """Whether the key that seals today sealed this text."""
        self._refresh()
        return sealed.startswith(f"{_VERSION}:{self._keys[0].id}:")

    def __repr__(self) -> str:
        return f"Cipher({', '.join(key.id for key in self._keys)})"

    def _refresh(self) -> None:
        mark = self._source.mark()
        if mark == self._mark and self._keys:
            return
        self._keys = tuple(self._source.read())
        self._boxes = {key.id: AESGCM(key.reveal()) for key in reversed(self._keys)}
        self._mark = mark


def _associated(key_id: str, row_identity: str) -> bytes:
    return f"{_VERSION}:{key_id}:{row_identity}".encode()


def _encode(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _parse(sealed: str) -> tuple[str, bytes]:
    version, _, rest = sealed.partition(":")
    key_id, _, text = rest.partition(":")
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Undecryptable("a stored secret is not in the form it was written in") from None
    # One text per sealed secret: base64 would otherwise forgive flipped bits behind the last byte.
    if version != _VERSION or len(body) <= _NONCE_BYTES or _encode(body) != text:
        raise Undecryptable("a stored secret is not in the form it was written in")
    return key_id, body
