"""A Dask cluster of two processes carries a campaign; what is wrong with one is said first."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import tifffile
from distributed import Client, LocalCluster

from napari_labdct.campaign import Campaign, Recipe
from napari_labdct.campaign.executors import SchedulerError, check_versions, dask


def test_a_cluster_of_two_processes_gives_the_same_files(tmp_path):
    for number in range(2):
        frames = np.random.default_rng(number).poisson(200, (3, 40, 40)).astype(np.uint16)
        frames[:, 10:15, 20:25] += 400
        tifffile.imwrite(tmp_path / f"s{number}.tif", frames, photometric="minisblack")
    recipe = Recipe.of([{"step": "routine", "settings": {"median_window": 3}}])
    made = {}
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        scheduler_kwargs={"dashboard": False},
    ) as cluster, dask(cluster.scheduler_address) as executor:  # fmt: skip
        for name, carrier in (("here", None), ("there", executor)):
            campaign = Campaign(recipe, str(tmp_path / "s*.tif"), tmp_path / name)
            assert not [fault for *_, fault in campaign.run(executor=carrier) if fault]
            made[name] = [(tmp_path / name / s / "routine.tif").read_bytes() for s in ("s0", "s1")]
        with Client(cluster) as client:
            check_versions(client)
    assert made["here"] == made["there"]


def test_an_unreachable_scheduler_is_one_sentence(monkeypatch):
    monkeypatch.setattr("napari_labdct.campaign.executors._WAIT_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SchedulerError, match="check the address"), dask(f"127.0.0.1:{port}"):
        pass


@pytest.mark.parametrize(
    ("found", "said"), [({"a": "0.0.1"}, "install the same version"), ({}, "has no worker")]
)
def test_workers_of_another_version_are_said_before_work_starts(found, said):
    class Cluster:
        def run(self, _asked):
            return found

    with pytest.raises(SchedulerError, match=said):
        check_versions(Cluster())
