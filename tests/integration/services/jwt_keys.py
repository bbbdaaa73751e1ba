# SPDX-License-Identifier: Apache-2.0
"""RSA key pairs and the checking of RS256 JSON Web Tokens, with Debian's python3-cryptography:
independent of the code under test.
"""

import base64
import json
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class JwtError(Exception):
    pass


class KeyPair:
    def __init__(self):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def pem(self, form=serialization.PrivateFormat.PKCS8):
        return self._key.private_bytes(serialization.Encoding.PEM, form,
                                       serialization.NoEncryption()).decode()

    def pkcs1_pem(self):
        return self.pem(serialization.PrivateFormat.TraditionalOpenSSL)

    def claims_of(self, token):
        """The claims of a token that this key signed and that is valid now."""
        try:
            header, body, signature = token.split(".")
            if json.loads(_decode(header)).get("alg") != "RS256":
                raise JwtError("not RS256")
            self._key.public_key().verify(_decode(signature), f"{header}.{body}".encode(),
                                          padding.PKCS1v15(), hashes.SHA256())
            claims = json.loads(_decode(body))
        except (ValueError, InvalidSignature) as error:
            raise JwtError("not signed by this key") from error
        now = time.time()
        if not isinstance(claims.get("exp"), int) or not isinstance(claims.get("iat"), int):
            raise JwtError("exp and iat must be whole numbers")
        if claims["iat"] > now + 5 or claims["exp"] < now:
            raise JwtError("not valid now")
        return claims


def _decode(text):
    if "=" in text:
        raise ValueError("padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
