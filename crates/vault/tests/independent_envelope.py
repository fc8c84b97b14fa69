"""Envelope format 1, written a second time from its description and not from the Rust code.

    independent_envelope.py seal FILE   print FILE with every "envelope" computed anew
    independent_envelope.py open FILE   print the card numbers of FILE's envelopes, one a line

FILE is JSON: a list of {name, data_key, data_key_id, tenant, token, number, salt, nonce, envelope}, bytes in hex.
Needs the package "cryptography".
"""

import json
import struct
import sys

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def expand(prk, info):
    return HKDFExpand(hashes.SHA256(), 32, info).derive(prk)


def keys(data_key, salt, context):
    extract = hmac.HMAC(salt, hashes.SHA256())
    extract.update(data_key)
    prk = extract.finalize()
    return expand(prk, b"pangate/v1/enc" + context), expand(prk, b"pangate/v1/commit" + context)


def aad(header, tenant, token):
    fields = [header, tenant.encode(), token.encode(), b"number", b"\x01"]
    return b"pangate/aad/v1" + b"".join(struct.pack(">H", len(field)) + field for field in fields)


def seal(vector):
    data_key, data_key_id, salt, nonce = (
        bytes.fromhex(vector[name]) for name in ("data_key", "data_key_id", "salt", "nonce")
    )
    context = b"\xc4\x01\x01\x00" + data_key_id
    encryption, commitment = keys(data_key, salt, context)
    header = context + salt + nonce + commitment
    number = vector["number"].encode()
    block = (bytes([len(number)]) + number).ljust(24, b"\0")
    return header + AESGCM(encryption).encrypt(nonce, block, aad(header, vector["tenant"], vector["token"]))


def unseal(vector):
    envelope, data_key = bytes.fromhex(vector["envelope"]), bytes.fromhex(vector["data_key"])
    assert len(envelope) == 120 and envelope[:4] == b"\xc4\x01\x01\x00", "format"
    context, salt, nonce, commitment = envelope[:20], envelope[20:36], envelope[36:48], envelope[48:80]
    encryption, expected = keys(data_key, salt, context)
    assert commitment == expected, "commitment"
    assert context[4:] == bytes.fromhex(vector["data_key_id"]), "data key id"
    header = envelope[:80]
    block = AESGCM(encryption).decrypt(nonce, envelope[80:], aad(header, vector["tenant"], vector["token"]))
    number = block[1 : 1 + block[0]]
    assert block == (bytes([len(number)]) + number).ljust(24, b"\0"), "padding"
    return number.decode()


def main():
    verb, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    if verb == "seal":
        for vector in vectors:
            vector["envelope"] = seal(vector).hex()
        print(json.dumps(vectors, indent=2))
    elif verb == "open":
        for vector in vectors:
            print(unseal(vector))
    else:
        sys.exit(__doc__)


main()
