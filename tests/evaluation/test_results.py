"""A benchmark measured row by row keeps what it does not measure again."""

from video4spatial.evaluation.results import commit, merge_rows, metric, write_results


def row(name: str, value: float) -> dict:
    return {"name": name, "metrics": {"psnr": metric(value)}}


def test_rows_that_were_not_measured_again_stay(tmp_path):
    path = tmp_path / "results.json"
    order = ["a", "b", "c"].index
    settings, rows = merge_rows(path, {"clips": 4}, [row("a", 1.0), row("c", 3.0)], order)
    assert settings == {"clips": 4} and [each["commit"] for each in rows] == [commit()] * 2
    rows[0]["commit"] = "older"
    write_results(path, "rows", settings, rows)
    settings, rows = merge_rows(path, {"seed": 1}, [row("b", 2.0), row("c", 4.0)], order)
    assert [(each["name"], each["metrics"]["psnr"]["value"]) for each in rows] == [("a", 1.0), ("b", 2.0), ("c", 4.0)]
    assert settings == {"clips": 4, "seed": 1} and [each["commit"] for each in rows] == ["older", commit(), commit()]
