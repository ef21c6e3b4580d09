"""Random streams are named by who draws, and nothing else."""

import os
import subprocess
import sys

import numpy as np
import pytest

from bbopt.errors import UsageError
from bbopt.seeding import checked_seed, stream, stream_seed


def test_the_same_key_gives_the_same_draws():
    key = {"worker": 2, "number": 5, "block": 1}
    one, other = (stream(7, "evaluate", **key).random(4) for _ in range(2))
    assert np.array_equal(one, other)


def test_every_part_of_the_key_changes_the_draws():
    key = {"seed": 0, "name": "evaluate", "worker": 0, "number": 0, "block": 0}
    others = [{"seed": 1}, {"name": "random"}, {"worker": 1}, {"number": 1}, {"block": 1}]
    draws = [stream(**{**key, **other}).random() for other in ({}, *others)]
    assert len(set(draws)) == 6


def test_streams_of_neighbouring_trials_are_independent():
    draws = np.array([stream(0, "evaluate", number=i).random(2) for i in range(4000)])
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 4 / np.sqrt(4000)
    assert abs(draws[:, 0].mean() - 0.5) < 4 * np.sqrt(1 / 12 / 4000)


def test_the_draws_do_not_depend_on_the_hash_seed_of_the_process():
    code = "from bbopt.seeding import stream; print(stream(3, 'evaluate', number=9).random())"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert printed == {f"{stream(3, 'evaluate', number=9).random()}\n"}


def test_the_key_is_the_documented_one():
    # its parts and their order are what makes an old run repeatable (the CRC-32 check value)
    sequence = np.random.SeedSequence(1, spawn_key=(0xCBF43926, 2, 3, 4))
    expected = np.random.default_rng(sequence).random(3)
    assert np.array_equal(stream(1, "123456789", worker=2, number=3, block=4).random(3), expected)


def test_a_stream_seed_fits_in_32_bits_and_follows_its_key():
    seeds = [stream_seed(0, "sampler", number=i) for i in range(200)]
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == 200
    assert max(seeds) >= 2**31
    assert seeds[3] == stream_seed(0, "sampler", number=3)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None, True])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(UsageError, match="seed must be an integer >= 0, got "):
        checked_seed(seed)


def test_a_seed_may_be_a_numpy_integer_or_beyond_64_bits():
    assert checked_seed(np.int64(3)) == 3
    assert stream(checked_seed(2**100), "evaluate").random() != stream(0, "evaluate").random()
