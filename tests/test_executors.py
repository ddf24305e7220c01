"""Ray clusters and stacked training against the plain executor, on tiny networks for scikit-learn's digits."""

import importlib
from pathlib import Path

import pytest

from onepixel.cli.population import chosen_executor
from onepixel.errors import UsageError
from onepixel.populations import RayExecutor, build
from populations_of_digits import InProcess, content, digits_recipe


def test_without_ray_one_sentence_names_the_extra(monkeypatch):
    real = importlib.import_module

    def without_ray(name, *arguments):
        if name == "ray":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", without_ray)
    with pytest.raises(UsageError, match=r"pip install 'onepixel\[ray\]'"):
        RayExecutor()


@pytest.mark.parametrize(
    ("name", "workers", "address", "complaint"),
    [("ray", 2, None, "--workers is for --executor local"), ("local", None, "auto", "--ray-address is for")],
)
def test_options_of_another_executor_are_refused(name, workers, address, complaint):
    with pytest.raises(UsageError, match=complaint):
        chosen_executor(name, workers, address)


@pytest.fixture
def two_nodes(monkeypatch):
    """A Ray cluster of two nodes on this machine, and the one of them that may be killed."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'onepixel[ray]' to run this test")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's workers are nice to everybody else, so much that on a busy machine they never come to their turn.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent / "src"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    doomed = cluster.add_node(num_cpus=1)
    yield cluster, doomed
    cluster.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_builds_the_same_store_as_one_process(two_nodes, tmp_path):
    cluster, doomed = two_nodes
    recipe = digits_recipe("trojaned", 6)
    nodes_left = []

    def kill_the_node_after_the_first_model(progress):
        if progress.done == 1:
            cluster.remove_node(doomed, allow_graceful=False)
            nodes_left.append(len(cluster.list_all_nodes()))

    build(recipe, tmp_path / "ray", executor=RayExecutor(cluster.address), report=kill_the_node_after_the_first_model)
    build(recipe, tmp_path / "plain", executor=InProcess())
    assert nodes_left == [1]
    assert content(tmp_path / "ray") == content(tmp_path / "plain")
