"""Which job a process belongs to, by flags and by what schedulers put into its environment."""

import jax
import pytest

from transformer.config import Cluster
from transformer.distributed import processes as cluster
from transformer.errors import TransformerError, UsageError

SLURM = {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"}
WAITS = {"initialization_timeout": 100, "heartbeat_timeout_seconds": cluster.HEARTBEAT}
DETECTED = WAITS | {"cluster_detection_method": None}
GIVEN = WAITS | {"cluster_detection_method": "deactivate"}
STEP = {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_GPUS_ON_NODE": "8"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (*SLURM, *STEP, *POD, "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_HOSTNAMES", "JAX_LOCAL_DEVICE_IDS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(monkeypatch):
    """The calls to JAX."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *of, **named: calls.append((*of, named)))
    return calls


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (SLURM, "SLURM"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "Open MPI"),
        (POD, "Kubernetes"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU pod"),
        (POD | {"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU pod"),
        ({}, None),
        ({"SLURM_NTASKS": "2"}, None),  # a shell within sbatch: srun was not called
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "many"}, None),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
    ],
)
def test_schedulers_are_known_by_their_environment(environment, name, monkeypatch, asked):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert cluster._scheduler() == name
    cluster.join(Cluster())
    assert len(asked) == (name is not None)


def test_flags_describe_a_job_too(asked):
    cluster.join(Cluster("host:1234", 4, 2))
    cluster.join(Cluster("host:1234", 4, 2, timeout=900))
    assert asked == [
        ("host:1234", 4, 2, GIVEN),
        ("host:1234", 4, 2, GIVEN | {"initialization_timeout": 900}),
    ]


@pytest.mark.parametrize(
    ("environment", "warning"),
    [
        (SLURM | STEP, "each node has 7 GPUs without a process"),
        (SLURM | STEP | {"SLURM_STEP_NUM_TASKS": "14"}, "each node has 1 GPU without a process"),
        (SLURM | STEP | {"SLURM_STEP_NUM_TASKS": "16"}, ""),
        (SLURM | STEP | {"JAX_LOCAL_DEVICE_IDS": "0,1,2,3,4,5,6,7"}, ""),
        (SLURM, ""),
    ],
)
def test_gpus_that_slurm_leaves_unused_are_reported(environment, warning, monkeypatch, asked, caplog):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with caplog.at_level("WARNING", logger="transformer"):
        cluster.join(Cluster())
    assert [warning in record.getMessage() for record in caplog.records] == [True] * bool(warning)


def test_with_the_flags_a_process_gets_all_gpus_of_its_node(monkeypatch, asked, caplog):
    for variable, value in (SLURM | STEP).items():
        monkeypatch.setenv(variable, value)
    cluster.join(Cluster("host:1234", 2, 1))
    assert asked == [("host:1234", 2, 1, GIVEN)]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Cluster("host:1"), "need each other"),
        (Cluster(processes=2), "need each other"),
        (Cluster("host", 2, 1), "has no port: give HOST:PORT"),
        (Cluster("host:1", 2, 2), r"--cluster.process=2 counts from 0, and --cluster.processes=2"),
    ],
)
def test_incompatible_flags(flags, message, asked):
    with pytest.raises(UsageError, match=message):
        cluster.join(flags)
    assert not asked


def test_processes_that_do_not_find_each_other(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("deadline exceeded\nmore")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(TransformerError, match=r"do not find each other \(deadline exceeded\)"):
        cluster.join(Cluster("host:1", 2, 1))


def test_a_single_process_is_a_job_of_one():
    assert cluster.is_main_process()
    assert cluster.gather(["a", ""]) == [["a", ""]]
    assert cluster.from_main_process("ä") == "ä"
    with pytest.raises(ZeroDivisionError), cluster.main_process_first():
        _ = 1 / 0


def test_jax_detects_other_jobs_on_request(asked):
    cluster.join(Cluster(find="any"))
    assert asked == [(None, None, None, DETECTED)]


def test_independent_processes_are_not_joined(monkeypatch, asked):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    cluster.join(Cluster(find="none"))
    assert not asked


def test_processes_with_different_settings_are_named(monkeypatch):
    cluster.require_same({"training.steps": 5})
    monkeypatch.setattr(cluster, "gather", lambda texts: [texts, texts, ['{"training.steps": 6}']])
    with pytest.raises(UsageError, match=r"--training.steps is 5 in process 0 and 6 in process 2"):
        cluster.require_same({"training.steps": 5})
