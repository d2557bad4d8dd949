"""Words of the command line: what they are read as, what is refused, and that they come back the same."""

from __future__ import annotations

import enum
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbench.errors import UsageError
from ebbench.running import words
from ebbench.running.request import Request

# One line of characters that show.
VISIBLE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=20)
VALUES = st.recursive(
    st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e200, 1e200) | VISIBLE,
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(VALUES)
def test_a_value_comes_back_from_its_words(value):
    assert words.parse_settings([f"key={words.as_toml(value)}"]) == {"key": value}


class Shade(enum.Enum):
    DARK = "dark"


@pytest.mark.parametrize(
    ("value", "text"),
    [("mnist", "mnist"), ("5", '"5"'), ("true", '"true"'), (" a", '" a"'), (True, "true"), (0.5, "0.5")]
    + [((1, "a"), '[1,"a"]'), (Shade.DARK, "dark"), ("a\x7fb", "a\x7fb")],
)
def test_a_value_is_bare_where_it_is_read_back(value, text):
    assert words.as_toml(value) == text


def test_each_key_is_set_once_however_it_is_written():
    assert words.parse_settings([" a = 1 ", "b . c = mnist "]) == {"a": 1, "b.c": "mnist"}
    for twice in (["a=1", " a=2"], ["a=1", "a =2"], ["s.k=1", "s. k=2"]):
        with pytest.raises(UsageError, match="set twice"):
            words.parse_settings(twice)


@pytest.mark.parametrize("key", ["", " ", "a b", "a.", ".a", "a..b", "a\nb", "a;b", '"a"', "[a]"])
def test_a_key_that_none_can_be(key: str):
    with pytest.raises(UsageError, match="not a key|cannot read"):
        words.parse_settings([f"{key}=1"])


@pytest.mark.parametrize(
    "text",
    ["6\nx=3", "6\n", '"""6\n"""', '"a\\nb"', '["a\\u0007"]', "a\x1b[31m", "a\u2028b", "a\u202eb", "a\udcff"]
    + ["x" * 3000, "inf", "-nan", "1" + 301 * "0", "9" * 1999, "[1, 1e305]"],
)
def test_a_value_that_no_result_could_hold_is_refused_at_once(text: str):
    with pytest.raises(UsageError, match="'steps'"):
        words.parse_settings([f"steps={text}"])


def test_all_settings_fit_in_one_command():
    with pytest.raises(UsageError, match="too long"):
        words.parse_settings([f"a{n}={'x' * 900}" for n in range(3)])


@pytest.mark.parametrize("text", ["5 # five", "# x", "1, 2", "[1", "[" * 1500, "9" * 4500, "2020-01-01"])
def test_what_is_no_toml_is_the_whole_text(monkeypatch, text: str):
    monkeypatch.setattr(words, "MOST_OF_SETTINGS", 10_000)
    assert words.parse_settings([f"key={text}"]) == {"key": text}


@pytest.mark.parametrize(
    ("text", "seeds"),
    [(" 3 ", [3]), ("0-2", [0, 1, 2]), ("0 - 2", [0, 1, 2]), ("4294967295", [2**32 - 1])]
    + [(["0", "1"], [0, 1]), (["0-1", "1,5"], [0, 1, 5]), (("007",), [7])],
)
def test_seeds(text, seeds):
    assert words.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    ["", ",", "1-", "-1", "-", "1--2", "1-2-3", "3-1", "1_0", "+1", "1.0", "0x1", "٣", "²", "a", "1;2", []]
    + ["4294967296", "4294967290-4294967296", "9" * 30, "9" * 5000, "0-10000", "0-9999,10000", ["0", ""]],
)
def test_seeds_that_cannot_be(text):
    with pytest.raises(UsageError, match="seed"):
        words.parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("9m", 540),
        ("1.5h", 5400),
        ("2d", 172800),
        ("30", 30),
        (" 2m ", 120),
        ("366d", 31_622_400),
    ],
)
def test_durations(text: str, seconds: float):
    assert words.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "soon", "0", "0s", "-5", "+5", "1e9", "nan", "inf", "1_0", "٣m", "5 m 2", "1w", "9M", "5,5h"]
    + ["99999999h", "367d", "31622401", "9" * 400],
)
def test_durations_that_cannot_be(text: str):
    with pytest.raises(UsageError, match="duration|too long") as caught:
        words.parse_duration(text)
    assert "9m" in str(caught.value)


def test_the_command_of_a_request_takes_no_module_from_the_working_directory():
    request = Request(task="dots", model="./blob", sampler="shifted", set={"shifted.by": 0.5, "name": "5 é"})
    command = words.run_command(request, "0,2")
    assert command[:4] == [sys.executable, "-P", "-m", "ebbench.cli.main"]
    assert command[4:8] == ["run", "--task", "dots", "--model"]
    pairs = [command[i + 1] for i, word in enumerate(command) if word == "--set"]
    assert words.parse_settings(pairs) == dict(request.set)
