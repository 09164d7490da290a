"""Reference classifiers: cached, shared, deterministic, invisible to the caller's random state."""

import multiprocessing
import time
from pathlib import Path

import pytest
import torch

from nni_wcnas.data import DataError, Digits, ImageData, ImageSet, TensorStore, reference, reference_models


@pytest.fixture(scope='module')
def digits():
    return Digits()


@pytest.fixture(scope='module')
def trained(digits, tmp_path_factory):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    folder = tmp_path_factory.mktemp('cache')
    result = reference_models(digits, folder, progress=False)
    assert torch.get_rng_state().equal(before), 'the random state of the caller is untouched'
    return folder, result


def test_the_ensemble_recognises_digits(digits, trained):
    store = digits.images.test
    images = store.images.float() / 127.5 - 1
    error = trained[1].error(images, store.labels)
    assert error < 0.05
    assert error == pytest.approx((trained[1].probabilities(images).argmax(1) != store.labels).double().mean().item())
    assert trained[1].error(images, (store.labels + 1) % 10) > 0.9


def test_features_are_few(digits, trained):
    images = digits.images.test.images.float() / 127.5 - 1
    features = trained[1].features(images)
    assert features.shape == (364, 48) and trained[1].name == next(trained[0].glob('*.pt')).stem
    # The classifier sees four quarters of the image, whose mean is that of the whole.
    seen = trained[1].models[0][:-1](images).view(364, 48, 4)
    assert torch.allclose(features, seen.mean(2), atol=1e-6)


def test_scores_are_cross_entropies_of_every_example(digits, trained):
    result = trained[1]
    assert result.train_scores.shape == (1433,) and result.test_scores.shape == (364,)
    assert (result.train_scores > 0).all() and 0 < result.train_scores.mean() < 0.3
    images = digits.images.test.images.float() / 127.5 - 1
    chance = torch.stack([model(images).log_softmax(1) for model in result.models])
    expected = -chance.mean(0).gather(1, digits.images.test.labels[:, None])[:, 0]
    assert torch.allclose(result.test_scores, expected, atol=1e-4)


def test_training_examples_are_scored_by_models_that_did_not_train_on_them(digits, trained):
    from nni_wcnas.data.split import rank_in_class

    store = digits.images.train
    fold = rank_in_class(store.labels) % 2
    images = store.images.float() / 127.5 - 1
    losses = torch.stack(
        [
            torch.nn.functional.cross_entropy(model(images), store.labels, reduction='none')
            for model in trained[1].models
        ]
    )
    # Models alternate: the first of each width did not see fold 0, the second did not see fold 1.
    expected = torch.where(fold == 0, losses[0::2].mean(0), losses[1::2].mean(0))
    assert torch.allclose(trained[1].train_scores, expected, atol=1e-4)


def test_what_a_net_scores_it_was_not_trained_on(monkeypatch, tmp_path):
    trained_on, scored = [], []
    epochs, losses = reference._epochs, reference._losses
    monkeypatch.setattr(reference, '_epochs', lambda *given: trained_on.append(given[2]) or epochs(*given))
    monkeypatch.setattr(reference, '_losses', lambda *given: scored.append(given[2]) or losses(*given))
    reference_models(ImageData(small()), tmp_path, epochs=1, progress=False)
    # Each net scores its training examples first, then the test set.
    for seen, judged in zip(trained_on, scored[0::2], strict=True):
        assert torch.cat([seen, judged]).sort().values.equal(torch.arange(24))
        assert (seen % 2).sum() == 6, 'both folds hold as many of each class'
    assert len(trained_on) == 6


def test_a_second_call_does_not_train(digits, trained, monkeypatch):
    monkeypatch.setattr(reference, '_train_all', lambda *_: pytest.fail('trained again'))
    again = reference_models(Digits(seed=3, cutout=4, batch_size=7), trained[0])
    assert again.train_scores.equal(trained[1].train_scores) and again.test_scores.equal(trained[1].test_scores)
    assert all(
        a.equal(b)
        for a, b in zip(again.models.state_dict().values(), trained[1].models.state_dict().values(), strict=True)
    )


def small(name='small', shift=0):
    generator = torch.Generator().manual_seed(shift)
    pixels = torch.randint(256, (24, 3, 16, 16), dtype=torch.uint8, generator=generator)
    store = TensorStore(pixels, torch.arange(24) % 2)
    return ImageSet(name, ('a', 'b'), 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), store, store)


