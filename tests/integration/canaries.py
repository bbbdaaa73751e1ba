# SPDX-License-Identifier: Apache-2.0
"""Finds secrets where none may be. Every fake secret of the tests carries the word `canary`; a text
or a file is searched for whole secrets and for the word itself, in each form in which bytes travel.

Pure functions.
"""

import base64
import functools
import json
import urllib.parse

WORD = "canary"


def _base64_inside(data, before):
    """What base64 shows of `data` for certain when `before` bytes precede it and any follow."""
    encoded = base64.b64encode(b"\0" * before + data)
    first = -(-before * 8 // 6)
    return encoded[first:(before + len(data)) * 8 // 6]


@functools.lru_cache(maxsize=None)
def forms(secret):
    """{name of the form: bytes} of one secret."""
    data = secret.encode()
    found = {"raw": data, "hex": data.hex().encode(), "HEX": data.hex().upper().encode(),
             "url": urllib.parse.quote(secret, safe="").encode(),
             "url-form": urllib.parse.quote_plus(secret).encode(),
             "url-all": b"".join(b"%%%02X" % byte for byte in data),
             "json": json.dumps(secret)[1:-1].encode(),
             "json-utf8": json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
             "json-slash": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
             "json-all": b"".join(b"\\u%04x" % ord(char) for char in secret),
             "utf-16": secret.encode("utf-16-le"), "reversed": data[::-1]}
    for before in range(3):
        inside = _base64_inside(data, before)
        found[f"base64+{before}"] = inside
        found[f"base64url+{before}"] = inside.replace(b"+", b"-").replace(b"/", b"_")
    return found


def find(blob, secrets=()):
    """[(secret's first characters, form)] of what is in the blob, a text or bytes."""
    data = blob.encode() if isinstance(blob, str) else blob
    return [(secret[:24], form) for secret in (WORD, *secrets)
            for form, pattern in forms(secret).items() if pattern in data]
