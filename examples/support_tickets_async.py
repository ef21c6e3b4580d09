"""The prompt of support_tickets.py, judged by a service that answers many tickets at once.

python examples/support_tickets_async.py

``run`` keeps four trials open, and is the same for any number of jobs. The second function is
for programs that have an event loop already: ask and tell, results in order of arrival.
"""

import asyncio

import numpy as np
from support_desk import TICKETS, sort
from support_tickets import Tickets

import bbopt


async def ask_service(prompt, text, rng):
    await asyncio.sleep(0.005)  # the service answers
    return sort(prompt, text, rng)


class ServedTickets(Tickets):
    """The same objective, examples and proposer; a minibatch takes as long as one ticket."""

    needs_llm = False  # nothing here but the service asks a model

    async def evaluate(self, trial, rng):
        prompt, tickets = trial.params["prompt"], [TICKETS[i] for i in trial.context["examples"]]
        streams = rng.spawn(len(tickets))  # so that the order of answers does not matter
        asked = [
            ask_service(prompt, text, r) for (text, _), r in zip(tickets, streams, strict=True)
        ]
        answers = await asyncio.gather(*asked)
        feedback = [
            {"input": text, "output": answer, "feedback": f"This is for {queue}."}
            for (text, queue), answer in zip(tickets, answers, strict=True)
        ]
        values = [answer == queue for (_, queue), answer in zip(tickets, answers, strict=True)]
        return bbopt.Outcome(values, feedback=feedback)


async def search(problem, n_evaluations, in_flight):
    optimizer = bbopt.optimizer("polca", problem.spec, proposer=problem.propose, minibatch=8)
    running = {}
    while n_evaluations > 0 or running:
        n = in_flight - len(running) if n_evaluations > 0 else 0
        # a thread: to ask may mean to wait for a language model
        for trial in await asyncio.to_thread(optimizer.ask, n) if n else []:
            evaluation = problem.evaluate(trial, np.random.default_rng(trial.number))
            running[asyncio.create_task(evaluation)] = trial
            n_evaluations -= trial.repeats
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            optimizer.tell(running.pop(task), task.result())
    return optimizer.best


if __name__ == "__main__":
    problem = ServedTickets()
    how = {"confirm": 0.2, "settings": {"minibatch": 8}, "jobs": 8, "in_flight": 4}
    best = bbopt.run(problem, "polca", 1000, **how).best
    print(f"run: {best.value:.2f} +/- {best.stderr:.2f} on tickets held back")
    best = asyncio.run(search(problem, 800, in_flight=4))
    print(f"ask and tell: {best.value:.2f} +/- {best.stderr:.2f} on the tickets it worked with")
