"""Signatures of the models that these tests decode for."""

import pytest

from serval.conversion.signature import Column, Signature
from support.signatures import signature_of


@pytest.fixture
def iris() -> Signature:
    names = ("sepal_length", "sepal_width", "petal_length", "petal width (cm)")
    return signature_of(*(Column(name, "number", "float64") for name in names))


@pytest.fixture
def unnamed() -> Signature:
    return signature_of(*(Column(f"x{place}", "number", "float64") for place in range(3)), has_names=False)


@pytest.fixture
def partly_used() -> Signature:
    return signature_of(
        Column("customer", "unused", "object"),
        Column("age", "number", "float64"),
        Column("signed_up", "unused", "object"),
        Column("plan", "string", "object"),
    )


@pytest.fixture
def penguins() -> Signature:
    return signature_of(
        Column("island", "string", "object", missing="nan"),
        Column("bill_length", "number", "float64", missing="nan"),
        Column("is_adult", "boolean", "bool"),
        Column("sex", "string", "object", categories=("female", "male")),
    )
