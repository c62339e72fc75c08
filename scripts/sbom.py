"""Writes a bill of materials (SBOM) of each lock file: `make sbom`.

    .venv/bin/python scripts/sbom.py [--out dist/sbom] [LOCK ...]

CycloneDX 1.6 as JSON, one file for each lock file, by cyclonedx-py: every package with its version,
its address in the index and its hashes; with its licence where it is installed here in that very
version. Each is checked against the schema of CycloneDX. The same lock files and environments give
the same bytes.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from askdocs import environments  # noqa: E402
from askdocs.environments.known_bad import normal  # noqa: E402
from gateway.core.errors import AskdocsError  # noqa: E402

LOCKS = ROOT / "requirements"
HOME = ROOT / ".cache" / "security"
SPEC = "1.6"
# By a compiled checker, which schemathesis brings: that of cyclonedx-py, in Python, took 5 s for 29
# packages, in place of 0.02 s.
CHECK = f"""
import json, sys
from pathlib import Path
from cyclonedx.schema import SchemaVersion, _res
from jsonschema_rs import Draft7Validator, Registry

def load(file):
    return json.loads(Path(file).read_text(encoding="utf-8"))

address = "http://cyclonedx.org/schema/{{}}.SNAPSHOT.schema.json"
names = {{"spdx": _res.SPDX_JSON, "jsf-0.82": _res.JSF}}
names["cryptography-defs"] = _res.CRYPTOGRAPHY_DEFS
registry = Registry([(address.format(name), load(file)) for name, file in names.items()])
schema = load(_res.BOM_JSON_STRICT[SchemaVersion.V{SPEC.replace(".", "_")}])
checker = Draft7Validator(schema, registry=registry, validate_formats=True)
for wrong in checker.iter_errors(json.load(sys.stdin)):
    sys.exit(str(wrong))
"""
Licences = Mapping[tuple[str, str], dict[str, Any]]


def installed(environments_: Iterable[Path]) -> Licences:
    """The licences of what is installed, by name and version, as CycloneDX has them."""
    found = {}
    for environment in environments_:
        sites = [str(site) for site in environment.glob("lib/python*/site-packages")]
        for one in distributions(path=sites):
            if licence := licence_of(one):
                found[normal(one.name), one.version] = licence
    return found


def licence_of(package: Distribution) -> dict[str, Any] | None:
    """What its metadata say: an SPDX expression, a classifier, or a word or two."""
    said = package.metadata
    if expression := (said.get_all("License-Expression") or [""])[0]:
        return {"expression": expression}
    classifiers = said.get_all("Classifier") or []
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    if names:
        return {"license": {"name": names[0]}}
    text = (said.get_all("License") or [""])[0].strip()
    return {"license": {"name": text}} if text and len(text) < 100 and "\n" not in text else None


def bill(program: Path, lock: Path, licences: Licences) -> str:
    """The bill of a lock file. Raises AskdocsError: the program failed."""
    command = [str(program), "requirements", str(lock), "--output-reproducible", "--sv", SPEC]
    # `check` looks at what is written in the end.
    command += ["--of", "JSON", "--no-validate", "--pyproject", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AskdocsError(f"{lock.name}: cyclonedx-py failed: {done.stderr.strip()[-500:]}")
    made = json.loads(done.stdout)
    for component in made["components"]:
        known = licences.get((normal(component["name"]), component.get("version", "")))
        if known and not component.get("licenses"):
            component["licenses"] = [known]
    return json.dumps(made, indent=2, sort_keys=True) + "\n"


def check(python: Path, text: str) -> None:
    """Raise AskdocsError unless it fits the schema of CycloneDX."""
    done = subprocess.run(
        [str(python), "-c", CHECK], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AskdocsError(f"no bill of materials: {done.stderr.strip()[-500:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("locks", nargs="*", type=Path, metavar="LOCK", help="default: all of them")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "sbom", help="folder")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        python = environments.ensure(environments.SECURITY, HOME, say)
        configs = (ROOT / ".cache").glob("*/environments/*/pyvenv.cfg")
        licences = installed([ROOT / ".venv", *sorted(config.parent for config in configs)])
        options.out.mkdir(parents=True, exist_ok=True)
        for lock in options.locks or sorted(LOCKS.glob("*.lock")):
            text = bill(python.with_name("cyclonedx-py"), lock, licences)
            check(python, text)
            target = options.out / f"{lock.stem}.cdx.json"
            new = target.with_suffix(".new")
            new.write_text(text, encoding="utf-8")
            os.replace(new, target)
            parts = json.loads(text)["components"]
            known = sum("licenses" in one for one in parts)
            print(f"{target}: {len(parts)} packages, {known} with a licence", flush=True)
    except AskdocsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
