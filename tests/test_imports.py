"""No module of ours needs, by whatever way, one that needs it: each can be read, and changed, before those that use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import grimp


def test_no_two_modules_import_each_other() -> None:
    """Also not by way of others, and also not inside a function; what only a type checker reads is no import."""
    graph = grimp.build_graph("everloop", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200, "all of them were looked at"
    assert list(_circles(imports)) == []


def test_a_circle_is_found() -> None:
    """Or the test above would show nothing."""
    imports = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d"}}
    assert sorted(map(sorted, _circles(imports))) == [["b", "c"], ["d"]]


def _circles(imports: Mapping[str, Set[str]]) -> Iterator[set[str]]:
    """Groups of modules each of which reaches all the others and itself."""
    reached = {module: _reached(module, imports) for module in imports}
    left = set(imports)
    while left:
        module = left.pop()
        group = {other for other in reached[module] if module in reached[other]}
        left -= group
        if group:
            yield group


def _reached(module: str, imports: Mapping[str, Set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = list(imports[module])
    while ahead:
        if (following := ahead.pop()) not in found:
            found.add(following)
            ahead += imports[following]
    return found
