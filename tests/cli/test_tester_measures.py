"""``nni-wcnas images``: the tester of a finished search, measured from its checkpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nni_wcnas.data.reference import reference_models
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.image.extractor import reference_extractor
from nni_wcnas.measure.image.generated_images import measure_images
from nni_wcnas.settings import assembly
from nni_wcnas.settings.resolved import resolved
from nni_wcnas.settings.settings import load_settings

Command = Callable[..., subprocess.CompletedProcess[str]]


class Brightness(nn.Module):
    """Called as Inception's published script is."""

    def forward(self, pixels: Tensor, return_features: bool = False) -> Tensor:
        features = pixels.float().mean(dim=[2, 3])
        return features if return_features else features.softmax(dim=1)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(finished, tmp_path / 'run'))


def test_measures_are_those_of_the_checkpoints_tester(run: Path, here: Command) -> None:
    done = here('images', run, '--count', '100', '--seed', '3', '--cpu')
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ('FID', 'KID', 'precision', 'recall', 'inception score'))
    ((extractor, found),) = json.loads((run / 'generated' / 'measures.json').read_text()).items()
    settings = load_settings(run / 'settings.yml')
    data = assembly.make_data(settings)
    tester = assembly.make_tester(settings, data)
    state = torch.load(run / 'checkpoints' / 'last.ckpt', weights_only=True)['state_dict']
    tester.load_state_dict({key.removeprefix('training_module.tester.'): value for key, value in state.items()
                            if key.startswith('training_module.tester.')})
    torch.manual_seed(3)
    noise = tester.noise(100)
    real = data.examples('architecture', 10).clean
    with torch.no_grad():
        wanted = measure_images(tester.generate(noise), noise.labels, real,
                                reference_extractor(reference_models(data, progress=False)), seed=3)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)
    assert found['extractor'] == extractor and extractor.startswith('reference-digits-') and found['seed'] == 3
    assert f'<th class="number">{extractor}</th>' in (run / 'report.html').read_text()
    assert here('images', run, '--count', '100', '--seed', '4', '--cpu').returncode == 0
    assert RunDirectory(run).read_generated_measures()[extractor]['fid'] != found['fid']


@pytest.mark.filterwarnings('ignore:.*torch.jit')
def test_extractors_stand_side_by_side(run: Path, tmp_path: Path, here: Command) -> None:
    torch.jit.script(Brightness()).save(tmp_path / 'brightness.pt')
    for words in ((), ('--inception', tmp_path / 'brightness.pt')):
        assert here('images', run, '--count', '60', '--cpu', *words).returncode == 0
    nets, script = RunDirectory(run).read_generated_measures().items()
    assert nets[0].startswith('reference-digits-') and script[0].startswith('brightness.pt sha256:')
    assert (nets[1]['image_features'], script[1]['image_features']) == (48, 3)
    assert 'label_error' in nets[1] and 'label_error' not in script[1]  # Its classes are others.
    (run / 'generated' / 'measures.json').write_text('[1]')
    assert 'make it again with `nni-wcnas images`, or delete it' in here('report', run).stderr


def test_refusals(run: Path, tmp_path: Path, here: Command) -> None:
    """One sentence each."""

    def refused(words: tuple[str | Path, ...], message: str) -> None:
        done = here('images', *words, '--cpu')
        assert done.returncode == 2 and done.stderr.count('\n') == 1 and message in done.stderr, done.stderr

    refused((tmp_path,), 'holds no search; give the folder of')
    refused((run, '--count', '1'), '--count is 1; give at least 2 images')
    refused((run, '--count', '40'), 'has 48 features, whose covariance takes at least 49 images')
    refused((run, '--inception', tmp_path / 'none.pt'), 'none.pt cannot be read')
    settings = (run / 'settings.yml').read_text()
    (run / 'settings.yml').write_text(settings.replace('dictionary_size: 32', 'dictionary_size: 16'))
    refused((run,), 'last.ckpt holds another tester than')
    (run / 'settings.yml').write_text('data: {name: digits}\nspace: {name: darts}\nmethod: {preset: darts}\n')
    refused((run,), 'is a search without a tester, which makes no images; give one of a method that has it')
    (run / 'settings.yml').write_text(settings)
    (run / 'checkpoints' / 'last.ckpt').unlink()
    refused((run,), 'there is no checkpoint, which would hold the tester')
    assert not (run / 'generated' / 'measures.json').exists()


def test_a_tester_that_changes_real_images(tmp_path: Path, here: Command) -> None:
    """An augmentation policy, as a checkpoint holds it, on the half that it is shown."""
    run, file = RunDirectory(tmp_path / 'run'), tmp_path / 'tiny.yml'
    file.write_text('data: {name: digits, limit: 120}\nspace: {name: darts}\nmethod: {preset: wcnas}\n')
    settings = load_settings(file)
    run.write_settings(resolved(settings))
    tester = assembly.make_tester(settings, assembly.make_data(settings))
    state = {f'training_module.tester.{name}': value for name, value in tester.state_dict().items()}
    run.write_checkpoint({'state_dict': state, 'pytorch-lightning_version': '2', 'nni_wcnas': {}})
    assert here('images', run.path, '--cpu').returncode == 0
    (found,) = run.read_generated_measures().values()
    assert (found['generated_images'], found['real_images']) == (60, 60)
    assert here('images', run.path, '--cpu', '--count', '50').returncode == 0
    (fewer,) = run.read_generated_measures().values()
    assert (fewer['generated_images'], fewer['real_images']) == (50, 50)
