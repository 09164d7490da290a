"""What each kind of extractor computes, and that it leaves its network alone."""

import copy
import re
import zipfile

import pytest
import torch
from tiny_reference import untrained
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import inception_v3, resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from nni_wcnas.data import Digits
from nni_wcnas.measure.image.extractor import inception_extractor, module_extractor, reference_extractor


def images(count=3, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_reference():
    reference = untrained(Digits(limit=100))
    extractor = reference_extractor(reference)
    given = images()
    assert (extractor.name, extractor.knows_labels) == ('reference-none', True)
    assert torch.equal(extractor.features(given), reference.features(given))
    assert torch.equal(extractor.probabilities(given), reference.probabilities(given))


class TestModule:
    def test_in_evaluation_mode_a_part_at_a_time(self):
        norms = nn.BatchNorm1d(5).eval(), nn.BatchNorm1d(5)
        network = nn.Sequential(nn.Flatten(), nn.Linear(768, 5), *norms, nn.Dropout())
        before, modes = copy.deepcopy(network.state_dict()), [part.training for part in network.modules()]
        extractor = module_extractor(network, 'mine', classifier=nn.Sequential(network, nn.Linear(5, 4)))
        given = images(230)
        found, probabilities = extractor.features(given), extractor.probabilities(given)
        assert [part.training for part in network.modules()] == modes
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        torch.testing.assert_close(found, network.eval()(given))
        torch.testing.assert_close(probabilities.sum(1), torch.ones(230))
        assert not found.requires_grad and not probabilities.requires_grad
        assert (extractor.name, extractor.knows_labels) == ('mine', False)

    def test_options(self):
        assert module_extractor(nn.Flatten(), 'pixels').probabilities is None
        assert module_extractor(nn.Flatten(), 'pixels').features(images()).shape == (3, 768)
        assert module_extractor(nn.Flatten(), 'pixels', classifier=nn.Flatten(), knows_labels=True).knows_labels

    def test_refused(self):
        with pytest.raises(ValueError, match='name is empty: name the extractor'):
            module_extractor(nn.Flatten(), '')
        with pytest.raises(ValueError, match='knows_labels is True, but there is no classifier: give one'):
            module_extractor(nn.Flatten(), 'pixels', knows_labels=True)
        with pytest.raises(ValueError, match=r'features of shape \(3, 3, 16, 16\), not \(N, F\): pool or flatten'):
            module_extractor(nn.Identity(), 'images').features(images())


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:NOTE. The nodes obtained by tracing')
@pytest.mark.parametrize('has_auxiliary', [True, False])
def test_inception_state_dict(tmp_path, has_auxiliary):
    """Against torchvision's own way to a layer, on images that are resized here."""
    torch.manual_seed(0)
    network = inception_v3(num_classes=7, aux_logits=has_auxiliary, init_weights=False, transform_input=False).eval()
    torch.save(network.state_dict(), tmp_path / 'inception.pth')
    extractor = inception_extractor(tmp_path / 'inception.pth')
    resized = F.interpolate(images(2), (299, 299), mode='bilinear', antialias=True)
    with torch.no_grad():
        expected = create_feature_extractor(network, ['flatten'])(resized)['flatten']
        probabilities = network(resized).softmax(1)
    torch.testing.assert_close(extractor.features(images(2)), expected)
    torch.testing.assert_close(extractor.probabilities(images(2)), probabilities)
    assert expected.shape == (2, 2048) and not extractor.knows_labels
    assert re.fullmatch(r'inception\.pth sha256:[0-9a-f]{12}', extractor.name)


class Detector(nn.Module):
    """Called as NVIDIA's Inception is."""

    def forward(self, pixels: Tensor, return_features: bool = False) -> Tensor:
        features = pixels.float().mean(dim=[2, 3])
        return features if return_features else features.softmax(dim=1)


class Scaled(nn.Module):
    def forward(self, pixels: Tensor, return_features: bool = False) -> Tensor:
        return 2 * pixels.float().mean(dim=[2, 3])


class Plain(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float().mean(dim=[2, 3])


def save_script(module, path):
    torch.jit.script(module).save(path)
    return path


@pytest.mark.filterwarnings('ignore:.*torch.jit')
class TestScript:
    def test_pixels_of_bytes(self, tmp_path):
        extractor = inception_extractor(save_script(Detector(), tmp_path / 'detector.pt'))
        pixels = torch.randint(256, (3, 3, 5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        given = pixels.float() / 127.5 - 1
        torch.testing.assert_close(extractor.features(given), pixels.float().mean((2, 3)))
        torch.testing.assert_close(extractor.probabilities(given), pixels.float().mean((2, 3)).softmax(1))
        assert extractor.features(torch.full((1, 3, 2, 2), 1.01)).tolist() == [[255, 255, 255]]
        assert extractor.name.startswith('detector.pt sha256:')

    def test_name_tells_contents(self, tmp_path):
        path = save_script(Detector(), tmp_path / 'detector.pt')
        before, content = inception_extractor(path).name, path.read_bytes()
        (tmp_path / 'copies').mkdir()
        copied = tmp_path / 'copies' / 'detector.pt'
        copied.write_bytes(content)
        assert inception_extractor(copied).name == before
        assert inception_extractor(save_script(Scaled(), path)).name != before

    def test_refused(self, tmp_path):
        with pytest.raises(ValueError, match='plain.pt has no argument return_features: load it with torch.jit.load'):
            inception_extractor(save_script(Plain(), tmp_path / 'plain.pt'))
        with zipfile.ZipFile(tmp_path / 'damaged.pt', 'w') as archive:
            archive.writestr('damaged/constants.pkl', b'nonsense')
        with pytest.raises(ValueError, match='TorchScript file .*damaged.pt is damaged: give another file'):
            inception_extractor(tmp_path / 'damaged.pt')


def test_files_that_are_no_inception(tmp_path):
    with pytest.raises(ValueError, match=r'missing.pth cannot be read \(No such file'):
        inception_extractor(tmp_path / 'missing.pth')
    with pytest.raises(ValueError, match='cannot be read'):
        inception_extractor(tmp_path)
    wrong = tmp_path / 'wrong.pth'
    contents = [b'', b'nonsense' * 1000]
    for saved in (resnet18().state_dict(), [1, 2], torch.zeros(3), {'fc.weight': torch.zeros(3, 2048)}):
        torch.save(saved, wrong)
        contents.append(wrong.read_bytes())
    contents.append(contents[2][:100_000])
    for number, content in enumerate(contents):
        wrong.write_bytes(content)
        # The first two and the cut one are no files of tensors at all, the others are of something else.
        is_cut = number in (0, 1, len(contents) - 1)
        found = 'is damaged, was cut short' if is_cut else 'is no state dict of torchvision.models.inception_v3'
        with pytest.raises(ValueError, match=f'wrong.pth {found}'):
            inception_extractor(wrong)
