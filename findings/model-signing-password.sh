#!/usr/bin/env bash
# model-signing 1.1.1:
#
# 1. It imports OpenSSL, but pyOpenSSL is not among its requirements. It came with sigstore until 4.5.0, and 4.5.1 no
#    longer requires it. A fresh `pip install model-signing` does not start.
# 2. `model_signing sign key --password`, and use_elliptic_key_signer(password=...), whose parameter is declared as a str,
#    cannot sign with an encrypted private key: the password is handed to cryptography, which takes only bytes. The same key
#    without encryption signs.
#
# Seen on 2026-11-30:
#   fresh install:                    ModuleNotFoundError: No module named 'OpenSSL'
#   with pyOpenSSL, plain key:        Signing succeeded
#   with pyOpenSSL, encrypted key:    Signing failed with error: Cannot convert "<class 'str'>" instance to a buffer.
#   library, password as bytes:       signed
#
# What to do: install pyOpenSSL beside it. From Python, give the password as bytes; on the command line, decrypt the key first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check model-signing==1.1.1 sigstore==4.5.1 cryptography==50.0.2
mkdir model
echo weights >model/model.safetensors
cat >keys.py <<'PY'
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

key = ec.generate_private_key(ec.SECP256R1())
form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
for name, encryption in [
    ("plain.pem", serialization.NoEncryption()),
    ("encrypted.pem", serialization.BestAvailableEncryption(b"a password")),
]:
    with open(name, "wb") as file:
        file.write(key.private_bytes(*form, encryption))
PY
cat >library.py <<'PY'
from pathlib import Path

import model_signing

config = model_signing.signing.Config().use_elliptic_key_signer(private_key="encrypted.pem", password=b"a password")
config.sign("model", "library.sig")
print("signed" if Path("library.sig").stat().st_size > 0 else "nothing written")
PY
python/bin/python keys.py
sign() { python/bin/model_signing sign key model --signature "$1" --private_key "${@:2}" 2>&1 || true; }

status=0
expect() {
  printf '%-33s %s\n' "$1" "$2"
  [ "$2" = "$3" ] || { echo "  expected: $3"; status=1; }
}
expect "fresh install:" "$(sign fresh.sig plain.pem | tail -n 1)" "ModuleNotFoundError: No module named 'OpenSSL'"
python/bin/pip install --quiet --disable-pip-version-check pyOpenSSL==26.4.0
expect "with pyOpenSSL, plain key:" "$(sign plain.sig plain.pem | tail -n 1)" "Signing succeeded"
expect "with pyOpenSSL, encrypted key:" "$(sign encrypted.sig encrypted.pem --password 'a password' | grep 'Signing')" \
  "Signing failed with error: Cannot convert \"<class 'str'>\" instance to a buffer."
expect "library, password as bytes:" "$(python/bin/python library.py 2>&1 | tail -n 1)" "signed"
exit "$status"
