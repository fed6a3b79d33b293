"""Secret texts: masked wherever they are shown, and read only by a visible call."""

import hmac


class SecretText:
    """A secret in memory. ``str()``, ``repr()``, formatting and pickling never give it away; `reveal()` does."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; a review checks each call of this."""
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretText):
            return NotImplemented
        # Surrogates are encoded too: the error about one would quote the whole secret.
        return hmac.compare_digest(
            self._value.encode(errors="surrogatepass"), other._value.encode(errors="surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((SecretText, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class AccessToken(SecretText):
    """Fyers' bearer token: a JWT that only Fyers can verify."""

    __slots__ = ()


class AppSecret(SecretText):
    """The secret of a Fyers app, needed once per login to exchange an auth code."""

    __slots__ = ()


class AuthCode(SecretText):
    """The one-use code that Fyers' login page sends back."""

    __slots__ = ()


class RefreshToken(SecretText):
    """Exchanged with the PIN for a new access token, where Fyers accepts it; valid for about two weeks."""

    __slots__ = ()


class Pin(SecretText):
    """A person's PIN at Fyers."""

    __slots__ = ()
