"""A support desk to practise on: labelled tickets, and what stands in for a language model.

python examples/support_desk.py
"""

import csv
import re
from pathlib import Path

import numpy as np

from bbopt.llm import FREE, Answer

with Path(__file__).with_suffix(".csv").open(encoding="utf-8") as file:
    TICKETS = list(csv.reader(file))  # [text, queue]
QUEUES = ("billing", "bug", "account")
PROMPT = f"You sort support tickets. Reply with one word of {', '.join(QUEUES)}."


def sort(prompt, text, rng):
    """Keep to the first rule that applies, such as "'refund' means billing", or else guess.

    One time in twenty, rules are overlooked.
    """
    words = re.findall(r"\w+", text.lower())
    rules = [queue for word, queue in re.findall(r"'(\w+)' means (\w+)", prompt) if word in words]
    return rules[0] if rules and rng.random() < 0.95 else str(rng.choice(QUEUES))


def amend(params, feedback, rng):
    """Drop a rule now and then; make one from a word of every ticket that was sorted wrong."""
    rules = params["prompt"].splitlines()[1:]
    if rules and rng.random() < 0.3:
        del rules[rng.integers(len(rules))]
    for said in feedback:
        queue = next((queue for queue in QUEUES if queue in said.get("feedback", "")), "")
        if queue != said.get("output", ""):
            word = rng.choice(re.findall(r"\w{5,}", said["input"].lower()))
            rules.append(f"- '{word}' means {queue}")
    return {"prompt": "\n".join([PROMPT, *dict.fromkeys(rules)])}


class Clerk:
    """``sort`` as a language model: what a client needs of one that is not behind a server."""

    model, price, max_concurrent = "clerk", FREE, 8

    def send(self, request):
        prompt, text = (message["content"] for message in request.messages)
        return Answer(sort(prompt, text, np.random.default_rng(request.draw)), tokens=(0, 0))

    def close(self):
        pass


if __name__ == "__main__":
    prompt = "- 'invoice' means billing\n- 'error' means bug\n- 'password' means account"
    rng = np.random.default_rng(0)
    for text, queue in TICKETS[1::9]:
        print(f"{text:40} {sort(prompt, text, rng):8} ({queue})")
