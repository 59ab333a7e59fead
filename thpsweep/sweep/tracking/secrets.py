"""Find what may be a secret in a URI, wherever it stands, and keep it out of texts. No MLflow here."""

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

MASK = "***"

SERVERS = ("http", "https")

PUBLIC = {
    *("host", "port", "dbname", "database", "driver", "charset", "timeout", "connect_timeout", "application_name"),
    *("user", "username", "options", "target_session_attrs", "gssencmode", "sslmode", "sslrootcert", "sslcert"),
    *("sslkey", "sslcrl", "ssl", "ssl_ca", "encrypt", "trustservercertificate", "trusted_connection", "unix_socket"),
}
"""Keys of a query that hold no secret. Any other may: passwd, pwd, token, sslpassword, odbc_connect, ..."""


def values(uri: str) -> set[str]:
    """Give what may be secret, as it is written: passwords, a server's user without password, a query, a fragment.

    A database's user without password is a name; a server's may be a token. A password may hold `@`, `/`, `?` and `#`
    that should have been written as %40, %2F, %3F and %23: then each way to read the URI gives its secrets.
    """
    scheme, _, rest = uri.partition("://")
    is_server = scheme.partition("+")[0] in SERVERS
    secrets = {secret for info in _user_infos(rest) for secret in _of_user(info, is_server)}
    _, _, query = rest.partition("?")
    query, _, fragment = query.partition("#")
    for pair in re.split("[&;]", query):
        key, equals, value = pair.partition("=")
        if not equals or unquote(key).strip().lower() not in PUBLIC:
            secrets.add(value if equals else key)
    return (secrets | {fragment, rest.partition("#")[2]}) - {""}


def are_typed(raw: str) -> bool:
    """Tell whether secrets stand in a URI as it is written in a config, where `${...}` stands for what is elsewhere."""
    defaults = re.findall(r"\$\{[^{}]*?,([^{}]*)\}", raw)
    elsewhere = "\0"
    uris = (re.sub(r"\$\{[^{}]*\}", elsewhere, raw), *defaults)
    return any(values(uri.strip()) - {elsewhere} for uri in uris)


def masked(text: str, uri: str) -> str:
    """Replace the secrets of a URI in a text, as they are written and as they are read."""
    written = values(uri)
    forms = written | {read for secret in written for read in (unquote(secret), unquote_plus(secret))}
    hidden = bytearray(len(text))
    for form in forms:
        for match in re.finditer(f"(?={re.escape(form)})", text):  # occurrences may overlap
            hidden[match.start() : match.start() + len(form)] = b"\1" * len(form)
    return re.sub("\0+", MASK, "".join("\0" if hide else each for each, hide in zip(text, hidden, strict=True)))


def without(uri: str) -> str:
    """Give a server's address without user, password, query and fragment: what a browser is told."""
    scheme, _, rest = uri.partition("://")
    infos = _user_infos(rest)
    before_query = [info for info in infos if "?" not in info] or infos
    rest = rest[max(map(len, before_query), default=-1) + 1 :]
    return urlsplit(f"{scheme}://{rest}")._replace(query="", fragment="").geturl()


def _user_infos(rest: str) -> list[str]:
    """Give what may stand before the @ of a user: up to the last one before a `/`, a `?` or the end."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    host_and_on = r"(?:[\w.\-]+|\[[\da-fA-F:.]+\])?(?::\d+)?(?:/|\?|#|$)"  # else it is an @ of a path or a query
    ends = [match.start() for match in re.finditer(f"@(?={host_and_on})", rest)]
    if "@" not in authority and ":" not in authority.partition("/")[0]:
        return []
    return list({*(rest[:end] for end in ends), *([authority.rpartition("@")[0]] if "@" in authority else [])})


def _of_user(info: str, is_server: bool) -> Iterator[str]:
    user, _, password = info.partition(":")
    yield password or (user if is_server else "")
