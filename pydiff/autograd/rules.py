"""The table of gradient rules. The tape finds them here by op name and knows no formula itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arrays import Array

if TYPE_CHECKING:
    from .tape import Node

Pullback = Callable[["Node", Array], Iterable["Array | None"]]


@dataclass(frozen=True)
class Rule:
    """How gradients pass through one op backwards.

    `pull(ctx, dy)` returns one gradient per argument, in the order of `arguments`, each a fresh
    array (or `dy`, or a view of it) of the argument's shape and dtype; None where `ctx.needs` is
    False. `ctx` is the op's `Node`. `saves` names the saved arrays for error messages. `dy` is
    C-contiguous unless the rule is `strided`: it passes `dy` on or reads it once.
    """

    op: str
    arguments: tuple[str, ...]
    saves: tuple[str, ...]
    pull: Pullback
    strided: bool = False


RULES: dict[str, Rule] = {}


def rule(
    op: str, arguments: str, saves: str = "", strided: bool = False
) -> Callable[[Pullback], Pullback]:
    """Decorator that enters a function `f(ctx, dy)` as the gradient rule of `op`.

    `arguments` and `saves` are names separated by commas, as `record` was given them:

        @rule("multiply", "a, b", saves="a, b")
        def multiply_backward(ctx, dy): ...

    strided: whether f takes `dy` of any strides, such as a slice of another gradient.
    """

    def enter(pull: Pullback) -> Pullback:
        RULES[op] = Rule(op, _names(arguments), _names(saves), pull, strided)
        return pull

    return enter


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
