"""``nni-wcnas export``: a network as an ONNX file."""

from __future__ import annotations

import argparse

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'write a retrained network, or an architecture with new weights, as an ONNX file'
EXAMPLES = (
    'nni-wcnas export runs/again network.onnx',
    'nni-wcnas export darts_v2 darts.onnx --channels 16 --cells 8',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``; sizes default to None, as trained weights have theirs already."""
    parser.add_argument('source', metavar='RUN_OR_ARCHITECTURE', help='run directory of a retraining or of a '
                        'trial; for new weights an architecture file or a published cell')
    parser.add_argument('file', metavar='FILE', help='.onnx file to write')
    parser.add_argument(
        '--image-size', type=int, help='side of the images in pixels (default: what the network was trained on; 32 for '
        'new weights)'
    )
    for name, default in (('channels', 36), ('cells', 20), ('num-classes', 10)):
        parser.add_argument(f'--{name}', type=int, help=f'of new weights (default: {default})')


def run(arguments: argparse.Namespace) -> int:
    """Write a network as an ONNX file."""
    from nni_wcnas.cli.export import export

    given = {name: getattr(arguments, name) for name in ('channels', 'cells', 'num_classes')}
    sizes = {name: value for name, value in given.items() if value is not None}
    is_trained = export(arguments.source, arguments.file, image_size=arguments.image_size, **sizes)
    print(f'network: {arguments.file} ({"trained" if is_trained else "new"} weights)')
    return 0
