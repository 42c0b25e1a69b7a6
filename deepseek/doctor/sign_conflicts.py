"""``python -m deepseek.doctor.sign_conflicts RULES.json --key FILE -o OUT``: sign conflict rules of a site.

A key that is not there is made, and its public half is printed: put it into the nodes' file of keys.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deepseek.doctor.conflict_rules import PAYLOAD_TYPE, parse_document
from deepseek.job import EngineError
from deepseek.signing.documents import encode_canonical
from deepseek.signing.dsse import sign
from deepseek.signing.keys import encode_public_key, generate_key, load_private_key, save_private_key


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="deepseek.doctor.sign_conflicts", description="Sign conflict rules of a site."
    )
    parser.add_argument("rules", type=Path, metavar="RULES.json")
    parser.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="an Ed25519 key in PEM; made if missing"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the signed file")
    arguments = parser.parse_args(argv)
    try:
        document = parse_document(arguments.rules.read_bytes(), str(arguments.rules))
        if not arguments.key.exists():
            save_private_key(arguments.key, generate_key())
        signer = load_private_key(arguments.key)
        envelope = sign(PAYLOAD_TYPE, encode_canonical(document), [signer])
        arguments.out.write_text(envelope.to_json() + "\n", encoding="utf-8")
    except (EngineError, OSError) as error:
        sys.stderr.write(f"sign_conflicts: {error}\n")
        return 2
    sys.stdout.write(f"{encode_public_key(signer.public_key)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
