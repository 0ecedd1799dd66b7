"""Names never collide, markers are read back exactly, people's comments survive."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbtether.api.identifiers import MAX_IDENTIFIER_BYTES, name_problem
from dbtether.api.names import (
    Group,
    Marker,
    check_identifier,
    child_name,
    credentials_secret_name,
    cut_bytes,
    group_role,
    group_roles,
    marker,
    marker_in,
    parse_marker,
    per_database_secret_names,
    second_login,
    short_id,
    with_marker,
    without_marker,
)
from dbtether.errors import InvalidSpec

LONG = "x" * 50
utf8 = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=70)
databases = st.one_of(
    utf8,
    st.from_regex(r"[a-z_][a-z0-9_]{0,62}", fullmatch=True),
    st.builds("{}_{}".format, st.text("ab", min_size=1, max_size=60), st.sampled_from(Group)),
    st.builds("{}_{}".format, st.text("ab", min_size=25, max_size=40), st.just(short_id(LONG))),
)
labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
markers = st.builds(
    Marker, labels, labels, st.one_of(st.none(), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True))
)
comments = st.one_of(
    st.none(),
    st.text(),
    st.lists(st.one_of(st.text("ab \r", max_size=5), markers.map(str)), max_size=5).map("\n".join),
)


@pytest.mark.parametrize(
    ("database", "group", "name"),
    [
        ("a", Group.READONLY, "dbtether_a_readonly"),
        ("a_readonly", Group.OWNER, "dbtether_a_readonly_owner"),
        ("x" * 44, Group.READWRITE, f"dbtether_{'x' * 44}_readwrite"),
        ("x" * 45, Group.READWRITE, f"dbtether_{'x' * 31}_{short_id('x' * 45)}_readwrite"),
        ("x" * 63, Group.ADMIN, f"dbtether_{'x' * 35}_{short_id('x' * 63)}_admin"),
        ("ä" * 31, Group.ADMIN, f"dbtether_{'ä' * 17}_{short_id('ä' * 31)}_admin"),
        ("app_202601011200", Group.OWNER, "dbtether_app_202601011200_owner"),
    ],
)
def test_group_roles_keep_the_database_and_the_group_readable(database: str, group: Group, name: str) -> None:
    assert group_role(database, group) == name


@settings(deadline=None)
@given(databases, databases, st.sampled_from(Group), st.sampled_from(Group))
@example("a", "a_readonly", Group.READONLY, Group.READONLY)
@example(LONG, f"{'x' * 32}_{short_id(LONG)}", Group.READONLY, Group.READONLY)
@example("x" * 62, "x" * 63, Group.OWNER, Group.OWNER)
def test_two_pairs_of_database_and_group_never_share_a_role(one: str, two: str, first: Group, second: Group) -> None:
    names = group_role(one, first), group_role(two, second)
    assert (names[0] == names[1]) == ((one, first) == (two, second))
    assert all(len(name.encode()) <= MAX_IDENTIFIER_BYTES for name in names)


@settings(deadline=None)
@given(databases, st.sampled_from(Group))
def test_a_cut_name_never_equals_the_uncut_name_of_another_database(database: str, group: Group) -> None:
    name = group_role(database, group)
    lookalike = name.removeprefix("dbtether_").removesuffix(f"_{group}")
    assert lookalike == database or group_role(lookalike, group) != name


def test_all_four_groups_are_distinct() -> None:
    assert len(set(group_roles("shop").values())) == 4


@settings(deadline=None)
@given(utf8, st.integers(0, 80))
def test_a_cut_ends_between_characters(text: str, size: int) -> None:
    cut = cut_bytes(text, size)
    assert text.startswith(cut)
    assert size - 3 <= len(cut.encode()) <= size or cut == text


@settings(deadline=None)
@given(utf8, utf8)
def test_the_second_login_of_a_rotation_fits_and_is_its_own(one: str, two: str) -> None:
    assert len(second_login(one).encode()) <= MAX_IDENTIFIER_BYTES
    assert second_login(one) != second_login(two) or one == two


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("a\0b", "NUL"),
        ("a\nb", "line break"),
        ("x" * 64, "has 64 bytes"),
        ("ä" * 32, "has 64 bytes"),
        ("\ud800", "surrogate"),
    ],
)
def test_an_identifier_that_postgresql_would_misread_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InvalidSpec, match=problem):
        check_identifier(name)


@pytest.mark.parametrize("name", ["a", "A b", 'say "hi"', "x" * 63, "🐘" * 15, "'; --"])
def test_an_identifier_that_quoting_can_carry_is_kept(name: str) -> None:
    assert check_identifier(name) == name


@settings(deadline=None)
@given(markers)
def test_a_marker_is_read_back_as_it_was_built(built: Marker) -> None:
    assert parse_marker(str(built)) == built
    assert built.is_older_form == (built.installation is None)


@settings(deadline=None)
@given(st.text())
def test_any_other_text_is_no_marker(text: str) -> None:
    found = parse_marker(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dbtether:",
        "dbtether:a",
        "dbtether:a/",
        "dbtether:/b",
        "dbtether:a/b@",
        "dbtether:a/b@x y",
        "dbtether:a/b@x@y",
        "dbtether:a/b/c@x",
        "dbtether:A/b@x",
        " dbtether:a/b@x",
        "dbtether:a/b@x\n",
        "DBTETHER:a/b@x",
    ],
)
def test_a_lookalike_is_no_marker(text: str) -> None:
    assert parse_marker(text) is None


def test_the_older_form_is_told_apart() -> None:
    assert parse_marker("dbtether:default/my-app") == Marker("default", "my-app", None)
    assert parse_marker("dbtether:default/my-app@prod") == Marker("default", "my-app", "prod")


@pytest.mark.parametrize("parts", [("A", "b", "x"), ("a", "b", ""), ("a", "b", "x y"), ("a", "b@c", "x")])
def test_a_marker_that_could_not_be_read_back_is_not_built(parts: tuple[str, str, str]) -> None:
    with pytest.raises(InvalidSpec):
        marker(*parts)


@settings(deadline=None)
@given(comments, markers)
def test_a_comment_gets_exactly_one_line_of_ours_and_keeps_the_rest(comment: str | None, wanted: Marker) -> None:
    marked = with_marker(comment, wanted)
    assert marker_in(marked) == wanted
    assert with_marker(marked, wanted) == marked
    assert without_marker(marked) == without_marker(comment)
    assert sum(parse_marker(line.strip()) is not None for line in marked.split("\n")) == 1


@settings(deadline=None)
@given(comments)
def test_removing_our_line_twice_is_removing_it_once(comment: str | None) -> None:
    once = without_marker(comment)
    assert without_marker(once) == once
    assert marker_in(once) is None


@settings(deadline=None)
@given(st.text(min_size=1), markers)
def test_a_text_without_our_line_comes_back_whole(comment: str, wanted: Marker) -> None:
    if marker_in(comment) is None:
        assert without_marker(with_marker(comment, wanted)) == comment


def test_our_line_is_replaced_in_its_place() -> None:
    comment = "shop database\ndbtether:a/b\nask team-a"
    assert with_marker(comment, Marker("a", "b", "x")) == "shop database\ndbtether:a/b@x\nask team-a"


def test_secret_names_are_the_readmes() -> None:
    assert credentials_secret_name("my-app-readonly") == "my-app-readonly-credentials"
    assert credentials_secret_name("u", "db") == "u-db-credentials"


subdomains = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]{1,60}){0,4}", fullmatch=True)


@settings(deadline=None)
@given(subdomains, st.lists(st.tuples(labels, subdomains), max_size=6))
def test_secret_names_are_kubernetes_names_and_do_not_clash(user: str, targets: list[tuple[str, str]]) -> None:
    names = per_database_secret_names(user, "own", targets)
    assert set(names) == set(targets)
    assert len(set(names.values())) == len(names)
    assert all(name_problem(name) is None for name in names.values())
    assert names == per_database_secret_names(user, "own", targets[::-1])


def test_the_own_namespace_keeps_the_plain_name_in_a_clash() -> None:
    names = per_database_secret_names("u", "own", [("a", "db"), ("own", "db")])
    assert names["own", "db"] == "u-db-credentials"
    assert names["a", "db"] == f"u-db-{short_id('u', 'db', 'a', 'db')}-credentials"


@settings(deadline=None)
@given(subdomains, st.from_regex(r"[0-9a-f]{8}", fullmatch=True))
def test_child_names_fit_a_label_and_end_with_the_run(name: str, run_id: str) -> None:
    child = child_name("backup", name, run_id=run_id)
    assert len(child) <= 63
    assert child.startswith("backup-")
    assert child.endswith(f"-{run_id}")


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_the_parts_of_an_id_do_not_run_into_each_other(one: list[str], two: list[str]) -> None:
    assert (short_id(*one) == short_id(*two)) == (one == two)
