import pytest

from benchmarks.errors import RunError
from benchmarks.grid.spec import read_spec
from benchmarks.grid.yaml_reader import read_yaml

ALIAS_BOMB = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"\n".join(
    b"%c: &%c [%s]" % (here, here, b", ".join([b"*%c" % (here - 1)] * 10)) for here in range(ord("b"), ord("j"))
)
PLACES = (
    b"%s: *v",
    b"methods: [baseline]\n%s: *v",
    b"grids: [{%s: *v}]",
    b"methods: [{method: dsnet, config: {%s: *v}}]",
    b"corpora: {synthetic: {options: {%s: *v}}}",
    b"settings: {%s: *v}",
)
ODD = (
    b"[]",
    b"",
    b"{}",
    b"[[[[[]]]]]",
    b"9" * 49,
    b"-1",
    b"1.5e308",
    b".nan",
    b"2026-01-01",
    b"'" + b"x" * 9_000 + b"'",
)


def test_a_document_of_plain_values_is_what_pyyaml_makes_of_it():
    text = "a: &a [1, 2.5, yes, null, text]\nb: *a\nc: {<<: &d {x: 1, y: 2}, y: 3}\nd: *d\ne: 2026-01-31"
    found = read_yaml(text, "it")
    assert found["a"] == found["b"] == [1, 2.5, True, None, "text"]
    assert (found["c"], found["d"]) == ({"x": 1, "y": 3}, {"x": 1, "y": 2})
    assert read_yaml("", "it") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 1\nfolds: all\nepochs: 2", "the key 'epochs' is there twice"),
        ("a: [{x: 1, 'x': 2}]", "the key 'x' is there twice"),
        ("true: 1\nyes: 2", "the key True is there twice"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "the key '<<' is there twice"),
        ("a" * 900 + ": 1\n" + "a" * 900 + ": 2", "is there twice"),
        (ALIAS_BOMB, "more than 10,000 values when its aliases are written out"),
        ("a: &a [*a]", "an alias within what it stands for"),
        ("a: &a {b: [*a]}", "an alias within what it stands for"),
        ("[" * 5_000, "nested too deeply"),
        ("a: " + "9" * 4_200, "a number of 4,200 digits"),
        ("a: 0x" + "f" * 9_000, "a number of 9,002 digits"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("? {a: 1}\n: 2", "found unhashable key"),
        ("a: 2023-13-32", "is not YAML: month must be in"),
        ("\0", "is not YAML"),
        (b"\xff\xfe\xfd", "is not YAML"),
        ("a: " + "x" * 300_000, "more than 262,144 bytes"),
    ],
)
def test_what_no_person_would_write_is_one_short_line(text, message):
    with pytest.raises(RunError, match=message) as caught:
        read_yaml(text, "it")
    assert str(caught.value).startswith("it ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("place", PLACES)
def test_a_specification_with_any_value_in_any_place_is_read_or_refused_in_one_bounded_line(tmp_path, place, value):
    path, lines = tmp_path / "s.yaml", []
    for key in (b"methods", b"folds", b"encoders", b"seeds", b"epochs", b"alpha", b"speakers", b"learning_rate"):
        line = b"methods: [baseline]\n" * (b"methods:" not in place and key != b"methods")
        path.write_bytes(line + (place % key).replace(b"*v", value))
        try:
            read_spec(str(path), {})
        except RunError as error:
            lines.append(str(error))
    assert lines or b"config" in place  # which is for the plan to check
    assert all("\n" not in line and len(line) <= 1_000 + len(str(path)) for line in lines)


@pytest.mark.parametrize("place", PLACES)
def test_an_alias_bomb_is_refused_wherever_it_stands(tmp_path, place):
    path = tmp_path / "s.yaml"
    path.write_bytes(ALIAS_BOMB + b"\nv: &v *i\n" + place % b"x")
    with pytest.raises(RunError, match="is not YAML"):
        read_spec(str(path), {})
