"""From --llm and --price to a client."""

from __future__ import annotations

import pytest

from bbopt.cli.models import build_client
from bbopt.errors import UsageError
from bbopt.llm import ROLES, Price
from bbopt.testing import ScriptedLLM


@pytest.fixture(autouse=True)
def _own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")


@pytest.mark.parametrize("specs", [(), ("none",), ("none", "judge=none"), ("proposer=none",)])
def test_no_model_is_no_client(specs: tuple[str, ...]) -> None:
    assert build_client(specs) is None


def test_a_spec_without_a_role_is_for_all_that_have_none() -> None:
    with build_client(["openai:a", "judge=openai:b", "guide=none"]) as client:
        models = {role: text.split()[0] for role, text in client.describe().items()}
        assert models == {"proposer": "a", "summarizer": "a", "judge": "b"}


def test_only_the_role_that_is_named_has_a_model() -> None:
    with build_client(["judge=openai:ft:x=y"]) as client:
        assert client.roles == ("judge",)
        assert client.describe()["judge"].startswith("ft:x=y at ")


def test_one_server_serves_all_its_roles() -> None:
    with build_client(["openai:a", "judge=openai:a"]) as client:
        assert len({id(source) for source in client._sources.values()}) == 1


def test_a_price_is_for_the_models_of_its_role() -> None:
    specs, prices = ["openai:a", "judge=openai:b"], ["0.15/0.6", "judge=2/8"]
    with build_client(specs, price=prices) as client:
        assert client.ledger.prices == {
            **dict.fromkeys(ROLES, Price(0.15, 0.6)),
            "judge": Price(2.0, 8.0),
        }
        client.ledger.limit({"cost": 1.0})
    with (
        build_client(["openai:a"]) as client,
        pytest.raises(UsageError, match="price of"),
    ):
        client.ledger.limit({"cost": 1.0})


def test_a_recording_answers_without_a_price_or_a_server(tmp_path) -> None:
    ask = [{"role": "user", "content": "Hello."}]
    with ScriptedLLM(["fine"], price=Price(1e6, 1e6)) as client:
        client.record(tmp_path / "llm.sqlite")
        reply = client.complete(ask, role="proposer", draw=0)
    with build_client([f"replay:{tmp_path}/llm.sqlite"]) as client:
        client.ledger.limit({"cost": 10.0})
        assert client.complete(ask, role="proposer", draw=0) == reply
        assert client.ledger.total.usage == reply.usage
        assert "does not have this request" in str(
            client.complete(ask, role="proposer", draw=1).error
        )


@pytest.mark.parametrize(
    ("specs", "prices", "says"),
    [
        (["gpt-4"], [], r"--llm must be \[ROLE=\]SPEC, SPEC one of none, .*; got 'gpt-4'"),
        (["openai:"], [], "got 'openai:'"),
        (["embedded:"], [], "got 'embedded:'"),
        (["boss=none"], [], "--llm boss=none: the role must be one of 'proposer'"),
        (["openai:a", "openai:b"], [], "--llm is given twice for all roles"),
        (["judge=none", "judge=none"], [], "--llm is given twice for judge"),
        (["embedded:/no/such.gguf"], [], "embedded:/no/such.gguf: no such file"),
        (["replay:/no/such.sqlite"], [], "--llm replay:/no/such.sqlite: no such file"),
        (["openai:a"], ["3"], "--price must be .* got '3'"),
        (["openai:a"], ["a/b"], "--price must be .* got 'a/b'"),
        (["openai:a"], ["-1/2"], r"price of prompt tokens must be a finite number >= 0, got -1"),
        (["openai:a"], ["nan/2"], r"price of prompt tokens must be a finite number >= 0, got nan"),
        (["judge=openai:a"], ["proposer=1/2"], "none is given for the role proposer"),
        ([], ["1/2"], "--price is for an openai:MODEL, and none is given for any role"),
    ],
)
def test_what_is_wrong_is_named(specs: list[str], prices: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_client(specs, price=prices)


def test_a_server_of_openai_s_own_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="openai:a needs the environment variable OPENAI_API_KEY"):
        build_client(["openai:a"])


@pytest.mark.parametrize("specs", [(), ("openai:a",)])
@pytest.mark.parametrize("wait", [-1.0, float("nan")])
def test_a_pause_is_not_negative_whether_a_model_is_given_or_not(
    specs: tuple[str, ...], wait: float
) -> None:
    with pytest.raises(UsageError, match="--llm-wait must be a finite number >= 0"):
        build_client(specs, wait=wait)
