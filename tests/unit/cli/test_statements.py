"""Statements out of typed text, and the prompt that asks for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import UsageError
from jobs.cli.statements import FIRST, GOES_ON, HELP, ask, split

QUIET = [
    "select 1",
    "r'\\'",
    "a /* b /* ; */ ; */ c",
    "select 1 -- a \\\n; b\n+ 1",
    "a 'it; \\'s' b",
    'x "; "',
    "y `;`",
    "z /* ; */ 1",
    "-- no; end\nselect 2",
    "select\n\n3",
    "''",
]


@given(
    st.lists(st.sampled_from(QUIET), max_size=6), st.sampled_from(["", *QUIET]), st.sampled_from([";", " ;\n", ";;"])
)
def test_statements_are_cut_at_the_semicolons_that_end_them(written, rest, end):
    found, left = split("".join(statement + end for statement in written) + rest)
    assert [statement for _, statement in found] == written
    assert left == rest


@pytest.mark.parametrize("text", ["", "  \n", ";;\n ;", "-- a word\n", "/* ; */ ;", "/* never /* closed */ ;"])
def test_what_says_nothing_is_no_statement(text):
    assert split(text) == ([], "")


@pytest.mark.parametrize("text", ["select 'a;", 'select ";', "select `;", "select 1 /* ;", "select 1 -- ;"])
def test_what_is_not_closed_goes_on(text):
    assert split(text) == ([], text)


def test_each_statement_knows_its_line():
    assert split("\nselect 1;\n\n  select\n2; select 3;")[0] == [(2, "select 1"), (4, "select\n2"), (5, "select 3")]


def typed(*lines):
    """What is answered, what is said and what was prompted where these lines are typed; an exception is raised."""
    given, answered, said, prompts = iter([*lines, EOFError()]), [], [], []

    def read(prompt):
        prompts.append(prompt)
        line = next(given)
        if isinstance(line, BaseException):
            raise line
        return line

    def answer(statement):
        answered.append(statement)
        if statement == "wrong":
            raise UsageError("that is wrong")

    ask(read, answer, said.append)
    return answered, said, prompts


def test_a_statement_may_have_several_lines_and_a_line_several_statements():
    answered, _, prompts = typed("select 1;", "select", "  2", "; select 3; select", "4;")
    assert answered == ["select 1", "select\n  2", "select 3", "select\n4"]
    assert prompts == [FIRST, FIRST, GOES_ON, GOES_ON, GOES_ON, FIRST]


@pytest.mark.parametrize("word", ["\\q", "quit", "exit", " \\q "])
def test_it_is_left_by_a_word(word):
    assert typed("select 1;", word, "select 2;")[0] == ["select 1"]


def test_what_fails_is_said_and_it_goes_on():
    answered, said, _ = typed("wrong;", "select 1;")
    assert answered == ["wrong", "select 1"]
    assert said == [HELP, "castmine: that is wrong", ""]


def test_ctrl_c_forgets_what_was_typed():
    answered, _, prompts = typed("select", KeyboardInterrupt(), "select 2;")
    assert answered == ["select 2"]
    assert prompts == [FIRST, GOES_ON, FIRST, FIRST]
