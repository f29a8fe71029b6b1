"""What a chat template puts around a user's turn, rendered once by the tokenizer itself.

A problem may contain the text of a special token (``<|im_end|>``), and would then end its own turn if the rendered
prompt were encoded as a whole. So the template is rendered around a placeholder, its special tokens become ids, and
whatever takes the placeholder's place is encoded as the plain text it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from atesd.errors import UserError

PLACEHOLDER = "[[the user's words]]"


@dataclass
class Templates:
    """Arguments of the chat template, for student, teacher and ``atesd.evaluate``; templates ignore unknown ones.

    OPSD v3 trains with the student's thinking off and the teacher's on, and evaluates with thinking on.
    """

    student: dict[str, Any] = field(default_factory=lambda: {"enable_thinking": False})
    teacher: dict[str, Any] = field(default_factory=lambda: {"enable_thinking": True})
    evaluation: dict[str, Any] = field(default_factory=lambda: {"enable_thinking": True})


@dataclass(frozen=True)
class Frame:
    """Token ids of special tokens, and texts, one of which holds the placeholder."""

    pieces: tuple[int | str, ...] = (PLACEHOLDER,)

    def encode(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """Return the ids of the frame around a text.

        >>> Frame((7, "ask " + PLACEHOLDER, 8)).encode("ab", lambda text: [ord(letter) for letter in text[-2:]])
        [7, 97, 98, 8]
        """
        ids: list[int] = []
        for piece in self.pieces:
            ids += [piece] if isinstance(piece, int) else encode(piece.replace(PLACEHOLDER, text))
        return ids

    def most_tokens(self, text: str) -> int:
        """Return how many ids there can be around and in a text: no tokenizer makes more tokens than there are bytes.

        >>> Frame((7, "ask " + PLACEHOLDER, 8)).most_tokens("né")
        9
        """
        return sum(1 if isinstance(p, int) else len(p.replace(PLACEHOLDER, text).encode()) for p in self.pieces)


@dataclass(frozen=True)
class Frames:
    """The frames of one model's prompts; bare where there is no template."""

    student: Frame = Frame()
    teacher: Frame = Frame()
    evaluation: Frame = Frame()


def frames(tokenizer: Any, templates: Templates, owner: str) -> Frames:
    """Render the chat template for student, teacher and evaluation; ``owner`` names the model in errors.

    Raises:
        UserError: there is no chat template, it fails, or it leaves the user's turn out.
    """
    if tokenizer.chat_template is None:
        raise UserError(f"{owner}: its tokenizer has no chat template; set model.style=plain for bare prompts")
    return Frames(
        frame(tokenizer, templates.student, f"{owner}, model.template.student"),
        frame(tokenizer, templates.teacher, f"{owner}, model.template.teacher"),
        frame(tokenizer, templates.evaluation, f"{owner}, model.template.evaluation"),
    )


def frame(tokenizer: Any, arguments: dict[str, Any], owner: str) -> Frame:
    """Render the chat template around one user's turn, ready for the assistant's answer."""
    turn = [{"role": "user", "content": PLACEHOLDER}]
    try:
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **arguments)
    except Exception as error:  # a template raises what it likes
        raise UserError(
            f"{owner}: the chat template fails on a user's turn ({' '.join(str(error).split())}); mend the template, "
            "its arguments, or set model.style=plain"
        ) from error
    if text.count(PLACEHOLDER) != 1:
        raise UserError(
            f"{owner}: the chat template shows a user's turn {text.count(PLACEHOLDER)} times, not once; mend the "
            "template or set model.style=plain"
        )
    return Frame(tuple(_pieces(tokenizer, text)))


def _pieces(tokenizer: Any, text: str) -> list[int | str]:
    special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, special))})", text) if special else [text]
    return [tokenizer.convert_tokens_to_ids(part) if part in special else part for part in parts if part]
