"""The API reference says what the docstrings say, of every public name."""

import re

import pytest

import everloop
from tests.docs.api_page import PAGE, page

_HEADING = re.compile(r"^### `(.+)`$", re.M)


def test_the_page_is_what_the_docstrings_give() -> None:
    """A docstring that has changed is not on the page until `make api` has run."""
    assert PAGE.read_text(encoding="utf-8") == page(), "make api"


@pytest.mark.parametrize("name", everloop.__all__)
def test_every_public_name_is_on_it_with_an_example(name: str) -> None:
    """Under a heading of its own, as a user writes it."""
    text = PAGE.read_text(encoding="utf-8")
    assert _HEADING.findall(text).count(f"ev.{name}") == 1
    entry = re.split(r"^##", text.partition(f"### `ev.{name}`\n")[2], maxsplit=1, flags=re.M)[0]
    assert "```python\n>>> " in entry
    assert re.search(rf"\bev\.{name}\b", entry)


def test_every_link_leads_to_a_heading() -> None:
    """The list at the top is for jumping; GitHub numbers headings that differ only in case."""
    text = PAGE.read_text(encoding="utf-8")
    anchors: list[str] = []
    for heading in _HEADING.findall(text):
        anchor = heading.lower().replace(".", "")
        same = sum(re.fullmatch(rf"{anchor}(-\d+)?", other) is not None for other in anchors)
        anchors.append(f"{anchor}-{same}" if same else anchor)
    linked = re.findall(r"\(#([\w-]+)\)", text)
    assert len(linked) == len(set(linked)) == len(everloop.__all__)
    assert set(linked) <= set(anchors)
