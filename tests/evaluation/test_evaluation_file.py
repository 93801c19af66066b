"""Files of evaluations hold what was measured, and replace no other file."""

import json

import pytest

from gcc.errors import OutputError
from gcc.evaluation.evaluation import Evaluation, Metric
from gcc.evaluation.evaluation_file import evaluation_path, free_path, save_evaluation


def test_a_value_that_is_not_finite_is_null_and_other_files_stay(tmp_path):
    metrics = {"G": {"l1": Metric(float("nan"), "", "")}}
    save_evaluation(tmp_path / "e.json", Evaluation("s", "d", "test", metrics, {}))
    assert json.loads((tmp_path / "e.json").read_text())["metrics"]["G"]["l1"]["value"] is None
    assert evaluation_path(tmp_path / "s", "val", None).name == "s-evaluation-val.json"
    assert evaluation_path(tmp_path / "s", "test", tmp_path / "e.json") == tmp_path / "e.json"
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(OutputError, match="contains no metrics"):
        evaluation_path(tmp_path / "s", "test", tmp_path / "notes.json")


def test_other_evaluations_of_the_same_generator_are_not_overwritten(tmp_path):
    def evaluation_of(data, *keys):
        return Evaluation("student", data, "test", {"G": {key: Metric(1.0, "", "") for key in keys}}, {})

    path = tmp_path / "student-evaluation.json"
    for evaluation, name in (
        (evaluation_of("a", "l1"), "student-evaluation.json"),
        (evaluation_of("a", "l1", "fid"), "student-evaluation-2.json"),
        (evaluation_of("b", "l1"), "student-evaluation-3.json"),
        (evaluation_of("a", "l1"), "student-evaluation.json"),
        (evaluation_of("a", "fid", "l1"), "student-evaluation-2.json"),
    ):
        assert free_path(path, evaluation).name == name
        save_evaluation(free_path(path, evaluation), evaluation)


def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file is a file, so that .* cannot be written"):
        evaluation_path(tmp_path, "test", tmp_path / "file" / "new" / "x.json")
    assert evaluation_path(tmp_path, "test", tmp_path / "new" / "x.json").name == "x.json"


def test_files_of_version_0_1_call_the_metrics_figures(tmp_path):
    path = tmp_path / "e.json"
    evaluation = Evaluation("s", "d", "test", {"G": {"l1": Metric(1.0, "", "")}}, {})
    path.write_text(json.dumps({"subject": "s", "data": "d", "split": "test", "figures": {"G": {"l1": {"value": 1.0}}}}))
    assert evaluation_path(tmp_path / "s", "test", path) == path and free_path(path, evaluation) == path
    path.write_text(json.dumps({"subject": "s", "data": "d", "split": "test", "figures": {"G": {"fid": {"value": 1.0}}}}))
    assert free_path(path, evaluation).name == "e-2.json"


@pytest.mark.parametrize(
    "contents", ["{}", "[1]", "3", "no JSON", '{"subject": "a", "metrics": 3}', '{"subject": "a", "metrics": {"G": []}}']
)
def test_a_foreign_file_with_a_number_is_not_overwritten(contents, tmp_path):
    path = tmp_path / "e.json"
    save_evaluation(path, Evaluation("a", "data", "test", {"G": {"l1": Metric(1.0, "", "p")}}, {}))
    (tmp_path / "e-2.json").write_text(contents)
    assert free_path(path, Evaluation("b", "data", "test", {"G": {"l1": Metric(1.0, "", "p")}}, {})).name == "e-3.json"
    assert (tmp_path / "e-2.json").read_text() == contents
