# SPDX-License-Identifier: Apache-2.0
"""Resource documents that several integration tests share, as nested dicts for `keyturn apply`.

Pure functions; a test merges what differs on top.
"""

import os

APP_ID = "11111111-1111-1111-1111-111111111111"
WORKSPACE_ID = "22222222-2222-2222-2222-222222222222"


def reader(*globs, uid=None):
    """A policy that lets a user (default: the one who runs the test) read these names."""
    return {"principals": [{"unix": {"user": str(os.getuid() if uid is None else uid)}}],
            "allow": ["read"], "on": list(globs)}


def dify(sandbox, manager="dify/admin", app_id=APP_ID, **timing):
    """A provider at the sandbox's Dify; quick, unless `timing` says otherwise."""
    return {"recipe": "dify-app-key", "endpoint": sandbox.url, "manager": manager,
            "params": {"app_id": app_id, "workspace_id": WORKSPACE_ID},
            "timing": {"propagation": "2s", "settle": "1s", "cached_for": "0s", **timing}}


def api_key(provider, every="1h", grace="1s", **more):
    return {"provider": provider, "rotate": {"every": every, "grace": grace, "jitter": "0%"},
            **more}


def client_credentials(token_url, client_id, secret, **more):
    return {"oauth": {"token_url": token_url, "grant": "client_credentials",
                      "client_id": client_id, "client_secret": {"credential": secret}, **more}}


def refresh_token(token_url, client_id, secret, **more):
    return {"oauth": {"token_url": token_url, "grant": "refresh_token", "client_id": client_id,
                      "client_secret": {"credential": secret}, **more}}


STATIC = {"static": {}}
