"""Every notebook runs from top to bottom, and is kept without outputs, but for the stills of its views."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.stills import VIEW, only_stills

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
VIEWS = ROOT / "notebooks" / "03_explore_and_paint.ipynb"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_from_top_to_bottom(path):
    import nbclient  # here: they take 3 s, in each process that collects tests
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    )
    client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_is_short_and_has_no_outputs_but_stills(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert len(notebook["cells"]) < 25
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            assert path == VIEWS
            assert output["output_type"] == "display_data"
            assert set(output["data"]) == {"text/html", "text/plain"}
        assert cell.get("execution_count") is None


def test_each_view_of_the_notebook_is_committed_with_its_still():
    cells = json.loads(VIEWS.read_text(encoding="utf-8"))["cells"]
    shows = [cell for cell in cells if "".join(cell["source"]).splitlines()[-1] in ("view", "again")]
    assert len(shows) == 3
    for cell in shows:
        (still,) = cell["outputs"]
        assert "".join(still["data"]["text/plain"]).startswith("Explorer of ")
        assert "".join(still["data"]["text/html"]).count("<img") == 24


def test_a_page_made_of_the_notebook_shows_the_gallery_without_a_kernel(tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(tmp_path), str(VIEWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / f"{VIEWS.stem}.html").read_text(encoding="utf-8")
    pictures = re.findall(r'<img[^>]* src="(data:image/[^"]{60})', page)
    assert len(pictures) == 3 * 24
    assert "A still of a view" in page
    assert "must not matter" in page


def test_of_the_outputs_only_stills_are_kept():
    def ran(data):
        return {"output_type": "execute_result", "execution_count": 7, "metadata": {}, "data": data}

    still = {"text/html": "<p>", "text/plain": "Explorer"}
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "4"},
        ran({"text/plain": "5"}),
        ran({**still, VIEW: 1}),
    ]
    cell = {
        "cell_type": "code",
        "execution_count": 7,
        "metadata": {"execution": {}},
        "source": "view",
        "outputs": outputs,
    }
    metadata = {"kernelspec": {"name": "python3"}, "language_info": {"name": "python", "version": "3"}, "widgets": {}}
    (kept,) = only_stills({"cells": [cell], "metadata": metadata})["cells"]
    assert kept["execution_count"] is None
    assert kept["outputs"] == [{"output_type": "display_data", "metadata": {}, "data": still}]