def test_another_process_makes_the_same(tmp_path):
    one = reference_models(ImageData(small()), tmp_path / 'one', epochs=2, progress=False)
    torch.rand(3)
    two = reference_models(ImageData(small()), tmp_path / 'two', epochs=2, progress=False)
    assert one.train_scores.equal(two.train_scores)


def test_the_name_follows_content_and_settings(tmp_path):
    for images, options, epochs in [
        (small(), {}, 1),
        (small(), {}, 2),
        (small(shift=1), {}, 1),
        (small(), {'limit': 12}, 1),
        (small('other'), {}, 1),
        (small(), {'seed': 1}, 1),
    ]:
        reference_models(ImageData(images, **options), tmp_path, epochs=epochs, progress=False)
    assert (
        len(list(tmp_path.glob('reference-small-*.pt'))) == 4 and len(list(tmp_path.glob('reference-other-*.pt'))) == 1
    )
    assert all(path.suffix in ('.pt', '.lock') for path in tmp_path.iterdir()), 'no temporary file is left'


def test_a_limit_leaves_the_others_without_a_score(tmp_path):
    data = ImageData(small(), limit=12)
    result = reference_models(data, tmp_path, epochs=1, progress=False)
    assert result.train_scores.isfinite().nonzero().flatten().equal(data.train_indices)


def test_the_environment_names_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('NNI_WCNAS_CACHE', str(tmp_path / 'here'))
    reference_models(ImageData(small()), epochs=1, progress=False)
    assert len(list((tmp_path / 'here').glob('*.pt'))) == 1


def compute(folder, state, started, trainings):
    torch.set_num_threads(1)

    def slow(*_):
        with trainings.get_lock():
            trainings.value += 1
        time.sleep(0.5)
        return state

    reference._train_all = slow
    started.wait()
    reference_models(ImageData(small()), folder, progress=False)


def test_two_processes_share_one_training(tmp_path):
    state = reference._train_all(ImageData(small()), 1, False)
    # Forked, because importing torch twice would take most of the time of all these tests.
    context = multiprocessing.get_context('fork')
    started, trainings = context.Barrier(2), context.Value('i', 0)
    processes = [context.Process(target=compute, args=(tmp_path, state, started, trainings)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert trainings.value == 1


def test_a_progress_bar_is_shown_if_asked(tmp_path, capsys):
    reference_models(ImageData(small()), tmp_path / 'silent', epochs=1, progress=False)
    assert capsys.readouterr().err == ''
    reference_models(ImageData(small()), tmp_path / 'shown', epochs=1)
    assert 'reference models of small: 100%' in capsys.readouterr().err


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(KeyboardInterrupt):
        reference_models(ImageData(small()), tmp_path, epochs=1, progress=False)
    assert not [path for path in tmp_path.iterdir() if path.suffix != '.lock']


def test_errors(tmp_path, digits, trained):
    with pytest.raises(
        DataError, match='epochs=0 must be at least 1; leave it out for a value that fits the data set'
    ):
        reference_models(digits, tmp_path, epochs=0)
    with pytest.raises(
        DataError, match='There are 2 images and 1 labels; pass one label for each image, at least one.'
    ):
        trained[1].error(torch.zeros(2, 3, 16, 16), torch.zeros(1))
    (tmp_path / 'file').write_text('')
    with pytest.raises(
        DataError,
        match=r'The cache folder .*file cannot be used \(.*\); pass another cache_dir or set NNI_WCNAS_CACHE.',
    ):
        reference_models(digits, tmp_path / 'file', progress=False)
    data = ImageData(small())
    reference_models(data, tmp_path / 'cache', epochs=1, progress=False)
    path: Path = next((tmp_path / 'cache').glob('*.pt'))
    path.write_bytes(b'damaged')
    with pytest.raises(
        DataError, match=r'\.pt is damaged, was cut short .*; delete the file to have the reference models'
    ):
        reference_models(data, tmp_path / 'cache', epochs=1, progress=False)


def test_a_class_with_one_example_cannot_be_scored(tmp_path):
    images = small()
    data = ImageData(images)
    data.architecture_indices = torch.tensor([0])
    data.weight_indices = torch.tensor([1])
    with pytest.raises(
        DataError, match='The class a has a single training example, but scoring needs two; add examples.'
    ):
        reference_models(data, tmp_path, epochs=1, progress=False)


@pytest.mark.parametrize('epochs', [4, 5, 6])
def test_so_few_epochs_that_a_fifth_of_the_steps_is_one(epochs, tmp_path):
    """An epoch of so few examples is one step."""
    found = reference_models(Digits(limit=60), tmp_path, epochs=epochs, progress=False)
    assert found.train_scores.isfinite().sum() >= 40  # The others were not seen.
