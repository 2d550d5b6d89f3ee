"""Model files load; other files are refused with the name of their kind."""

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from serval.conversion import tasks
from serval.conversion.contents import predictor
from serval.conversion.loading import load
from serval.errors import NotAModel
from support.sample_models import iris, specimen


def model() -> Any:
    return specimen("iris logistic").model


def opened(content: bytes) -> Any:
    return predictor(load(content).content)


def reason(content: bytes) -> str:
    with pytest.raises(NotAModel) as caught:
        opened(content)
    return caught.value.message


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_load(protocol: int) -> None:
    assert type(opened(pickle.dumps(model(), protocol=protocol))) is LogisticRegression


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("lzma", 3), ("xz", 3), ("bz2", 3)])
def test_joblib_files_load_with_every_compression(compress: Any, tmp_path: Path) -> None:
    joblib.dump(model(), tmp_path / "model.joblib", compress=compress)
    assert type(opened((tmp_path / "model.joblib").read_bytes())) is LogisticRegression


def test_a_cloudpickle_file_loads() -> None:
    assert type(opened(cloudpickle.dumps(model()))) is LogisticRegression


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_skops_file_loads(method: int) -> None:
    assert type(opened(skops.io.dumps(model(), compression=method))) is LogisticRegression


def test_a_skops_file_with_untrusted_types_is_refused_by_their_name() -> None:
    class Strange:
        pass

    fitted = LogisticRegression(max_iter=5000).fit(*iris())
    fitted.extra = Strange()
    assert "Strange" in reason(skops.io.dumps(fitted))


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compression_bombs_are_refused_before_they_fill_the_memory(pack: Any) -> None:
    with pytest.raises(NotAModel, match="unpacks to more than 1 MiB"):
        load(pack(bytes(64 << 20)), limit_bytes=1 << 20)


def test_a_zip_bomb_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(8 << 20))
    with pytest.raises(NotAModel, match="unpacks to more than 1 MiB"):
        load(out.getvalue(), limit_bytes=1 << 20)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress, lzma.compress])
def test_a_truncated_file_is_refused_as_cut_short(share: float, pack: Any) -> None:
    content = pack(pickle.dumps(model()))
    found = reason(content[: int(len(content) * share)])
    assert "cut short" in found or "goes on like none" in found


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "a JPEG image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        (b"PAR1" + bytes(50), "a Parquet table"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b'{"a": 1}', "a JSON document"),
        (b"a,b,c\n1,2,3\n", "a CSV table"),
        (b"import sklearn\n", "a Python script"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"", "empty"),
    ],
)
def test_other_files_are_refused_by_name(content: bytes, kind: str) -> None:
    assert kind in reason(content)


def test_an_onnx_file_is_refused_by_name() -> None:
    from serval.conversion.from_sklearn import convert

    assert "an ONNX model" in reason(convert(model()).onnx)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("archive/data.pkl", "a PyTorch model"), ("x.npy", "NumPy arrays"), ("readme.txt", "a zip archive")],
)
def test_other_archives_are_refused_by_name(name: str, kind: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, b"x")
    assert kind in reason(out.getvalue())


def test_a_dict_that_holds_a_model_is_refused_with_what_to_save() -> None:
    found = reason(pickle.dumps({"model": model(), "columns": ["a"]}))
    assert "a dict with the keys `'model'`, `'columns'`" in found
    assert "saved['model']" in found


def test_a_list_that_holds_a_model_is_refused_with_what_to_save() -> None:
    assert "saved[1]" in reason(pickle.dumps(["scaler", model()]))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (np.zeros(3), "ndarray"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
        (None, "NoneType"),
        (LogisticRegression, "class"),
    ],
)
def test_an_object_that_is_not_a_model_is_refused_by_name(content: Any, named: str) -> None:
    assert named in reason(pickle.dumps(content))


def test_a_class_of_the_main_script_is_named() -> None:
    found = reason(b"\x80\x04c__main__\nMyScaler\n.")
    assert "`MyScaler`" in found
    assert "__main__" in found


def test_a_missing_module_is_named() -> None:
    assert "`xgboost_of_mine.sklearn`" in reason(b"\x80\x04cxgboost_of_mine.sklearn\nXGBClassifier\n.")


def test_a_class_that_scikit_learn_removed_is_refused_with_advice_to_fit_again() -> None:
    found = reason(b"\x80\x04csklearn.linear_model._logistic\nOldRegression\n.")
    assert "OldRegression" in found
    assert "fit and save the model again" in found


def test_the_libraries_of_tasks_can_be_imported() -> None:
    tasks.preload()
