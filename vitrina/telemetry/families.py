"""Families of metrics whose labels are bounded.

A stream's series are dropped by `Family.forget`, and a family that reaches `MAX_CHILDREN` puts what
is new under `OTHER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MAX_CHILDREN = 4096
"""Series groups of one family; 64 streams with 6 renditions and 10 reasons fit."""
OTHER = "other"

M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """A metric with its children cached by label values: `labels()` costs a lock and a join."""

    __slots__ = ("_children", "_metric", "_per_stream", "_width")

    def __init__(self, metric: M, labels: Sequence[str]) -> None:
        self._metric: M = metric
        self._width = len(labels)
        self._per_stream = labels[:1] == ("stream",)
        self._children: dict[tuple[str, ...], M] = {}

    def __call__(self, *values: str) -> M:
        """Return the child of these label values."""
        child = self._children.get(values)
        return child if child is not None else self._make(values)

    def _make(self, values: tuple[str, ...]) -> M:
        if len(self._children) >= MAX_CHILDREN:
            values = (OTHER,) * self._width
            if values in self._children:
                return self._children[values]
        child: M = self._metric.labels(*values) if values else self._metric
        self._children[values] = child
        return child

    def forget(self, stream: str, *more: str) -> None:
        """Drop the series whose labels begin with these values, if the first is a stream."""
        if not self._per_stream:
            return
        wanted = (stream, *more)
        for values in [known for known in self._children if known[: len(wanted)] == wanted]:
            del self._children[values]
            self._metric.remove(*values)


class Families:
    """Declares families in one registry and remembers them for `forget`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.all: list[Family[Counter] | Family[Gauge] | Family[Histogram]] = []

    def counter(self, name: str, text: str, *labels: str) -> Family[Counter]:
        """Declare a counter; `name` without the prefix."""
        metric = Counter(f"vitrina_{name}", text, labels, registry=self._registry)
        return self._add(Family(metric, labels))

    def gauge(self, name: str, text: str, *labels: str) -> Family[Gauge]:
        """Declare a gauge."""
        metric = Gauge(f"vitrina_{name}", text, labels, registry=self._registry)
        return self._add(Family(metric, labels))

    def histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float]
    ) -> Family[Histogram]:
        """Declare a histogram."""
        metric = Histogram(
            f"vitrina_{name}", text, labels, registry=self._registry, buckets=buckets
        )
        return self._add(Family(metric, labels))

    def _add(self, family: Family[M]) -> Family[M]:
        self.all.append(family)
        return family
