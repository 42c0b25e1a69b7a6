"""An evidence run of an empty plane: seconds in all, of the slowest probes, and against the bare walk of addresses.

    PLANE_HOME=/tmp/plane python -m benchmarks.evidence

The named alternative is one probe alone, the walk of every address without an account: what a scanner would do.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

LIMIT_SECONDS = 60.0


def main() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.site.compliance.evidence import make_evidence
    from apps.site.compliance.folder.verifier.verify import verify_folder
    from apps.site.compliance.probes.context import ProbeContext
    from apps.site.compliance.probes.outcomes import run_probe
    from apps.site.compliance.probes.registry import PROBES, quiet_logs

    call_command("migrate", verbosity=0)
    actor = build_plane_actor(PlaneRole.OPERATOR, host="benchmark")
    with tempfile.TemporaryDirectory() as place:
        target = Path(place, "evidence")
        started, processor = time.monotonic(), time.process_time()
        run, folder = make_evidence(actor=actor, target=target)
        seconds, processor = time.monotonic() - started, time.process_time() - processor
        with quiet_logs():
            walk = run_probe("anonymous-access", PROBES["anonymous-access"], ProbeContext()).seconds
        started = time.monotonic()
        faults, _ = verify_folder(target)
        verified = time.monotonic() - started
    slowest = sorted(run.probes, key=lambda row: -row["seconds"])[:5]
    print(f"evidence run: {seconds:.1f} s ({processor:.1f} s of processor time), limit {LIMIT_SECONDS:.0f} s")
    print(f"the walk of addresses alone: {walk:.1f} s; ratio {seconds / walk:.1f}")
    print(f"verify.py: {verified:.2f} s, {len(faults)} faults, {len(folder.digests)} files")
    print("slowest probes: " + ", ".join(f"{row['name']} {row['seconds']:.1f} s" for row in slowest))


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    main()
