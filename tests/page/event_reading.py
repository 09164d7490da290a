"""TensorBoard's files as TensorBoard reads them."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_events(folder):
    """Scalars by tag, each a list of pairs of a step and a value; steps of each tag of images."""
    found = EventAccumulator(str(folder), size_guidance={'scalars': 0, 'images': 0})
    found.Reload()
    tags = found.Tags()
    scalars = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in tags['scalars']}
    return scalars, {tag: [event.step for event in found.Images(tag)] for tag in tags['images']}


def scalars_of(rows):
    """What they should be: single precision, as TensorBoard has it."""
    import numpy as np

    columns = dict.fromkeys(name for row in rows for name in row if name != 'epoch')
    return {
        name: [(row['epoch'], float(np.float32(row[name]))) for row in rows if name in row] for name in columns
    }
