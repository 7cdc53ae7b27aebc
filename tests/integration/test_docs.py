# SPDX-License-Identifier: BSD-3-Clause
"""The documents lead where they say, and their pictures are there, small, and shown."""
import re
import subprocess

import pytest

import harness

PAGES = sorted([*harness.ROOT.glob("*.md"), *harness.ROOT.glob("docs/**/*.md"),
                *harness.ROOT.glob("bench/*.md"), *harness.ROOT.glob("examples/*.md")])
PICTURES = harness.ROOT / "docs" / "pictures"


def without_code(text):
    return re.sub(r"^```.*?^```|^    .*?$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(page):
    return re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))


def anchors(page):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(harness.ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_picture_is_small_and_shown():
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    for picture in PICTURES.iterdir():
        assert picture.stat().st_size < 200_000, picture.name
        assert picture in shown, picture.name


def test_each_document_is_in_the_readmes_list():
    listed = {(harness.ROOT / link).resolve() for link in links(harness.ROOT / "README.md")}
    assert set((harness.ROOT / "docs").glob("*.md")) <= listed


def test_the_version_stands_in_one_place():
    """CMakeLists.txt; the tools have it from there, and the changelog tells of it first."""
    lists = (harness.ROOT / "CMakeLists.txt").read_text()
    version = re.search(r"^project\(mosquitto-ota VERSION (\d+\.\d+\.\d+) ", lists, re.MULTILINE)[1]
    first = re.search(r"^## (.*)$", (harness.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert re.fullmatch(re.escape(version) + r", (unreleased|\d{4}-\d\d-\d\d)", first)
    for command in ([harness.OTACTL, "--version"], [harness.OTASIM, "--help"]):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert version in said.splitlines()[0]
