import json

import pytest

from bbopt.cli.swarm import RULES
from bbopt.lacmas import weights


def test_every_rule_can_be_named():
    assert tuple(weights.RULES) == RULES


def test_the_graph_of_a_problem_is_described(bbopt):
    said = bbopt("swarm", "describe", "distributed/f1").stdout
    assert "agents         20\n" in said
    assert "neighbours     3\n" in said
    assert "diameter       4\n" in said
    assert "contraction    0.8524623759 a round" in said
    assert "rounds to 1e-7 101" in said
    assert "s = 0.7        1.394 yes" in said
    assert "s = 0.5        1.290 NO (pull × 0.90)" in said


def test_json_has_the_same_facts(bbopt):
    words = ["regular:d=4", "--agents", "12", "--seed", "3", "--weights", "lazy", "--json"]
    said = json.loads(bbopt("swarm", "describe", *words).stdout)
    assert (said["agents"], said["edges"], said["degrees"]) == (12, 24, [4, 4])
    assert said["doubly_stochastic"] is True
    assert said["least_eigenvalue"] >= 0
    assert all(entry["share"] == 1 for entry in said["stable"])


def test_weights_that_do_not_keep_the_mean_are_said_to_drift(bbopt):
    result = bbopt("swarm", "describe", "star", "--agents", "7", "--weights", "uniform")
    assert "agree on       a mean with weights from 0.105 to 0.368" in result.stdout
    assert result.stderr.count("\n") == 1
    assert "agents agree on the mean weighted by" in result.stderr


def test_a_file_is_described_with_its_own_weights(bbopt, tmp_path):
    path = tmp_path / "pair.txt"
    path.write_text("0 1 0.25\n")
    said = bbopt("swarm", "describe", str(path), "--weights", "given", "--json").stdout
    assert json.loads(said)["second_modulus"] == pytest.approx(0.5)


def test_the_seed_and_the_number_of_agents_reach_a_problem(bbopt):
    words = ["swarm", "describe", "distributed/quadratic", "--agents", "12", "--json"]
    facts = [json.loads(bbopt(*words, "--seed", seed).stdout) for seed in ("1", "1", "2")]
    assert facts[0] == facts[1]
    assert facts[0]["agents"] == 12
    assert facts[0]["second_modulus"] != facts[2]["second_modulus"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rign"], "did you mean ring"),
        (["hpo/digits-svm"], "has no agents"),
        (["distributed/f11"], "unknown problem"),
        (["hypercube", "--agents", "6"], "power of 2"),
        (["ring", "--weights", "given"], "the graph has no weights of its own"),
    ],
)
def test_what_cannot_be_described_is_refused_in_one_line(bbopt, words, said):
    result = bbopt("swarm", "describe", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
