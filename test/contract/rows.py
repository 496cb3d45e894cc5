"""The words that a contract's tables are written in: Row, Scene, and what an answer is compared with.

A row is one request by one identity and what the answer must be. The rows of a scene run in order
and share what they save; a scene stands alone. {name} in a path, header, body or expectation is
replaced by what the runner knows or an earlier row saved; {now+60} is a time in seconds.
"""
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    who: str        # admin, member, reader, custom, other, nobody, anon, appcred, ... (run.py)
    method: str
    path: str       # "network:/v2.0/networks": root of the service by the catalogue, and a path;
                    # "object-store:/c/o": below the account of the member's project;
                    # "object-root:/info": Swift's root
    expect: Any = 200           # a status, or a tuple of them
    body: Any = None            # dict or list: JSON; str: text; bytes: as it is
    headers: dict = field(default_factory=dict)  # None as a value: leave that header out
    answer: Any = None          # partial: see difference()
    has: dict = field(default_factory=dict)      # headers of the answer; None: not there
    save: dict = field(default_factory=dict)     # name -> "a.0.b" of the answer, or "header:X"
    until: float = 0            # seconds: ask again until it matches
    after: float = 0            # seconds that pass first: for services that count time in seconds
    sign: Any = None            # Sign: a temporary URL
    source: str = ""            # where it is written that this must be so
    says: str = ""              # one line for people
    only: str = ""              # "real" or "pocket": the other can't do it, for this reason:
    reason: str = ""


@dataclass
class Scene:
    name: str
    rows: list
    cleanup: list = field(default_factory=list)  # run whatever happened; what isn't there is fine


@dataclass
class Sign:
    """Adds a temporary URL's query. `path` other than the request's own: a signature for elsewhere."""
    method: str
    key: str
    expires: int = 60       # seconds from now
    digest: str = "sha256"
    prefix: Any = None      # sign "c/prefix" instead of the object; with temp_url_prefix
    more: str = ""          # further query, "&inline"
    path: Any = None        # "/v1/AUTH_x/..."
    form: str = "hex"       # or "iso": the expiry as a date


class Some:
    """Some item of the list matches."""
    def __init__(self, item): self.item = item


class Every:
    """Every item of the list matches; `least`: there are that many."""
    def __init__(self, item, least=1): self.item, self.least = item, least


class No:
    """No item of the list matches."""
    def __init__(self, item): self.item = item


class Len:
    """So many items, characters or keys."""
    def __init__(self, n): self.n = n


class AnyOf:
    """One of these matches."""
    def __init__(self, *items): self.items = items


class All:
    """All of these match: All(Len(2), Some({...}))"""
    def __init__(self, *items): self.items = items


class Not:
    def __init__(self, item): self.item = item


class Absent:
    """As a key's value: the key is not there."""


Anything = object


def difference(want, got, at="answer"):
    """Words for the first difference, or None. A type means "of this type", a pattern is searched."""
    if want is Anything:
        return None
    if isinstance(want, type):
        fits = isinstance(got, want) and not (want in (int, float) and isinstance(got, bool))
        fits = fits or (want is float and isinstance(got, int) and not isinstance(got, bool))
        return None if fits else f"{at} is {got!r}, wanted a {want.__name__}"
    if isinstance(want, re.Pattern):
        text = got if isinstance(got, str) else repr(got)
        return None if want.search(text) else f"{at} is {got!r}, wanted {want.pattern!r}"
    if isinstance(want, AnyOf):
        return None if any(difference(w, got, at) is None for w in want.items) else f"{at} is {got!r}"
    if isinstance(want, All):
        return next((d for d in (difference(w, got, at) for w in want.items) if d), None)
    if isinstance(want, Not):
        return None if difference(want.item, got, at) else f"{at} is {got!r}"
    if isinstance(want, Len):
        fits = isinstance(got, (list, str, dict)) and len(got) == want.n
        return None if fits else f"{at} has not the length {want.n}: {got!r}"
    if isinstance(want, (Some, Every, No)):
        return difference_of_list(want, got, at)
    if isinstance(want, dict):
        return difference_of_dict(want, got, at)
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return f"{at} is {got!r}, wanted {len(want)} items"
        return next((d for d in (difference(w, g, f"{at}.{i}")
                                 for i, (w, g) in enumerate(zip(want, got))) if d), None)
    if isinstance(want, bool) or isinstance(got, bool):
        return None if want is got else f"{at} is {got!r}, wanted {want!r}"
    return None if want == got else f"{at} is {got!r}, wanted {want!r}"


def difference_of_list(want, got, at):
    if not isinstance(got, list):
        return f"{at} is {got!r}, wanted a list"
    found = [difference(want.item, g, f"{at}.{i}") for i, g in enumerate(got)]
    if isinstance(want, Some):
        return None if None in found else f"{at} has no such item: {found}"
    if isinstance(want, No):
        return f"{at} has such an item: {got!r}" if None in found else None
    if len(got) < want.least:
        return f"{at} has {len(got)} items, wanted {want.least}"
    return next((d for d in found if d), None)


def difference_of_dict(want, got, at):
    if not isinstance(got, dict):
        return f"{at} is {got!r}, wanted an object"
    for key, value in want.items():
        if value is Absent:
            if key in got:
                return f"{at}.{key} is there: {got[key]!r}"
        elif key not in got:
            return f"{at}.{key} is not there"
        else:
            words = difference(value, got[key], f"{at}.{key}")
            if words:
                return words
    return None
