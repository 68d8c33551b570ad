"""Tables that have several shapes, distinguished by a tag: ``net.kind`` and ``data.source``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel


class TaggedUnion:
    """The shapes of one table and the key that tells them apart; the first shape is the default.

    Several tag values may mean the same shape (vgg11 and vgg16), so a change of tag within a shape keeps the
    other keys and a change across shapes does not.
    """

    def __init__(self, tag: str, *shapes: type[BaseModel]) -> None:
        self.tag = tag
        self.shapes = shapes
        self.values = tuple(v for shape in shapes for v in get_args(shape.model_fields[tag].annotation))

    def shape_of(self, value: object) -> str | None:
        """Name of the shape that `value` (a table or a model) has; None where its tag is none of `values`."""
        if isinstance(value, Mapping):
            tag: Any = value.get(self.tag, self.shapes[0].model_fields[self.tag].default)
        else:
            tag = getattr(value, self.tag, None)
        for shape in self.shapes:
            if tag in get_args(shape.model_fields[self.tag].annotation):
                return shape.__name__
        return None

    def states_other_shape(self, table: object, current: object) -> bool:
        """Whether `table` names a tag whose shape differs from the one that the table `current` has."""
        if not isinstance(table, Mapping) or self.tag not in table:
            return False
        return self.shape_of(table) != self.shape_of(current)
