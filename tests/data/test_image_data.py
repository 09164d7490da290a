"""Halves, batches and arguments of the data module, on the digits."""

import copy
import pickle

import nni
import pytest
import pytorch_lightning
import torch

from nni_wcnas.contracts import Batch
from nni_wcnas.data import DataError, Digits, ImageData, ImageSet, TensorStore
from nni_wcnas.data.split import halves, interleave


def batches(loader):
    return list(loader)


def equal(left, right):
    return len(left) == len(right) and all(
        a.equal(b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)
    )


def coloured(count=64, size=32, flip=True, classes=2):
    """Random images whose classes alternate."""
    pixels = torch.randint(
        1, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    store = TensorStore(pixels, torch.arange(count) % classes)
    return ImageSet(
        'coloured', tuple(map(str, range(classes))), size, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), store, store, flip
    )


def test_halves_are_the_unshuffled_set_cut_in_two():
    data = Digits()
    total = len(data.images.train)
    assert (total, len(data.images.test)) == (1433, 364)
    assert data.weight_indices.equal(torch.arange(total // 2))
    assert data.architecture_indices.equal(torch.arange(total // 2, total))
    assert data.test_indices.equal(torch.arange(364))
    assert (data.name, data.num_classes, data.image_size, data.class_names[3]) == ('digits', 10, 16, '3')


def test_digits_are_all_there_and_stratified():
    from sklearn.datasets import load_digits

    data = Digits()
    train, test = data.images.train, data.images.test
    assert (train.labels.bincount() + test.labels.bincount()).tolist() == torch.tensor(
        load_digits().target
    ).bincount().tolist()
    assert set(test.labels.bincount().tolist()) == {35, 36, 37}
    pixels = train.images.float() / 255
    assert pixels.mean().item() == pytest.approx(data.mean[0], abs=1e-3)
    assert pixels.std().item() == pytest.approx(data.std[0], abs=1e-3)
    together = torch.cat([train.images, test.images]).flatten(1)
    assert len(together.unique(dim=0)) == len(together), 'no test image is a training image'


def test_a_batch_is_what_the_contract_says():
    data = Digits(batch_size=32, cutout=4)
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, Batch)
    assert batch.images.shape == batch.clean.shape == (32, 3, 16, 16)
    assert (
        batch.images.dtype == batch.clean.dtype == torch.float32
        and batch.labels.dtype == batch.indices.dtype == torch.int64
    )
    assert batch.clean.equal(data.images.train.images[batch.indices].float() / 127.5 - 1)
    assert batch.labels.equal(data.images.train.labels[batch.indices])
    assert batch.clean.min() >= -1 and batch.clean.max() <= 1


def test_evaluation_is_clean_in_order_and_complete():
    data = Digits(batch_size=100, cutout=8)
    expected = {
        'weights': data.weight_indices,
        'architecture': data.architecture_indices,
        'train': torch.arange(1433),
        'test': data.test_indices,
    }
    for part, indices in expected.items():
        seen = batches(data.evaluation_dataloader(part))
        assert torch.cat([batch.indices for batch in seen]).equal(indices)
        store = data.images.test if part == 'test' else data.images.train
        assert torch.cat([batch.labels for batch in seen]).equal(store.labels[indices])
        for batch in seen:
            assert torch.allclose(batch.images, data.normalise((batch.clean + 1) / 2), atol=1e-5)
    assert equal(batches(data.test_dataloader()), batches(data.evaluation_dataloader('test')))


@pytest.mark.parametrize(
    ('loader', 'indices'),
    [
        ('train_dataloader', 'weight_indices'),
        ('val_dataloader', 'architecture_indices'),
        ('full_train_dataloader', 'train_indices'),
    ],
)
def test_training_loaders_shuffle_and_augment_all_of_their_examples(loader, indices):
    data = Digits()
    seen = batches(getattr(data, loader)())
    order = torch.cat([batch.indices for batch in seen])
    assert not order.equal(getattr(data, indices)) and order.sort().values.equal(getattr(data, indices))
    assert len(seen) == len(getattr(data, loader)()) == -(-len(order) // 64), 'no batch is dropped'
    assert any(not torch.allclose(batch.images, data.normalise((batch.clean + 1) / 2), atol=1e-3) for batch in seen)


def test_each_epoch_differs_and_can_be_repeated():
    data, again = Digits(cutout=4), Digits(cutout=4)
    loader = data.train_dataloader()
    first = batches(loader)
    assert equal(batches(loader), first)
    data.set_epoch(1)
    second = batches(loader)
    assert not equal(first, second)
    assert not torch.cat([b.indices for b in first]).equal(torch.cat([b.indices for b in second]))
    again.set_epoch(1)
    assert equal(batches(again.train_dataloader()), second), 'a resumed run sees the same bits'
    data.set_epoch(0)
    assert equal(batches(loader), first)


def test_lightning_sets_the_epoch():
    class Watch(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen = []

        def training_step(self, batch):
            self.seen.append(batch)
            return self.weight * batch.images.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    module = Watch()
    trainer = pytorch_lightning.Trainer(
        max_epochs=2,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = Digits(limit=100)
    trainer.fit(module, data)
    reference = Digits(limit=100)
    expected = batches(reference.train_dataloader())
    reference.set_epoch(1)
    assert equal(module.seen, expected + batches(reference.train_dataloader()))


def test_the_global_random_state_is_neither_used_nor_touched():
    torch.manual_seed(1)
    first = batches(Digits(limit=100).train_dataloader())
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert equal(batches(Digits(limit=100).train_dataloader()), first)
    assert torch.get_rng_state().equal(before)


def test_workers_change_nothing():
    assert equal(
        batches(Digits(limit=200, num_workers=2).train_dataloader()), batches(Digits(limit=200).train_dataloader())
    )


def test_the_seed_changes_order_and_augmentation_but_no_half():
    one, two = Digits(seed=0), Digits(seed=1)
    assert one.weight_indices.equal(two.weight_indices)
    assert not equal(batches(one.train_dataloader()), batches(two.train_dataloader()))
    assert equal(batches(one.evaluation_dataloader('test')), batches(two.evaluation_dataloader('test')))


def test_the_halves_have_different_streams():
    data = ImageData(coloured())
    weights, architecture = (
        torch.cat([b.indices for b in loader]) for loader in (data.train_dataloader(), data.val_dataloader())
    )
    assert not (weights + 32).equal(architecture)


def test_cutout_changes_nothing_but_the_hole():
    plain, cut = ImageData(coloured()), ImageData(coloured(), cutout=16)
    for left, right in zip(plain.train_dataloader(), cut.train_dataloader(), strict=True):
        assert left.indices.equal(right.indices) and left.clean.equal(right.clean)
        hole = right.images == 0
        assert left.images[~hole].equal(right.images[~hole])
        assert hole.all(1).sum((1, 2)).min() >= 64 and hole.all(1).sum((1, 2)).max() == 256


def test_without_augmentation_images_are_only_normalised():
    data = ImageData(coloured(), augment=False)
    other = ImageData(coloured())
    for batch, augmented in zip(data.train_dataloader(), other.train_dataloader(), strict=True):
        assert torch.allclose(batch.images, data.normalise((batch.clean + 1) / 2), atol=1e-5)
        assert batch.indices.equal(augmented.indices) and batch.clean.equal(augmented.clean)
        assert not torch.allclose(batch.images, augmented.images)


def test_flip_follows_the_data_set():
    assert ImageData(coloured()).augmentation.flip and not ImageData(coloured(flip=False)).augmentation.flip
    assert not Digits().augmentation.flip and Digits().augmentation.padding == 2
    assert ImageData(coloured()).augmentation.padding == 4


def test_batch_size_changes_the_cut_not_the_order():
    small, large = (batches(Digits(batch_size=size).train_dataloader()) for size in (50, 100))
    assert torch.cat([b.indices for b in small]).equal(torch.cat([b.indices for b in large]))
    assert [len(b.labels) for b in large] == [100] * 7 + [16]


def test_a_lone_last_example_joins_the_batch_before_it():
    data = ImageData(coloured(42), batch_size=10)
    assert [len(b.labels) for b in data.train_dataloader()] == [10, 11]
    assert len(data.train_dataloader()) == 2


def test_split_moves_the_cut():
    data = Digits(split=0.75)
    assert len(data.weight_indices) == 1074 and len(data.architecture_indices) == 1433 - 1074


def test_a_limit_keeps_halves_and_classes():
    whole, data = Digits(), Digits(limit=205)
    assert set(data.weight_indices.tolist()) <= set(whole.weight_indices.tolist())
    assert set(data.architecture_indices.tolist()) <= set(whole.architecture_indices.tolist())
    assert (len(data.weight_indices), len(data.architecture_indices)) == (102, 103)
    labels = whole.images.train.labels
    for indices in (data.weight_indices, data.architecture_indices):
        counts = labels[indices].bincount()
        assert counts.max() - counts.min() <= 1
    members = (labels[:716] == 7).nonzero().flatten()
    chosen = data.weight_indices[labels[data.weight_indices] == 7]
    assert chosen.equal(members[: len(chosen)]), 'the first of the class'
    assert Digits(limit=1433).weight_indices.equal(whole.weight_indices)
    assert len(data.test_indices) == 364


def test_interleaving_mixes_sorted_classes():
    order = interleave(torch.tensor([0] * 6 + [1] * 3))
    assert sorted(order.tolist()) == list(range(9))
    assert order.tolist() == [0, 6, 1, 2, 7, 3, 4, 8, 5]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'batch_size': 1}, 'batch_size=1 is too small for batch normalisation; use at least 2'),
        ({'split': 1.0}, 'split=1.0 must lie strictly between 0 and 1; use 0.5 for halves'),
        (
            {'limit': 15},
            'limit=15 is too small: with split=0.5 one half would hold 7 examples of 10 classes; pass a larger limit',
        ),
        ({'limit': 5000}, 'limit=5000 exceeds the 1433 training examples; pass limit=None to use them all'),
        ({'cutout': 17}, 'cutout=17 must lie between 0 and the image size 16; use 0 for no cutout'),
        ({'cutout': -1}, 'cutout=-1 must lie between 0 and the image size 16; use 0 for no cutout'),
        ({'num_workers': -1}, 'num_workers=-1 must not be negative; use 0 to load in this process'),
        (
            {'split': 0.001},
            (
                'The weights half holds no example of class 1; add examples of it, '
                'shuffle the data set or change split=0.001.'
            ),
        ),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(DataError) as caught:
        Digits(**options)
    assert str(caught.value) == message


def test_unknown_part():
    with pytest.raises(
        DataError, match="There is no part 'val'; use one of 'weights', 'architecture', 'train', 'test'."
    ):
        Digits().evaluation_dataloader('val')


def test_examples_are_the_first_of_each_class_without_augmentation():
    data = Digits(limit=200, cutout=4)
    found = data.examples('architecture', 4)
    assert found.labels.equal(torch.arange(10).repeat_interleave(4))
    for label in range(10):
        of_class = data.architecture_indices[data.images.train.labels[data.architecture_indices] == label]
        assert found.indices[4 * label : 4 * label + 4].equal(of_class[:4])
    assert found.clean.equal(data.images.train.read(found.indices).float() / 127.5 - 1)
    assert torch.allclose(found.images, data.normalise((found.clean + 1) / 2), atol=1e-5)
    assert len(data.examples('weights', 1000).labels) == len(data.weight_indices)
    with pytest.raises(DataError, match='per_class must be at least 1, not 0'):
        data.examples('weights', 0)
    with pytest.raises(DataError, match="There is no part 'val'"):
        data.examples('val', 1)


def test_images_and_labels_must_match():
    pixels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(
        DataError, match=r'There are 4 images but labels of shape \(3,\); pass one label for each image.'
    ):
        TensorStore(pixels, torch.zeros(3))
    with pytest.raises(DataError, match='Images must be uint8'):
        TensorStore(pixels.float(), torch.zeros(4))
    store = TensorStore(pixels, torch.tensor([0, 1, 2, 3]))
    assert store.images.shape == (4, 3, 8, 8)
    with pytest.raises(
        DataError, match='The training labels of x reach from 0 to 3, but there are 3 classes; number them from 0.'
    ):
        ImageSet('x', ('a', 'b', 'c'), 8, (0, 0, 0), (1, 1, 1), store, store)
    with pytest.raises(DataError, match='x has 1 class; a classifier needs at least two.'):
        ImageSet('x', ('a',), 8, (0, 0, 0), (1, 1, 1), store, store)


def test_every_class_in_every_half():
    with pytest.raises(DataError, match='The weights half holds no example of class 1'):
        halves(torch.tensor([0, 0, 0, 1, 1, 1]), 2, 0.5)


def test_nni_rebuilds_it_from_its_arguments():
    data = Digits(limit=100, seed=5)
    text = nni.dump(data)
    assert len(text) < 200
    assert equal(batches(nni.load(text).train_dataloader()), batches(data.train_dataloader()))


def test_copies_behave_alike_and_share_images():
    data = Digits(limit=100)
    data.set_epoch(3)
    duplicate = copy.deepcopy(data)
    assert duplicate.images.train.images is data.images.train.images
    for other in (duplicate, pickle.loads(pickle.dumps(data))):
        assert equal(batches(other.train_dataloader()), batches(data.train_dataloader()))
    duplicate.set_epoch(4)
    assert not equal(batches(duplicate.train_dataloader()), batches(data.train_dataloader()))


def test_batches_are_made_on_the_device():
    """The meta device stands for a GPU: torch refuses to mix its tensors with those of the CPU."""
    data = ImageData(coloured(), batch_size=8, cutout=4, device='meta')
    here = ImageData(coloured(), batch_size=8, cutout=4)
    loaders = [
        (d.train_dataloader(), d.val_dataloader(), d.full_train_dataloader(), d.test_dataloader()) for d in (data, here)
    ]
    for there, local in zip(*loaders, strict=True):
        for batch, expected in zip(there, local, strict=True):
            assert all(part.device.type == 'meta' for part in batch)
            assert [(p.shape, p.dtype) for p in batch] == [(p.shape, p.dtype) for p in expected]
    assert data.images.train.images.device.type == 'cpu', 'what is hashed and scored stays'
    assert copy.deepcopy(data)._train is data._train, 'NNI copies evaluators; the images are held once'


def test_workers_and_a_device_exclude_each_other():
    with pytest.raises(DataError, match='num_workers=2 prepare batches on the CPU, not on cuda; give one of the two'):
        ImageData(coloured(), num_workers=2, device='cuda')


@pytest.mark.parametrize('device', ['nowhere', pytest.param('cuda', marks=pytest.mark.skipif(
    torch.cuda.is_available(), reason='needs a machine without a GPU'))])
def test_a_device_that_is_not_there(device):
    with pytest.raises(DataError, match=rf'The images cannot be held on {device} \(.*\); leave device out'):
        ImageData(coloured(), device=device)
