"""Do the pages lead where they say, and does README stay one that a newcomer finishes?"""

import re
from pathlib import Path

import pytest

from thpsweep.usage import EXAMPLES

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in ROOT.rglob("*.md") if not any(part[0] == "." for part in path.relative_to(ROOT).parts))
PICTURES = sorted((ROOT / ".pictures").glob("*.png"))


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve()
            target = target / "README.md" if anchor and target.is_dir() else target
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_readme_is_short_and_reaches_every_page() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text().splitlines()) <= 150
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", readme.read_text())}
    assert {page for page in PAGES if page.name == "README.md" and page != readme} <= linked


def test_pictures_are_small_shown_and_each_has_its_command() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert PICTURES and sum(picture.stat().st_size for picture in PICTURES) < 500_000
    for picture in PICTURES:
        assert f".pictures/{picture.name}" in text, f"{picture.name} is shown nowhere"
    for program in re.findall(r"python (\.pictures/\w+\.py)", text):
        assert (ROOT / program).is_file()


def test_the_commands_of_the_pages_are_verbs_that_exist() -> None:
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for verb in re.findall(r"(?:^|\s|/)thpsweep ([a-z]+)", block):
                assert verb in EXAMPLES, f"{page}: thpsweep {verb}"
