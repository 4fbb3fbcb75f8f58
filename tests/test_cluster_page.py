"""The scripts and manifests of docs/how_to/clusters.md are well formed, and the command line reads their commands."""

import re
import shlex

import pytest
import yaml

from tests.documentation import ROOT
from tests.test_documentation import refused

PAGE = (ROOT / "docs" / "how_to" / "clusters.md").read_text(encoding="utf-8")


def found(kind):
    """The blocks of code of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S)


def containers():
    """(the Job of a JobSet, its container) of each manifest."""
    for text in found("yaml"):
        (job,) = yaml.safe_load(text)["spec"]["replicatedJobs"]
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        yield yaml.safe_load(text), job, container


def words(container):
    """The command of a container, as its pod of number 3 runs it."""
    command = [*container["command"], *container["args"]]
    if command[:2] == ["sh", "-c"]:
        (line,) = command[2:]
        command = shlex.split(line.replace("$JOB_COMPLETION_INDEX", "3").removeprefix("exec "))
    return command


def test_the_page_has_two_manifests():
    assert len(list(containers())) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_manifest_is_a_job_set_whose_command_is_read(number, tmp_path):
    manifest, job, container = list(containers())[number]
    assert (manifest["apiVersion"], manifest["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = job["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"]
    assert spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    program, *arguments = words(container)
    assert program == "transformer"
    assert refused(arguments, tmp_path) == ""


def test_the_flags_of_the_cluster_are_those_of_the_manifest():
    manifest, job, container = next(containers())
    line = " ".join(words(container))
    name, hosts = manifest["metadata"]["name"], job["name"]
    assert f"--cluster.coordinator {name}-{hosts}-0-0.{name}:1234" in line
    assert f"--cluster.processes {job['template']['spec']['parallelism']} " in line


def test_the_command_of_the_batch_script_is_read(tmp_path):
    (script,) = [block for block in found("bash") if "#SBATCH" in block]
    (line,) = [line for line in script.splitlines() if line.startswith("srun")]
    command = shlex.split(line)
    assert refused(command[command.index("transformer") + 1 :], tmp_path) == ""
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", script, re.M))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
