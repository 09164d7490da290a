"""Plain modules without NNI, and ONNX files that compute the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from nni_wcnas.files.checkpoint import CheckpointError
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.network.build import build, export_onnx, trained
from nni_wcnas.spaces import published


def test_needs_neither_nni_nor_lightning():
    code = ("import sys; sys.modules['nni'] = sys.modules['pytorch_lightning'] = None\n"
            'from nni_wcnas.network.build import build\nimport torch\n'
            "print(tuple(build('darts_v2', 4, 3)(torch.zeros(2, 3, 8, 8)).shape))")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, '(2, 10)'), done.stderr


@pytest.mark.parametrize('name', ['darts_v2', 'pc_darts_cifar10'])
def test_onnxruntime_computes_the_same(name, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    torch.manual_seed(0)
    network = build(name, 4, 3)
    network(torch.randn(8, 3, 16, 16))  # Running averages that are not the first ones.
    path = export_onnx(network, tmp_path / 'network.onnx', 16)
    assert network.training
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for batch in (1, 5):
        images = torch.randn(batch, 3, 16, 16)
        with torch.no_grad():
            expected = network.eval()(images).numpy()
        np.testing.assert_allclose(session.run(None, {'images': images.numpy()})[0], expected, atol=1e-4, rtol=0)


def test_trained_network_comes_back_and_another_architecture_is_refused(tmp_path):
    network = build('darts_v2', 4, 3, 7, auxiliary_tower=True).eval()
    run = RunDirectory(tmp_path)
    run.write_architecture(published.load('darts_v2'))
    run.write_settings({'retrain': {'channels': 4, 'cells': 3}})
    run.checkpoint.parent.mkdir()
    torch.save({'network': network.state_dict()}, run.checkpoint)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(trained(tmp_path)(images), network(images))
    run.write_architecture(published.load('pc_darts_cifar10'))
    with pytest.raises(CheckpointError, match='another architecture than .*json with 4 channels and 3 cells; put back'):
        trained(tmp_path)
