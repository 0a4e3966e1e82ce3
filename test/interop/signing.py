"""Checks Roslin's signatures by OpenSSF's model_signing, and its signatures by Roslin: python3 signing.py

For keys on P-256, P-384 and P-521, one of them encrypted, a small model is published with `publish.sign`. Then
- `model_signing verify key` accepts it, and refuses it with any one byte of any file flipped, a file more and a file less;
- `roslin verify --key` says the same of each;
- both refuse another key;
- model_signing's own signature of the same directory is accepted by `roslin verify --key`, and refused after one flipped byte;
- the provenance is a statement that in-toto's library reads.
Needs model-signing 1.1 and pyOpenSSL (which that package forgets), openssl, and a built dist/. Exits with 1 if something differs.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance  # type: ignore[import-untyped]
from in_toto_attestation.v1.statement_pb2 import Statement  # type: ignore[import-untyped]

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SIGNATURES = ["model.sig", "provenance.intoto.jsonl"]
FAILED: list[str] = []


def check(what: str, right: bool) -> None:
    """Says what was compared."""
    print(f"{'ok   ' if right else 'WRONG'} {what}", flush=True)
    if not right:
        FAILED.append(what)


def run(*args: str | pathlib.Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command with further variables of the environment."""
    return subprocess.run([str(arg) for arg in args], env={**os.environ, **variables}, capture_output=True, text=True, check=False)


def theirs(directory: pathlib.Path, public: pathlib.Path) -> bool:
    """Whether model_signing accepts a directory."""
    signature = directory / "model.sig"
    command: list[str | pathlib.Path] = [
        sys.executable,
        "-m",
        "model_signing",
        "verify",
        "key",
        directory,
        "--signature",
        signature,
        "--public_key",
        public,
    ]
    return run(*command).returncode == 0


def ours(directory: pathlib.Path, public: pathlib.Path) -> bool:
    """Whether Roslin accepts a directory."""
    code = f"process.exit(await (await import({json.dumps(str(ROOT / 'dist/cli/main.js'))})).main(process.argv.slice(1)))"
    return run("node", "--input-type=module", "-e", code, "verify", directory, "--key", public).returncode == 0


def flip(path: pathlib.Path, at: int) -> bytes:
    """Flips the lowest bit of a byte; returns what the file was."""
    before = path.read_bytes()
    path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
    return before


def new_key(place: pathlib.Path, curve: str, passphrase: str | None) -> tuple[pathlib.Path, pathlib.Path]:
    """A private and a public key by openssl."""
    private, public = place / "key.pem", place / "pub.pem"
    secret = [] if passphrase is None else ["-aes-256-cbc", "-pass", f"pass:{passphrase}"]
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", *secret, "-out", private], check=True
    )
    given = [] if passphrase is None else ["-passin", f"pass:{passphrase}"]
    subprocess.run(["openssl", "pkey", "-in", private, *given, "-pubout", "-out", public], check=True)
    return private, public


def publish(place: pathlib.Path, private: pathlib.Path, passphrase: str | None) -> pathlib.Path:
    """A signed published directory."""
    variables = {"KEY": private.read_text(), **({} if passphrase is None else {"PASSPHRASE": passphrase})}
    made = run("node", HERE / "signing.mjs", place / "target", **variables)
    if made.returncode != 0:
        raise SystemExit(made.stderr)
    return pathlib.Path(made.stdout.strip())


def check_provenance(directory: pathlib.Path) -> None:
    """The statement as in-toto's own messages read it."""
    envelope = json.loads((directory / "provenance.intoto.jsonl").read_text())
    statement = json_format.Parse(base64.b64decode(envelope["payload"]), Statement())
    provenance = json_format.ParseDict(json_format.MessageToDict(statement.predicate), Provenance())
    inputs = [dependency.name for dependency in provenance.build_definition.resolved_dependencies]
    check("the provenance is one to in-toto's library", inputs == ["model", "dataset"])


def check_curve(place: pathlib.Path, curve: str, passphrase: str | None) -> None:
    """One kind of key."""
    private, public = new_key(place, curve, passphrase)
    (place / "other").mkdir()
    _, other = new_key(place / "other", curve, None)
    directory = publish(place, private, passphrase)
    kind = f"{curve}{'' if passphrase is None else ', encrypted'}"
    for name, verify in (("model_signing", theirs), ("roslin", ours)):
        check(f"{kind}: {name} accepts it", verify(directory, public))
        check(f"{kind}: {name} refuses another key", not verify(directory, other))
    check_provenance(directory)
    if curve != "P-256" or passphrase is not None:
        return
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        for at in (0, path.stat().st_size // 2, path.stat().st_size - 1):
            before = flip(path, at)
            refused = not theirs(directory, public), not ours(directory, public)
            path.write_bytes(before)
            check(f"{path.relative_to(directory)} with byte {at} flipped is refused by both", refused == (True, True))
    (directory / "more.bin").write_bytes(b"")
    check("a file more is refused by both", not theirs(directory, public) and not ours(directory, public))
    (directory / "more.bin").unlink()
    for name in SIGNATURES:
        (directory / name).unlink()
    command: list[str | pathlib.Path] = [
        sys.executable,
        "-m",
        "model_signing",
        "sign",
        "key",
        "--private_key",
        private,
        "--signature",
        directory / "model.sig",
    ]
    check("model_signing signs the directory", run(*command, directory).returncode == 0)
    check("roslin accepts model_signing's signature", theirs(directory, public) and ours(directory, public))
    config = directory / "config.json"
    before = flip(config, 10)
    check("and refuses a flipped byte under it", not ours(directory, public))
    config.write_bytes(before)


def main() -> None:
    """All kinds of keys."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="roslin-interop-signing-"))
    try:
        for number, (curve, passphrase) in enumerate([("P-256", None), ("P-256", "secret words"), ("P-384", None), ("P-521", None)]):
            (place / str(number)).mkdir()
            check_curve(place / str(number), curve, passphrase)
    finally:
        shutil.rmtree(place)
    if FAILED:
        raise SystemExit(f"{len(FAILED)} comparisons differ")
    print("all agree")


if __name__ == "__main__":
    main()
