"""Loops in the one form that the data plane runs: bounded rounds that scatter into what they carry."""

from collections.abc import Callable, Sequence

import numpy as np

from serval.conversion.export.graph import Graph
from serval.conversion.export.tensor import Tensor

MAX_STEPS = 1 << 20
"""Rounds times nodes of the body, as in `native/src/graph/loops.rs`."""
Inside = Callable[[Tensor], Tensor]
"""A tensor of the graph around, for use in the body."""
Round = Callable[..., tuple[Tensor, Sequence[Tensor]]]


def any_row(flags: Tensor) -> Tensor:
    """Whether one of the flags is true; a scalar."""
    return flags.cast("int64").op("ReduceMax", keepdims=0) > 0


def repeated(rounds: int, is_open: Tensor, carried: Sequence[tuple[Tensor, Tensor]], one_round: Round) -> list[Tensor]:
    """What is carried, `[rows, width]` each, after rounds for as long as `is_open`, at most `rounds`.

    `carried`: each value with the int64 index of each of its columns, in its shape. `one_round` takes `inside`, which
    brings tensors into the body, and the carried tensors; it returns whether to go on, and the carried ones of the next
    round.
    """
    outer = is_open.graph
    body = Graph(prefix=f"loop{len(outer.nodes)}_")

    def inside(tensor: Tensor) -> Tensor:
        return Tensor(body, tensor.name, tensor.dtype)

    received = [
        Tensor(body, f"{body.prefix}carried_{index}", tensor.dtype) for index, (tensor, _) in enumerate(carried)
    ]
    goes_on, values = one_round(inside, *received)
    kept = [
        old.op("ScatterElements", inside(index), new, axis=1)
        for old, (_, index), new in zip(received, carried, values, strict=True)
    ]
    controls = [(f"{body.prefix}round", "int64"), (f"{body.prefix}is_open", "bool")]
    proto = body.body(
        controls,
        [(tensor.name, tensor.dtype) for tensor in received],
        [(goes_on.name, "bool"), *((tensor.name, tensor.dtype) for tensor in kept)],
    )
    limit = is_open.constant(np.int64(max(1, min(rounds, MAX_STEPS // len(body.nodes)))))
    return list(
        limit.ops(
            "Loop",
            is_open,
            *(tensor for tensor, _ in carried),
            dtypes=[tensor.dtype for tensor, _ in carried],
            body=proto,
        )
    )
