"""Sending scripts and other commands by one client, once: by their hashes where those are known.

``EVAL`` with a script's text makes its hash known, so ``SCRIPT LOAD`` is never needed: a user may
have no right to it, and a proxy may send it to another node than the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import redis

from litesess.stores.redis import scripts
from litesess.stores.redis.client import Client, Pipeline
from litesess.stores.redis.failures import Refused, is_unknown_script
from litesess.stores.redis.lua import Script

#: By the hash of each script: its name, for errors.
NAMES: Final = {
    script.sha: name for name, script in vars(scripts).items() if isinstance(script, Script)
}


class Call(NamedTuple):
    """A script to be called."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | bytes]


class Calling:
    """The calls of scripts at one server, or at several that may know different ones."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._calls_by_hash = True

    def forget(self) -> None:
        """Assume that the server knows no script: it may be another server."""
        self._known.clear()

    def run(self, client: Client, call: Call) -> Any:
        """Return the answer to one call.

        Raises:
            RedisError: the client's.
        """
        script, keys, arguments = call
        refusal: Exception | None = None
        if script.sha in self._known:
            try:
                return client.evalsha(script.sha, len(keys), *keys, *arguments)
            except redis.exceptions.ResponseError as error:
                # A cluster's node that has none of them, a server that was restarted, or a user or
                # proxy that may not call scripts by their hashes.
                if not is_unknown_script(error):
                    raise
                refusal = error
        answer = client.eval(script.text, len(keys), *keys, *arguments)
        self._learn([call], refusal)
        return answer

    def run_each(self, client: Client, calls: Sequence[Call]) -> list[Any]:
        """Return the answers to *calls*, sent one by one, as the nodes of a cluster need it.

        Raises:
            Refused: a server refuses one.
            RedisError: the client's.
        """
        answers = []
        for call in calls:
            try:
                answers.append(self.run(client, call))
            except redis.exceptions.ResponseError as error:
                raise Refused(NAMES[call.script.sha], call.keys[0], error) from None
        return answers

    def run_all(self, client: Client, calls: Sequence[Call]) -> list[Any]:
        """Return the answers to *calls*, sent together; raises as :meth:`run_each` does."""
        pipeline = client.pipeline(transaction=False)
        sent = {*self._known}
        for script, keys, arguments in calls:
            if script.sha in sent:
                pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
                continue
            pipeline.eval(script.text, len(keys), *keys, *arguments)
            if self._calls_by_hash:
                sent.add(script.sha)
        answers = _answers(pipeline)
        # Repeat only the unknown ones: the rest have been done.
        forgotten = [at for at, answer in enumerate(answers) if _is_unknown(answer)]
        refusal = answers[forgotten[0]] if forgotten else None
        if forgotten:
            # By their texts alone: a proxy may send each call to another node.
            pipeline = client.pipeline(transaction=False)
            for at in forgotten:
                script, keys, arguments = calls[at]
                pipeline.eval(script.text, len(keys), *keys, *arguments)
            for at, answer in zip(forgotten, _answers(pipeline), strict=True):
                answers[at] = answer
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                raise Refused(NAMES[call.script.sha], call.keys[0], answer)
        self._learn(calls, refusal)
        return answers

    def _learn(self, calls: Sequence[Call], refusal: Exception | None) -> None:
        """Note that the server has the scripts of *calls*, and whether it takes their hashes.

        Args:
            calls: they have been answered.
            refusal: of a hash among them, if there was one.
        """
        if refusal is not None and not isinstance(refusal, redis.exceptions.NoScriptError):
            self._calls_by_hash = False
        if self._calls_by_hash:
            self._known.update(call.script.sha for call in calls)
        else:
            self._known.clear()


def piped(client: Client, command: str, arguments: Sequence[Sequence[str]]) -> list[Any]:
    """Return the answers to one command with each of *arguments*, sent together.

    Raises:
        Refused: a server refuses one.
        RedisError: the client's.
    """
    pipeline = client.pipeline(transaction=False)
    for each in arguments:
        getattr(pipeline, command)(*each)
    answers = _answers(pipeline)
    for each, answer in zip(arguments, answers, strict=True):
        if isinstance(answer, Exception):
            raise Refused(command.upper(), each[0], answer)
    return answers


def _is_unknown(answer: object) -> bool:
    return isinstance(answer, redis.exceptions.ResponseError) and is_unknown_script(answer)


def _answers(pipeline: Pipeline) -> list[Any]:
    # Not raised by the pipeline: its error would show the command, and with it the values.
    return pipeline.execute(raise_on_error=False)
