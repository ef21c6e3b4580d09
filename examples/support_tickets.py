"""A better system prompt for a model that sorts support tickets (examples/support_desk.csv)."""

from support_desk import PROMPT, TICKETS, Clerk, amend

import bbopt
from bbopt import llm
from bbopt.spec import Examples
from bbopt.trial import merge

client = llm.Client(None, roles={"guide": Clerk()})  # or llm.Client(llm.Server("gpt-5-mini"))


class Tickets(bbopt.Problem):
    """An evaluation is one ticket: whether a model with the prompt names its queue."""

    needs_llm, block = True, 8  # the tickets that one call of evaluate takes
    propose = staticmethod(amend)  # for a client without a model that proposes
    spec = bbopt.Spec(
        space=bbopt.Space({"prompt": bbopt.Text(PROMPT)}),
        direction="maximize",
        objective="The share of support tickets that a model with this system prompt sorts right.",
        examples=Examples(train=range(0, len(TICKETS), 2), validation=range(1, len(TICKETS), 2)),
    )

    def evaluate(self, trial, rng):
        return merge(self.sort(trial.params, *TICKETS[i], rng) for i in trial.context["examples"])

    def sort(self, params, text, queue, rng):
        chat = [{"role": "system", "content": params["prompt"]}, {"role": "user", "content": text}]
        reply = self.llm.complete(chat, role="guide", draw=int(rng.integers(2**31)))
        answer = float("nan") if reply.error else reply.text.strip(" .\n").lower() == queue
        said = {"input": text, "output": reply.text, "feedback": f"This is for {queue}."}
        return bbopt.Outcome(answer, feedback=[said], usage=reply.usage, error=reply.error)


if __name__ == "__main__":
    run = bbopt.run(Tickets(), "polca", 500, confirm=0.2, llm=client, settings={"minibatch": 8})
    print(run.best.params["prompt"])
    print(f"{run.initial_value:.2f} -> {run.best.value:.2f} +/- {run.best.stderr:.2f}")
