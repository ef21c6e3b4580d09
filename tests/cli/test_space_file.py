import json

import pytest

from bbopt.cli import space_file
from bbopt.cli.space_file import read_space_file
from bbopt.errors import UsageError
from bbopt.space import Categorical, Float, Int, Space, Text

SPACE = Space(
    {
        "minutes": Float(1, 8),
        "grams": Int(1, 5),
        "leaf": Categorical(["green", "black"]),
        "prompt": Text("Answer in one word."),
    }
)


def documented() -> str:
    """The example in the module's docstring."""
    lines = space_file.__doc__.split("::\n\n")[1].split("\n\nJSON")[0]
    return "\n".join(line.removeprefix("    ") for line in lines.split("\n"))


def test_the_documented_example_is_read(tmp_path):
    (tmp_path / "tea.toml").write_text(documented())
    spec = read_space_file(tmp_path / "tea.toml")
    assert spec.space == SPACE
    assert spec.direction == "maximize"
    assert spec.objective == "Taste of the tea, 0 to 10."
    assert spec.deterministic is False


def test_json_has_the_same_content(tmp_path):
    tables = {entry.pop("name"): entry for entry in SPACE.to_json()}
    (tmp_path / "tea.json").write_text(json.dumps({"direction": "minimize", **tables}))
    spec = read_space_file(tmp_path / "tea.json")
    assert list(spec.space.items()) == list(SPACE.items())
    assert spec.direction == "minimize"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "space must map at least one name to a dimension"),
        ("[x]\nkind = 'float'\nlow = 2\nhigh = 1", "parameter 'x': Float: low must be <= high"),
        ("[x]\nkind = 'real'", "parameter 'x': kind must be one of float, int"),
        ("[x]\nlow = 1", "parameter 'x': kind must be one of float, int"),
        ("[x]\nkind = 'float'\nlow = 1", "missing 1 required positional argument: 'high'"),
        ("[x]\nkind = 'int'\nlow = 1\nhigh = 2\nlgo = true", "unexpected keyword argument 'lgo'"),
        ("[x]\nkind = 'int'\nlow = 1\nhigh = nan", "high must be an integer"),
        ("[x]\nkind = 'int'\nlow = 1\nhigh = 2\nname = 'y'", "parameter 'x' has no option 'name'"),
        ("direction = 'up'\n[x]\nkind = 'int'\nlow = 1\nhigh = 2", "direction must be one of"),
        ("x = 3", "'x' must be a table of a parameter, or one of direction"),
        ("[x", "Expected ']'"),
    ],
)
def test_a_file_that_describes_no_space_is_named_with_the_reason(tmp_path, text, said):
    (tmp_path / "tea.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_space_file(tmp_path / "tea.toml")
    assert str(caught.value).startswith(f"space file {tmp_path}/tea.toml: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["tea.toml", "tea.json"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(UsageError, match="No such file or directory"):
        read_space_file(tmp_path / name)
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=f"space file .*{name}: "):
        read_space_file(tmp_path / name)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UsageError, match="must be an object of objects"):
        read_space_file(tmp_path / "list.json")
