"""What the package exports: every name on purpose, and every error as one of its own."""

import inspect
import pickle

import pytest

import prefect_yeedu
from prefect_yeedu import errors

ERRORS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.YeeduError)
]


def test_the_list_of_names_is_sorted_and_each_is_there() -> None:
    assert prefect_yeedu.__all__ == sorted(set(prefect_yeedu.__all__))
    assert all(hasattr(prefect_yeedu, name) for name in prefect_yeedu.__all__)
    assert prefect_yeedu.__version__ != "0"


def test_nothing_of_ours_is_importable_that_is_not_listed() -> None:
    ours = {
        name
        for name, value in vars(prefect_yeedu).items()
        if getattr(value, "__module__", "").startswith("prefect_yeedu") and not inspect.ismodule(value)
    }
    assert ours <= set(prefect_yeedu.__all__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_exported_and_survives_pickling(kind: type[errors.YeeduError]) -> None:
    assert getattr(prefect_yeedu, kind.__name__) is kind
    assert kind.__name__ in prefect_yeedu.__all__
    error = kind("what happened")
    error.is_before_call = True
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_the_tree_of_errors_names_each_of_them() -> None:
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in ERRORS)
