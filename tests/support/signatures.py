"""Signatures made short."""

from serval.conversion.signature import Column, Signature


def signature_of(*columns: Column, has_names: bool = True) -> Signature:
    return Signature(
        kind="classifier",
        columns=columns,
        has_names=has_names,
        labels=(("no", "yes"),),
        targets=1,
        is_multi_target=False,
        has_probabilities=True,
        numbers_dtype="float64",
        scores_dtype="float64",
    )
