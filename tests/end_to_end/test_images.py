"""The images of compose.yaml are built beside other tests; test_compose.py starts them."""

import pytest

from tests.containers import ROOT, base, engine, make_stand_ins


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_image_of_askdocs_is_built_and_has_the_command() -> None:
    with engine() as docker:
        make_stand_ins(docker)
        pinned = base()
        docker(
            *("build", "--network", "host", "--file", ROOT / "deploy" / "Dockerfile"),
            *("--build-context", f"{pinned}=docker-image://{pinned.split('@')[0]}"),
            *("--tag", "askdocs-under-test", ROOT),
        )
        done = docker(
            "run", "--rm", "--network", "none", "askdocs-under-test", "askdocs", "--version"
        )
        assert done.stdout.startswith("askdocs ")
