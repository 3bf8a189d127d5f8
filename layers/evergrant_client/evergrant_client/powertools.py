"""Get tokens by Powertools' Parameters utility. Importing this module imports Powertools; the rest does not.

>>> tokens = TokenProvider()  # doctest: +SKIP
>>> tokens.get("keap/main")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any, NoReturn

from aws_lambda_powertools.utilities.parameters.base import BaseProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError

from ._client import DEFAULT_MIN_TTL, Evergrant
from ._default import default
from ._errors import EvergrantError

__all__ = ["TokenProvider"]


class TokenProvider(BaseProvider):
    """A Parameters provider whose parameters are connections and whose values are their access tokens.

    Tokens are cached where `evergrant_client.token` caches them, and are shared with it.

    Parameters
    ----------
    min_ttl : float
        Seconds that a token must last when it is handed out.
    evergrant : Evergrant, optional
        Where tokens come from. Default: the one behind `evergrant_client.token`.

    Examples
    --------
    >>> tokens = TokenProvider()  # doctest: +SKIP
    >>> headers = {"Authorization": f"Bearer {tokens.get('keap/main')}"}  # doctest: +SKIP
    """

    def __init__(self, *, min_ttl: float = DEFAULT_MIN_TTL, evergrant: Evergrant | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._min_ttl = min_ttl
        self._evergrant = evergrant

    def get(
        self,
        name: str,
        max_age: int | None = None,
        transform: str | None = None,
        force_fetch: bool = False,
        **sdk_options: Any,
    ) -> str:
        """Return the access token of a connection.

        Parameters
        ----------
        name : str
            ``provider/account``.
        max_age : int, optional
            Seconds: a token that was read longer ago is read again. Default: a token is kept until it
            expires; ``POWERTOOLS_PARAMETERS_MAX_AGE`` does not count. No token is used past its own expiry
            less `min_ttl`.
        transform : str, optional
            None only: a token is opaque.
        force_fetch : bool
            Whether to read the token again in any case. That does not refresh it: where the provider
            rejected it, use `evergrant_client.token` with ``rejected``, or an auth class.
        sdk_options
            None are taken: more than one AWS API may be called.

        Returns
        -------
        str
            The token. It is a secret: do not log it.

        Raises
        ------
        GetParameterError
            There is no token; its ``__cause__`` is the `EvergrantError` that says why.
        TransformParameterError
            A transform was asked for.
        """
        if transform is not None:
            raise TransformParameterError("An access token is opaque: ask for it without a transform.")
        if sdk_options:
            raise GetParameterError(f"A token takes no options of an SDK: {', '.join(sorted(sdk_options))}.")
        evergrant = self._evergrant or default()
        try:
            if force_fetch or max_age is not None:
                age = 0.0 if force_fetch or max_age is None else max(max_age, 0)
                return evergrant._fetcher.fetch(name, self._min_ttl, max_age=age).value
            return evergrant.token(name, min_ttl=self._min_ttl)
        except EvergrantError as error:
            raise GetParameterError(str(error)) from error

    def get_multiple(self, path: str, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `GetParameterError`: a consumer reads the connections that it knows, and may list none."""
        raise GetParameterError("Connections cannot be listed by their consumers: get each by its name.")

    def clear_cache(self) -> None:
        """Forget the tokens, those of `evergrant_client.token` too if they are shared; the next call reads anew."""
        (self._evergrant or default())._forget()

    def _get(self, name: str, **sdk_options: Any) -> str:
        return self.get(name, **sdk_options)

    def _get_multiple(self, path: str, **sdk_options: Any) -> NoReturn:
        self.get_multiple(path)
